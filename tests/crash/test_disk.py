"""P4, P9 and P10 on a disk that is full, torn, closed or incomplete, and under a clock that is set back."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cart_core.errors import CartError, StoreCorrupt, StoreError
from cart_core.store import CartStore
from tests.cart_core.store.builders import MUG, life, named, versions
from tests.cart_core.store.conftest import SteppingClock
from tests.forking import finish, start

pytestmark = pytest.mark.crash

NOBODY = 65534
ACTIONS: dict[str, Callable[[CartStore], object]] = {
    "append": lambda store: store.append(named("n"), [MUG], "ann", 0),
    "import of a few": lambda store: store.append_many(life("d")),
    "import": lambda store: store.append_many([*life("e"), *life("f")]),
    "seal": lambda store: store.seal(),
    "compact": lambda store: store.compact(),
    "publish": lambda store: store.publish(),
    "forget": lambda store: store.forget("eve"),
    "read": lambda store: versions(store.read(named("a"))),
    "verify": lambda store: store.verify().problems,
}


def fill(folder: Path) -> CartStore:
    """A store with a sealed batch, a batch that is a file of its own, and a journal: 20 events."""
    store = CartStore.open(folder, journal_rows=8)
    store.append_many(life("a"))
    store.append_many([*life("b"), *life("c")])
    store.seal()
    store.append_many(life("x", "eve"))
    return store


def trials(store: CartStore) -> dict[str, object]:
    """What comes of each action: its answer, or the error."""
    told: dict[str, object] = {}
    for name, action in ACTIONS.items():
        try:
            told[name] = action(store)
        except Exception as error:  # noqa: BLE001 - the test looks at which error it was
            told[name] = error
    return told


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_p4_on_a_full_disk_writing_fails_clearly_and_goes_on_when_there_is_room(little_disk: Path):
    """Nothing acknowledged is lost, nothing half-written stays, reading goes on."""
    with fill(little_disk / "store") as store:
        before = store.position()
        ballast = little_disk / "ballast"
        with ballast.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space"):
            while True:
                out.write(bytes(4096))
        told = trials(store)
        for name in ("append", "import of a few", "import", "seal", "compact", "publish", "forget"):
            assert isinstance(told[name], StoreError), name
            assert "the store is as it was: make room and try again" in str(told[name])
        assert (told["read"], told["verify"], store.position()) == ([1, 2, 3, 4, 5], [], before)
        assert not list((little_disk / "store" / "segments").glob("*.tmp"))
        with CartStore.open(little_disk / "store") as other:
            assert other.scan().collect().height == before
        ballast.unlink()
        assert not [each for each in trials(store).values() if isinstance(each, Exception)]
        assert (store.position(), store.verify().problems) == (before + 16, [])


def write_under_a_limit(folder: Path, told: Connection) -> None:
    """Append until a file would become larger than this process may make it."""
    with CartStore.open(folder, journal_rows=8) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (160 * 1024, resource.RLIM_INFINITY))
        version = 0
        try:
            while True:
                version = store.append(named("n"), [MUG], "ann", version)
        except CartError as error:
            told.send((version, type(error), str(error)))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            told.send(store.append(named("n"), [MUG], "ann", version))


def test_p4_where_files_may_not_grow_appending_fails_clearly_and_goes_on_later(tmp_path: Path):
    """A limit of the operating system is a full disk, too."""
    fill(tmp_path / "store").close()
    (version, kind, message), after = finish(*start(write_under_a_limit, tmp_path / "store"))
    assert (kind, after) == (StoreError, version + 1)
    assert "the store is as it was" in message
    with CartStore.open(tmp_path / "store") as store:
        assert versions(store.read(named("n"))) == list(range(1, version + 2))
        assert store.verify().problems == []


@pytest.mark.parametrize("damage", ["cut off", "overwritten", "made longer"])
@pytest.mark.parametrize("at", [1, 24, 500, 4096 + 24, 3 * 4096])
def test_p4_a_torn_end_of_the_log_costs_at_most_what_was_not_acknowledged(tmp_path: Path, at: int, damage: str):
    """The log's last page torn, garbled or followed by garbage: the store opens as it was after an earlier append."""
    with CartStore.open(tmp_path / "store") as store:
        for version in range(12):
            store.append(named("a"), [MUG], "ann", version)
        shutil.copytree(store.path, tmp_path / "torn")
    log = tmp_path / "torn" / "catalog.sqlite-wal"
    whole = log.read_bytes()
    log.write_bytes(
        {
            "cut off": whole[:-at],
            "overwritten": whole[:-at] + os.urandom(at),
            "made longer": whole + os.urandom(at),
        }[damage]
    )
    with CartStore.open(tmp_path / "torn") as store:
        position = store.position()
        assert position == 12 if damage == "made longer" else 8 <= position < 12
        assert versions(store.read(named("a"))) == list(range(1, position + 1))
        assert store.verify().problems == []
        assert store.append(named("a"), [MUG], "ann", position) == position + 1


def test_p9_a_half_written_file_beside_the_catalog_is_read_by_nobody(tmp_path: Path):
    """A segment that its writer did not finish or did not name is no part of the store."""
    with fill(tmp_path / "store") as store:
        segments = store.path / "segments"
        whole = min(segments.iterdir()).read_bytes()
        (segments / "000000000016-0badcafe.parquet.tmp").write_bytes(whole[: len(whole) // 2])
        (segments / "000000000016-0badcafe.parquet").write_bytes(whole[: len(whole) // 2])
        assert (store.scan().collect().height, store.verify().problems) == (20, [])
        assert (store.seal().rows, store.verify().problems) == (5, [])


def test_p10_a_file_that_the_disk_lacks_is_named_and_other_carts_stay_readable(tmp_path: Path):
    """Whoever needs the file is told which to restore; who does not, works on; restored, all is well."""
    with fill(tmp_path / "store") as store:
        path = min((store.path / "segments").iterdir())
    path.rename(tmp_path / "elsewhere")
    with CartStore.open(tmp_path / "store") as store:
        for read in (
            lambda: store.read(named("a")),
            lambda: store.scan().collect(),
            lambda: list(store.batches()),
            store.compact,
        ):
            with pytest.raises(StoreCorrupt, match=f"{path.name} is missing: restore it from a backup"):
                read()
        assert versions(store.read(named("b"))) == versions(store.read(named("x"))) == [1, 2, 3, 4, 5]
        assert store.append(named("b"), [MUG], "ann", 5) == 6
        assert any(path.name in each for each in store.verify().problems)
        (tmp_path / "elsewhere").rename(path)
        assert (store.scan().collect().height, store.verify().problems) == (21, [])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and write to, with a store that belongs to nobody in particular."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        fill(folder / "store").close()
        for each in (folder / "store", *(folder / "store").rglob("*")):
            if os.geteuid() == 0:
                os.chown(each, NOBODY, NOBODY)
        yield folder


def try_as_nobody(folder: Path, told: Connection) -> None:
    """Try everything as a user without any rights of their own."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        with CartStore.open(folder, journal_rows=8) as store:
            trials_told = trials(store)
    except CartError as error:
        trials_told = dict.fromkeys(ACTIONS, error)
    told.send({name: (type(each).__name__, str(each)) for name, each in trials_told.items()})


WRITING = {"append", "import of a few", "import", "seal", "compact", "publish", "forget"}
CLOSED: dict[str, tuple[str, int, set[str], str]] = {
    "the folder": (".", 0o555, {*WRITING, "read", "verify"}, "check its permissions"),
    "the catalog to writing": ("catalog.sqlite", 0o444, {*WRITING, "read", "verify"}, "check its permissions"),
    "the catalog": ("catalog.sqlite", 0o000, {*WRITING, "read", "verify"}, "check its permissions"),
    "the segments to writing": (
        "segments",
        0o555,
        {"import", "seal", "compact", "publish"},
        "check the permissions of its folder",
    ),
    "a segment": (
        "segments/000000000001-*",
        0o000,
        {"read", "compact", "forget"},
        "may not be read: check its permissions",
    ),
    "the indexes to writing": ("cache/index", 0o555, set(), ""),
}


@pytest.mark.parametrize("closed", CLOSED)
def test_p9_what_permissions_forbid_is_told_and_the_rest_goes_on(open_folder: Path, closed: str):
    """A user who may not write or read a part gets StoreReadOnly with the place; nobody loses anything."""
    pattern, mode, refused, words = CLOSED[closed]
    place = next((open_folder / "store").glob(pattern)) if "*" in pattern else open_folder / "store" / pattern
    right = place.stat().st_mode
    place.chmod(mode)
    (told,) = finish(*start(try_as_nobody, open_folder / "store"))
    place.chmod(right)
    assert {name for name, (kind, _) in told.items() if kind == "StoreReadOnly"} == refused, told
    assert all(words in message for name, (_, message) in told.items() if name in refused)
    assert not {name for name, (kind, _) in told.items() if kind.endswith("Error")}
    with CartStore.open(open_folder / "store") as store:
        assert store.verify().problems == []
        assert store.scan().collect().height == store.position() >= 20


def test_p7_a_clock_that_is_set_back_disturbs_nothing(tmp_path: Path):
    """Moments of recording, positions and batches keep their order, through every way in and after a restart."""
    clock = SteppingClock()
    began = clock.now
    with CartStore.open(tmp_path / "store", clock=clock, journal_rows=8) as store:
        store.append(named("a"), [MUG], "ann", 0)
    clock.now -= timedelta(days=2)
    with CartStore.open(tmp_path / "store", clock=clock, journal_rows=8) as store:
        for action in ACTIONS.values():
            action(store)
            clock.now -= timedelta(hours=1)
        store.seal()
        store.append(named("a"), [MUG], "ann", 1)
        rows = store.scan().collect().sort("position")
        assert rows["position"].to_list() == list(range(1, 19))
        assert rows["recorded_at"].is_sorted()
        assert rows["recorded_at"].min() > began
        assert len(store.read(named("a"), known_at=began + timedelta(seconds=30))) == 2
        assert store.verify().problems == []
