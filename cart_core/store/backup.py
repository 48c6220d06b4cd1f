"""Backups: one consistent moment of a store in a folder that is itself a store, made while writers go on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from cart_core import rules
from cart_core.errors import Refused, StoreBusy, StoreCorrupt, StoreError, StoreNotFound, StoreReadOnly
from cart_core.store import copying
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.catalogs.sqlite import SqliteCatalog
from cart_core.store.copying import Contents, Copied
from cart_core.store.opening import SQLITE
from cart_core.store.segments import objects
from cart_core.store.segments.folder import READ_ONLY, SegmentFolder, sync_folder
from cart_core.store.store import CartStore

MANIFEST = "backup.json"
LOCK = ".backup.lock"
PARTIAL = ".partial"
CHUNK_BYTES = 8 * 2**20
TRIES = 3


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup of the store as it was at ``position``: ``copied`` segment files are new in it, ``kept`` were there."""

    position: int
    segments: int
    copied: int
    kept: int
    files: int
    made_at: str


def back_up(store: CartStore, target: str | os.PathLike[str]) -> BackedUp:
    """Bring the folder ``target`` to where the store stands now, making it where it is not there.

    The catalog is taken in one transaction that holds up nobody, and every segment is compared with its SHA-256 as it
    is copied. Segments that the folder holds already are kept, so a later backup into it copies what is new. The
    catalog is replaced last and in one step: a crash leaves the backup that was there before. What the store no longer
    holds, such as the id of a forgotten user, is no longer in the backup either.

    Raises Refused (not_empty) where the folder holds something else, StoreBusy where somebody else backs up into it,
    StoreCorrupt where a segment is not what was written, StoreReadOnly.
    """
    home = Path(target).absolute()
    _check(store, home)
    try:
        (home / "segments").mkdir(parents=True, exist_ok=True)
        with _alone(home):
            return _tried(store, home)
    except PermissionError as error:
        raise StoreReadOnly(f"the backup cannot be written to {home}: {error}") from error


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    catalog_url: str | None = None,
    segments: str | None = None,
) -> Copied:
    """Make a store of a backup in the folder ``target``, which must be empty; every file and event is verified.

    Its catalog and segments may lie elsewhere than before. Nothing is left where anything is wrong. Raises
    StoreNotFound where there is no backup, Refused (not_empty), StoreCorrupt.
    """
    home = Path(source)
    if not (home / MANIFEST).is_file() or not (home / SQLITE).is_file():
        raise StoreNotFound(f"there is no backup in {home}: it would hold {MANIFEST} and {SQLITE}")
    with CartStore.open(home, create=False) as backup:
        return copying.copy_store(backup, target, catalog_url=catalog_url, segments=segments)


def _check(store: CartStore, home: Path) -> None:
    source = store.path.absolute()
    if home.is_relative_to(source) or source.is_relative_to(home):
        raise Refused("not_empty", f"a backup cannot lie in {home}: it would be part of the store, or the store of it")
    if home.is_dir() and any(home.iterdir()) and not (home / LOCK).exists():
        raise Refused("not_empty", f"{home} holds something else than a backup: name a folder of its own")
    with store.catalog.reading() as db:
        store_id = catalog.meta(db, "store_id")
    if (home / MANIFEST).is_file() and json.loads((home / MANIFEST).read_text("utf-8"))["store_id"] != store_id:
        raise Refused("not_empty", f"{home} holds the backup of another store: name a folder of its own")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    with (home / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusy(f"somebody else backs up into {home}: try again when that is done") from error
        yield


def _tried(store: CartStore, home: Path) -> BackedUp:
    """Back up a moment; another one where a file was swept away meanwhile, as it was replaced long ago."""
    for attempt in range(TRIES):
        with store.catalog.reading() as db:
            contents = Contents.of(db)
        try:
            copied = _copy_segments(store.folder, contents.segments, home / "segments")
        except StoreCorrupt:
            if attempt + 1 == TRIES or _all_live(store, contents.segments):
                raise
        else:
            return _finish(store, contents, copied, home)
    raise StoreError("unreachable: the last try returns or raises")


def _all_live(store: CartStore, segments: list[Segment]) -> bool:
    with store.catalog.reading() as db:
        live = {each.file for each in catalog.segments(db)}
    return all(each.file in live for each in segments)


def _copy_segments(folder: SegmentFolder, segments: list[Segment], target: Path) -> int:
    missing = [each for each in segments if not _holds(target, each)]
    for each in missing:
        _copy_segment(folder, each, target)
    sync_folder(target)
    return len(missing)


def _holds(target: Path, segment: Segment) -> bool:
    place = target / segment.file
    return place.is_file() and place.stat().st_size == segment.size_bytes


def _copy_segment(folder: SegmentFolder, segment: Segment, target: Path) -> None:
    system, base = folder.files()
    digest = hashlib.sha256()
    partial = target / f"{segment.file}{PARTIAL}"
    name = f"segment {folder.place}/{segment.file}"
    with (
        objects.translated(name),
        system.open_input_file(f"{base}/{segment.file}") as stored,
        partial.open("wb") as out,
    ):
        while chunk := stored.read(CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != segment.sha256:
        partial.unlink()
        raise StoreCorrupt(f"{name}: its bytes are not those that were written; cart verify says more")
    partial.chmod(READ_ONLY)
    os.replace(partial, target / segment.file)


def _finish(store: CartStore, contents: Contents, copied: int, home: Path) -> BackedUp:
    fresh = home / f"{SQLITE}.{uuid4().hex[:8]}{PARTIAL}"
    made = SqliteCatalog(fresh)
    with made.writing() as db:
        contents.write(db)
    made.close()
    files = _mirror(store, home)
    for suffix in ("-wal", "-shm"):
        (home / f"{SQLITE}{suffix}").unlink(missing_ok=True)
    os.replace(fresh, home / SQLITE)
    sync_folder(home)
    made_at = rules.format_time(store.clock())
    done = BackedUp(contents.state[0], len(contents.segments), copied, len(contents.segments) - copied, files, made_at)
    _write_manifest(home, dict(contents.meta)["store_id"], done)
    _remove_the_rest(home, {each.file for each in contents.segments})
    return done


def _mirror(store: CartStore, home: Path) -> int:
    """Make the other folders of the store (views, inputs, tables) what they are now; returns how many files."""
    files = 0
    wanted = {
        each.name: each
        for each in store.path.iterdir()
        if each.is_dir() and each.name not in copying.STAYS and each.absolute() != store.folder.folder.absolute()
    }
    for name, source in wanted.items():
        fresh = home / f"{name}{PARTIAL}"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("*.tmp", ".*"))
        shutil.rmtree(home / name, ignore_errors=True)
        fresh.rename(home / name)
        files += sum(each.is_file() for each in (home / name).rglob("*"))
    for each in home.iterdir():
        if each.is_dir() and each.name not in wanted and each.name != "segments":
            shutil.rmtree(each)
    return files


def _write_manifest(home: Path, store_id: str, done: BackedUp) -> None:
    said = {"store_id": store_id, "position": done.position, "segments": done.segments, "made_at": done.made_at}
    partial = home / f"{MANIFEST}{PARTIAL}"
    partial.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    os.replace(partial, home / MANIFEST)


def _remove_the_rest(home: Path, named: set[str]) -> None:
    for each in (home / "segments").iterdir():
        if each.name not in named:
            each.unlink()
    for each in home.glob(f"*{PARTIAL}*"):
        each.unlink() if each.is_file() else shutil.rmtree(each)
