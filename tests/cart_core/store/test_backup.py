"""Backups: one moment of a store that goes on being written, and what comes back of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cart_core.errors import Refused, StoreBusy, StoreCorrupt, StoreNotFound
from cart_core.store import CartStore, backup
from cart_core.store.backup import back_up, restore
from tests import postgres
from tests.cart_core.store import buckets
from tests.cart_core.store.builders import MUG, life, named


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CartStore]:
    """Two sealed carts, one in a bulk segment, one in the journal, and a file of inputs."""
    with CartStore.open(tmp_path / "store", journal_rows=0) as bulk:
        bulk.append_many(life("bulk"))
    with CartStore.open(tmp_path / "store") as opened:
        for cart in ("a", "b"):
            opened.append_many(life(cart, f"user of {cart}"))
            opened.seal()
        opened.append(named("journal"), [MUG], "joe", 0)
        (opened.path / "inputs").mkdir()
        (opened.path / "inputs" / "sends.csv").write_text("user of a,2026\n")
        yield opened


def test_what_is_restored_is_what_was_backed_up(store: CartStore, tmp_path: Path):
    """Events, positions, users, proofs and what else lies in the folder."""
    done = back_up(store, tmp_path / "backup")
    assert (done.position, done.segments, done.copied, done.kept, done.files) == (16, 3, 3, 0, 1)
    restored = restore(tmp_path / "backup", tmp_path / "again")
    assert restored.head == store.verify().head
    with CartStore.open(tmp_path / "again", create=False) as again:
        assert again.scan().collect().sort("position").equals(store.scan().collect().sort("position"))
        assert again.read(named("journal"))[0].user_id == "joe"
        assert (again.path / "inputs" / "sends.csv").read_text() == "user of a,2026\n"
        assert again.append(named("journal"), [MUG], "joe", 1) == 2


def test_a_backup_is_a_store(store: CartStore, tmp_path: Path):
    """It can be looked at and verified where it lies."""
    back_up(store, tmp_path / "backup")
    with CartStore.open(tmp_path / "backup", create=False) as kept:
        assert kept.verify() == store.verify()


def test_the_next_backup_copies_what_is_new_and_drops_what_is_gone(store: CartStore, tmp_path: Path):
    """Segments never change, so those that are there are good."""
    back_up(store, tmp_path / "backup")
    store.seal()
    (store.path / "inputs" / "sends.csv").unlink()
    done = back_up(store, tmp_path / "backup")
    assert (done.copied, done.kept, done.files) == (1, 3, 0)
    store.compact(grace=timedelta(seconds=-1))
    done = back_up(store, tmp_path / "backup")
    assert len(list((tmp_path / "backup" / "segments").iterdir())) == done.segments
    assert restore(tmp_path / "backup", tmp_path / "again").events == 16


def test_a_backup_is_one_moment_while_writers_go_on(tmp_path: Path):
    """Whatever is appended, sealed, compacted and swept meanwhile, each backup verifies and holds all up to then."""
    done = threading.Event()

    def write() -> None:
        with CartStore.open(tmp_path / "store") as writer:
            for number in range(1_000):
                if done.is_set():
                    return
                writer.append(named(f"cart {number}"), [MUG], "ann", 0)
                if number % 5 == 4:
                    writer.seal()
                if number % 25 == 24:
                    writer.compact(grace=timedelta(0))

    CartStore.open(tmp_path / "store").close()
    writing = threading.Thread(target=write)
    writing.start()
    try:
        with CartStore.open(tmp_path / "store") as store:
            positions = []
            for _ in range(8):
                before = store.position()
                positions.append(back_up(store, tmp_path / "backup").position)
                assert positions[-1] >= before
                with CartStore.open(tmp_path / "backup") as kept:
                    assert kept.verify().problems == []
                    assert kept.position() == kept.scan().collect().height == positions[-1]
    finally:
        done.set()
        writing.join()
    assert positions == sorted(positions)


def test_a_forgotten_user_leaves_the_next_backup(store: CartStore, tmp_path: Path):
    """No file of it holds the id afterwards."""
    back_up(store, tmp_path / "backup")
    assert _holding(tmp_path / "backup", b"user of a") != []
    store.forget("user of a")
    back_up(store, tmp_path / "backup")
    assert _holding(tmp_path / "backup", b"user of a") == []


def _holding(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_a_backup_that_breaks_off_leaves_the_one_before(
    store: CartStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """New segments may lie in it, but its catalog does not know them; the next backup goes on from there."""
    back_up(store, tmp_path / "backup")
    store.seal()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(backup, "_mirror", full)
        back_up(store, tmp_path / "backup")
    assert restore(tmp_path / "backup", tmp_path / "again").events == 16
    assert (back_up(store, tmp_path / "backup").copied, _holding(tmp_path / "backup", b"partial")) == (0, [])
    assert list((tmp_path / "backup").rglob("*.partial*")) == []


def test_an_altered_segment_is_not_backed_up(store: CartStore, tmp_path: Path):
    """A good backup is not replaced by a bad one."""
    with store.catalog.reading() as db:
        file = store.folder.folder / store.reader.segments(db)[0].file
    _flip(file)
    with pytest.raises(StoreCorrupt, match=f"{file.name}: its bytes are not those that were written"):
        back_up(store, tmp_path / "backup")
    file.unlink()
    with pytest.raises(StoreCorrupt, match="is missing"):
        back_up(store, tmp_path / "backup")


def test_a_backup_that_was_altered_is_not_restored(store: CartStore, tmp_path: Path):
    """And nothing of it is left in the new place."""
    back_up(store, tmp_path / "backup")
    _flip(next((tmp_path / "backup" / "segments").iterdir()))
    with pytest.raises(StoreCorrupt, match="its bytes are not those that were written"):
        restore(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


def test_a_folder_that_holds_something_else_is_left_alone(store: CartStore, tmp_path: Path):
    """Another store, its backup, anything at all; and a backup never lies in its store."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("unique")
    for place in (tmp_path / "full", store.path / "backup", tmp_path):
        with pytest.raises(Refused) as refused:
            back_up(store, place)
        assert refused.value.code == "not_empty"
    back_up(store, tmp_path / "backup")
    with CartStore.open(tmp_path / "other") as other, pytest.raises(Refused, match="another store"):
        back_up(other, tmp_path / "backup")
    with pytest.raises(Refused, match="not empty"):
        restore(tmp_path / "backup", tmp_path / "full")
    with pytest.raises(StoreNotFound, match="there is no backup"):
        restore(tmp_path / "full", tmp_path / "again")


def test_one_backup_at_a_time(store: CartStore, tmp_path: Path):
    """The second is told so, and does no harm."""
    back_up(store, tmp_path / "backup")
    with backup._alone(tmp_path / "backup"), pytest.raises(StoreBusy, match="somebody else backs up"):
        back_up(store, tmp_path / "backup")


@pytest.mark.s3
def test_segments_come_from_an_object_store_and_go_back_to_one(tmp_path: Path):
    """The backup itself is a folder on this disk."""
    with buckets.credentials():
        first, second = buckets.new_bucket(), buckets.new_bucket()
        with CartStore.open(tmp_path / "store", segments=first.address()) as store:
            store.append_many(life("a"))
            store.seal()
            back_up(store, tmp_path / "backup")
            head = store.verify().head
        assert restore(tmp_path / "backup", tmp_path / "again", segments=second.address()).head == head
        assert len(second.segments()) == 1
        with CartStore.open(tmp_path / "again") as again:
            assert again.folder.place == f"s3://{second.name}/shop"
            assert again.scan().collect().height == 5


@pytest.mark.postgres
@pytest.mark.s3
def test_a_shared_store_is_backed_up_and_restored_to_either_kind(tmp_path: Path):
    """The catalog in PostgreSQL and the segments in a bucket; back to the same, and to one folder."""
    with buckets.credentials():
        first, second = buckets.new_bucket(), buckets.new_bucket()
        with CartStore.open(tmp_path / "shared", catalog=postgres.server().fresh(), segments=first.address()) as store:
            store.append_many(life("a", "ann"))
            store.seal()
            store.append(named("journal"), [MUG], "joe", 0)
            assert back_up(store, tmp_path / "backup").position == 6
            expected, head = store.scan().collect().sort("position"), store.verify().head
        restore(tmp_path / "backup", tmp_path / "one")
        shared = {"catalog_url": postgres.server().fresh(), "segments": second.address()}
        restore(tmp_path / "backup", tmp_path / "two", **shared)
        for place in ("one", "two"):
            with CartStore.open(tmp_path / place, create=False) as again:
                assert again.scan().collect().sort("position").equals(expected)
                assert again.verify().head == head
