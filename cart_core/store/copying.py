"""Copying a store to another catalog or another place for its segments: all of it, unchanged, or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cart_core.errors import Refused, StoreBusy, StoreCorrupt
from cart_core.store import opening
from cart_core.store.catalogs import catalog, users
from cart_core.store.catalogs.catalog import Batch, Catalog, Connection, Segment
from cart_core.store.segments import places as segment_places
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.store import CartStore

STAYS = ("cache", "segments", "_delta_log", opening.SETTINGS)
OF_THE_PLACE = ("schema_version", segment_places.SETTLED)


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied and verified: ``head`` is the chain's head, before and after."""

    events: int
    segments: int
    users: int
    head: str


def copy_store(
    source: CartStore, target: str | os.PathLike[str], *, catalog_url: str | None = None, segments: str | None = None
) -> Copied:
    """Copy a store into the new folder ``target``, its catalog to a database or its segments elsewhere where named.

    Positions, moments of recording, versions, users and their pseudonyms, forgotten ones, batches and the chain stay
    as they are; derived tables, inputs and what else lies in the folder come with it. Every copied file and event is
    verified, and the catalog is written in one transaction at the end, so a failure or a crash leaves no copy that
    holds events; a failure removes the folder, too.

    Raises Refused (not_empty) where the target holds anything, StoreBusy where the source was written to meanwhile,
    StoreCorrupt where the source does not verify.
    """
    home = Path(target).absolute()
    _check_apart(source.path.absolute(), home)
    place = segments if segments is None or "://" in segments else str(Path(segments).absolute())
    try:
        home.mkdir(parents=True, exist_ok=True)
        if catalog_url is not None:
            opening.write_settings(home, {"catalog": catalog_url})
        _name_alike(source.catalog, home, place)
        with CartStore.open(home) as copy:
            return _fill(source, copy)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise


@dataclass(frozen=True)
class Contents:
    """Everything a catalog holds of a store, but for what belongs to its place."""

    meta: list[tuple[str, str]]
    state: tuple[Any, ...]
    users: list[tuple[int, str, bytes, bytes]]
    forgotten: list[tuple[int, bytes | None]]
    journal: list[tuple[Any, ...]]
    segments: list[Segment]
    batches: list[Batch]

    @classmethod
    def of(cls, db: Connection) -> Contents:
        """What a catalog holds in this transaction."""
        settings = db.execute("SELECT key, value FROM meta ORDER BY key").fetchall()
        journal = zip(catalog.journal(db), catalog.journal_hashes(db), strict=True)
        now = catalog.state(db)
        return cls(
            meta=[(key, value) for key, value in settings if key not in OF_THE_PLACE],
            state=(
                now.position,
                now.recorded_us,
                now.generation,
                catalog.forgotten(db),
                now.running_hash,
                users.last_key(db),
            ),
            users=users.named(db),
            forgotten=users.forgotten(db),
            journal=[(*row, running_hash) for row, running_hash in journal],
            segments=[replace(each, segment_id=None) for each in catalog.segments(db)],
            batches=catalog.batches(db),
        )

    def write(self, db: Connection) -> None:
        """Fill an empty catalog."""
        for key, value in self.meta:
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value", (key, value)
            )
        users.insert(db, self.users)
        users.insert_forgotten(db, self.forgotten)
        for segment in self.segments:
            catalog.add_segment(db, segment)
        for batch in self.batches:
            catalog.add_batch(db, batch)
        catalog.insert(db, self.journal)
        db.execute(
            "UPDATE state SET position = ?, recorded_at = ?, generation = ?, forgotten = ?, running_hash = ?, "
            "user_key = ? WHERE id = 1",
            self.state,
        )


def _check_apart(source: Path, target: Path) -> None:
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise Refused("not_empty", f"the copy cannot lie in {target}: one store's folder is not part of another's")
    if target.exists() and any(target.iterdir()):
        raise Refused("not_empty", f"{target} is not empty: name a folder that is not there yet")


def _name_alike(source: Catalog, home: Path, place: str | None) -> None:
    """Give the copy, which must be empty, the store's name before its folder of segments is marked with it."""
    with source.reading() as db:
        store_id = catalog.meta(db, "store_id")
    with CartStore.open(home, segments=place) as empty, empty.catalog.writing() as db:
        _check_empty(empty.catalog, db)
        db.execute("UPDATE meta SET value = ? WHERE key = 'store_id'", (store_id,))


def _check_empty(catalog_: Catalog, db: Connection) -> None:
    held = catalog.state(db).position or catalog.user_count(db) or catalog.last_batch(db) or catalog.segments(db)
    if held or users.last_key(db):
        raise Refused("not_empty", f"{catalog_.place} holds events: a store is copied into an empty one only")


def _fill(source: CartStore, copy: CartStore) -> Copied:
    with source.catalog.reading() as db:
        contents = Contents.of(db)
        with _removed_on_failure(copy.folder, contents.segments):
            for segment in contents.segments:
                copy.folder.take_in(Path(source.folder.locations([segment])[segment.file]), segment.file)
            found = CartStore(copy.path, source.catalog, copy.folder, source.clock).verify()
            if found.problems:
                raise StoreCorrupt(f"{source.path} does not verify, so it is not copied: {'; '.join(found.problems)}")
            _copy_beside(source, copy.path)
    with _removed_on_failure(copy.folder, contents.segments):
        if source.position() != contents.state[0]:
            raise StoreBusy(f"{source.path} was written to while it was copied: stop its writers and copy again")
        with copy.catalog.writing() as db:
            _check_empty(copy.catalog, db)
            contents.write(db)
            if Contents.of(db) != contents:
                raise StoreCorrupt(f"{copy.catalog.place} does not give back what was written to it")
    return Copied(contents.state[0], len(contents.segments), len(contents.users), found.head)


def _copy_beside(source: CartStore, home: Path) -> None:
    """Copy derived tables, inputs, views and whatever else the store's folder holds that cannot be made again."""
    for each in sorted(source.path.iterdir()):
        if each.is_dir() and each.name not in STAYS and each.absolute() != source.folder.folder.absolute():
            shutil.copytree(each, home / each.name)


@contextmanager
def _removed_on_failure(folder: SegmentFolder, segments: list[Segment]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for segment in segments:
            folder.remove(segment.file)
        raise
