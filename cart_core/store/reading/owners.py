"""Whose carts a segment holds: sorted keys of users in memory-mapped files that can be rebuilt at any time.

They are made when somebody first asks for a user's carts, so that imports never wait for them.
"""

from __future__ import annotations

import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Connection, Segment
from cart_core.store.reading.reader import Reader
from cart_core.store.segments import layout
from cart_core.store.segments.index_files import write_whole

Array = np.ndarray[Any, np.dtype[Any]]
HEADER = np.dtype([("magic", "S8"), ("runs", "<u8"), ("rows", "<u8"), ("check", "<u8")])
ROW = np.dtype([("user_key", "<i8"), ("position", "<i8"), ("cart_id", "u1", 16)])
MAGIC = b"cartown1"


class OwnerCache:
    """The owners of all segments, kept under the store's cache folder and mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, Array] = {}
        self._journal: dict[int, dict[bytes, int]] = {}
        self._read_until, self._generation = 0, -1
        self._lock = threading.Lock()

    def carts_of(self, db: Connection, reader: Reader, user_key: int) -> dict[bytes, int]:
        """Every cart that has an event of this user, with the position of the last of them."""
        segments = reader.segments(db)
        with self._lock:
            latest = self._in_journal(db, user_key)
            self._loaded = {each.file: self._owners(each, reader) for each in segments}
            parts = [(each, _of(self._loaded[each.file], user_key)) for each in segments]
        for segment, rows in parts:
            for cart_id, position in zip(rows["cart_id"], rows["position"] + segment.position_shift, strict=True):
                name = cart_id.tobytes()
                latest[name] = max(latest.get(name, 0), int(position))
        return latest

    def _in_journal(self, db: Connection, user_key: int) -> dict[bytes, int]:
        """The carts of a user in the journal, whose rows are read once: an index would cost every append a page."""
        generation = catalog.state(db).generation
        if generation != self._generation:
            self._journal, self._read_until, self._generation = {}, 0, generation
        for position, owner, cart_id in catalog.journal_owners(db, self._read_until):
            self._journal.setdefault(owner, {})[cart_id] = position
            self._read_until = position
        return dict(self._journal.get(user_key, {}))

    def _owners(self, segment: Segment, reader: Reader) -> Array:
        known = self._loaded.get(segment.file)
        if known is not None:
            return known
        path = self._folder / f"{segment.file}.owners"
        try:
            return _read(path, segment)
        except (OSError, ValueError):
            made = build(reader.folder.read(segment, ["cart_id", "user_key", "position"]), segment)
            with suppress(OSError):
                _write(made, path, segment)
            return made


def build(stored: pa.Table, segment: Segment) -> Array:
    """The users of rows that stand in the order of a file, ascending; one for each run of a cart's events by one."""
    carts = schema.id_bytes(stored["cart_id"])
    users = stored["user_key"].to_numpy()
    starts = np.zeros(len(carts), bool)
    starts[layout.cart_starts(carts)] = True
    starts[1:] |= users[1:] != users[:-1]
    first = np.flatnonzero(starts)
    found = np.empty(len(first), ROW)
    found["user_key"] = users[first]
    found["cart_id"] = schema.take_ids(carts, first)
    found["position"] = stored["position"].to_numpy()[np.r_[first[1:], len(carts)] - 1] - segment.position_shift
    return found[np.argsort(found["user_key"], kind="stable")]


def _of(owners: Array, user_key: int) -> Array:
    keys = owners["user_key"]
    return owners[keys.searchsorted(user_key, "left") : keys.searchsorted(user_key, "right")]


def _write(owners: Array, path: Path, segment: Segment) -> None:
    content = owners.tobytes()
    head = np.array([(MAGIC, len(owners), segment.rows, zlib.crc32(content))], HEADER).tobytes()
    write_whole(path, (head, content))


def _read(path: Path, segment: Segment) -> Array:
    mapped = np.memmap(path, np.uint8, mode="r")
    head, content = mapped[: HEADER.itemsize].view(HEADER)[0], mapped[HEADER.itemsize :]
    sound = head["magic"] == MAGIC and head["rows"] == segment.rows and len(content) == head["runs"] * ROW.itemsize
    if not sound or zlib.crc32(content.tobytes()) != head["check"]:
        raise ValueError(f"{path} is not of {segment.file}, or torn")
    return content.view(ROW)
