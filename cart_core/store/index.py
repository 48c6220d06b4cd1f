"""Where a cart or an event lies in a segment: sorted keys in memory-mapped files that can be rebuilt at any time."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.store import layout
from cart_core.store.catalog import Segment
from cart_core.store.segments import SegmentFolder, is_older

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class SegmentIndex:
    """The carts of one segment, and its events, each by ascending key.

    ``cart_start`` and ``cart_rows`` say where a cart's rows lie in the file, ``cart_head`` its highest version there.
    """

    cart_key: Array
    cart_id: Array
    cart_start: Array
    cart_rows: Array
    cart_head: Array
    event_key: Array
    event_row: Array

    def cart(self, key: int, cart_id: bytes) -> tuple[int, int, int] | None:
        """(start, rows, head) of one cart, or None where the segment has no event of it."""
        wanted = np.uint64(key)
        place = int(self.cart_key.searchsorted(wanted))
        while place < len(self.cart_key) and self.cart_key[place] == wanted:
            if self.cart_id[place].tobytes() == cart_id:
                return int(self.cart_start[place]), int(self.cart_rows[place]), int(self.cart_head[place])
            place += 1
        return None

    def carts(self, keys: Array, ids: Array) -> tuple[Array, Array]:
        """Which of many carts (ascending keys, ids in the same order) the segment holds, and where in this index."""
        if not len(self.cart_key):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        asked = np.arange(len(keys))
        places = np.searchsorted(self.cart_key, keys, side="left")
        hits: list[Array] = []
        while True:
            asked = asked[places[asked] < len(self.cart_key)]
            asked = asked[self.cart_key[places[asked]] == keys[asked]]
            if not len(asked):
                break
            hits.append(asked[(self.cart_id[places[asked]] == ids[asked]).all(axis=1)])
            asked = asked[(self.cart_id[places[asked]] != ids[asked]).any(axis=1)]
            places[asked] += 1
        found = np.concatenate(hits) if hits else np.zeros(0, np.int64)
        return found, places[found]

    def bounds(self, count: int, total_rows: int) -> list[int]:
        """``count`` + 1 row numbers: rows bounds[i] to bounds[i + 1] have the i-th of ``count`` equal ranges of keys.

        ``count`` is a power of two; 64 ranges are the buckets.
        """
        bits = count.bit_length() - 1
        marks = np.arange(count, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.zeros(1, np.uint64)
        places = np.searchsorted(self.cart_key, marks, side="left")
        starts = np.r_[self.cart_start, total_rows]
        return [int(starts[place]) for place in places] + [total_rows]


def build(ids: pa.Table) -> SegmentIndex:
    """The index of rows that stand in the order of a file: columns cart_id, version, event_id."""
    carts = schema.id_bytes(ids["cart_id"])
    starts = layout.cart_starts(carts)
    rows = np.diff(np.r_[starts, len(carts)])
    keys = schema.cart_keys(schema.take_ids(carts, starts))
    events = schema.id_keys(schema.id_bytes(ids["event_id"]))
    order = schema.ascending(events)
    return SegmentIndex(
        cart_key=keys,
        cart_id=schema.take_ids(carts, starts),
        cart_start=starts.astype(np.uint32),
        cart_rows=rows.astype(np.uint32),
        cart_head=ids["version"].to_numpy()[starts + rows - 1].astype(np.int32),
        event_key=events[order],
        event_row=order.astype(np.uint32),
    )


class IndexCache:
    """The indexes of all segments, kept under the store's cache folder and mapped into memory."""

    def __init__(self, folder: Path, segments: SegmentFolder) -> None:
        self._folder = folder
        self._segments = segments
        self._loaded: dict[str, SegmentIndex] = {}
        self._lock = threading.Lock()

    def get(self, segment: Segment) -> SegmentIndex:
        """The index of a segment, rebuilt from its file where it is missing or torn."""
        known = self._loaded.get(segment.file)
        if known is not None:
            return known
        with self._lock:
            if segment.file not in self._loaded:
                self._loaded[segment.file] = self._load(segment)
            return self._loaded[segment.file]

    def keep(self, segment: Segment, laid_out: pa.Table) -> None:
        """Write the index of a segment whose rows are at hand in the order of its file."""
        self._keep(build(laid_out), segment)

    def forget(self, file: str) -> None:
        """Drop the index of a file that is gone."""
        self._loaded.pop(file, None)
        self._path(file).unlink(missing_ok=True)

    def remove_strays(self, named: set[str], older_than_s: float) -> None:
        """Remove indexes of files that no catalog names, and half-written ones, older than a moment."""
        for path in self._folder.glob("*"):
            if path.stem not in named and is_older(path, older_than_s):
                path.unlink(missing_ok=True)

    def differs(self, segment: Segment, stored: pa.Table) -> Path | None:
        """The index of a segment whose rows are ``stored``, if it is there and does not fit them."""
        path = self._path(segment.file)
        try:
            kept = _read(path, segment)
        except (OSError, ValueError):
            return None
        made = build(stored)
        fits = all(np.array_equal(getattr(kept, name), getattr(made, name)) for name, _ in FIELDS)
        return None if fits else path

    def _path(self, file: str) -> Path:
        return self._folder / f"{file}.index"

    def _load(self, segment: Segment) -> SegmentIndex:
        path = self._path(segment.file)
        try:
            return _read(path, segment)
        except (OSError, ValueError):
            index = build(self._segments.read(segment, ["cart_id", "version", "event_id"]))
            self._keep(index, segment)
            return index

    def _keep(self, index: SegmentIndex, segment: Segment) -> None:
        """Write an index where that is allowed and there is room; it can be made again at any time."""
        with suppress(OSError):
            _write(index, self._path(segment.file))


FIELDS = (
    ("cart_key", np.uint64),
    ("cart_id", np.uint8),
    ("cart_start", np.uint32),
    ("cart_rows", np.uint32),
    ("cart_head", np.int32),
    ("event_key", np.uint64),
    ("event_row", np.uint32),
)
HEADER = np.dtype([("magic", "S8"), ("carts", "<u8"), ("events", "<u8")])
MAGIC = b"cartidx2"


def _write(index: SegmentIndex, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as out:
            out.write(np.array([(MAGIC, len(index.cart_key), len(index.event_key))], HEADER).tobytes())
            for name, kind in FIELDS:
                part = np.ascontiguousarray(getattr(index, name), kind).tobytes()
                out.write(part + b"\0" * (-len(part) % 8))
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path, segment: Segment) -> SegmentIndex:
    mapped = np.memmap(path, np.uint8, mode="r")
    head = mapped[: HEADER.itemsize].view(HEADER)[0]
    if head["magic"] != MAGIC or head["events"] != segment.rows:
        raise ValueError(f"{path} is not the index of {segment.file}")
    parts, start = {}, HEADER.itemsize
    for name, kind in FIELDS:
        count = int(head["carts"] if name.startswith("cart") else head["events"])
        size = count * (16 if name == "cart_id" else np.dtype(kind).itemsize)
        parts[name] = mapped[start : start + size].view(kind)
        start += size + (-size % 8)
    if start != len(mapped):
        raise ValueError(f"{path} is torn")
    parts["cart_id"] = parts["cart_id"].reshape(-1, 16)
    return SegmentIndex(**parts)
