"""Where a cart or an event lies in a segment: sorted keys in memory-mapped files that can be rebuilt at any time."""

from __future__ import annotations

import dataclasses
import math
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

KEY_BITS = 64
GUESS_OFF = 3
"""How many square roots of the number of keys a guess may be off: three are six standard deviations or more."""


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
        place = _first_not_below(self.cart_key, wanted)
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
        fits = all(np.array_equal(getattr(kept, name), getattr(made, name)) for name in FIELDS)
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


def _first_not_below(keys: Array, wanted: np.uint64) -> int:
    """Where ``searchsorted`` would put a key. Keys are hashes, so its place is guessed: few pages need be in memory."""
    guess, off = int(wanted) * len(keys) >> KEY_BITS, GUESS_OFF * math.isqrt(len(keys))
    low, high = max(0, guess - off), min(len(keys), guess + off)
    place = low + int(keys[low:high].searchsorted(wanted))
    is_right = (low == 0 or keys[low - 1] < wanted) and (place < high or high == len(keys))
    return place if is_right else int(keys.searchsorted(wanted))


FIELDS = tuple(each.name for each in dataclasses.fields(SegmentIndex))
CART = np.dtype([("cart_id", "u1", 16), ("cart_start", "<u4"), ("cart_rows", "<u4"), ("cart_head", "<i4"), ("", "<u4")])
OF_A_CART = ("cart_id", "cart_start", "cart_rows", "cart_head")
"""What is said of a cart stands together, so that one page of the file tells it."""
PARTS = (("cart_key", np.dtype("<u8")), ("cart", CART), ("event_key", np.dtype("<u8")), ("event_row", np.dtype("<u4")))
HEADER = np.dtype([("magic", "S8"), ("carts", "<u8"), ("events", "<u8")])
MAGIC = b"cartidx3"


def _write(index: SegmentIndex, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as out:
            out.write(np.array([(MAGIC, len(index.cart_key), len(index.event_key))], HEADER).tobytes())
            for name, kind in PARTS:
                part = _carts(index) if kind is CART else getattr(index, name).astype(kind)
                out.write(part.tobytes() + b"\0" * (-part.nbytes % 8))
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _carts(index: SegmentIndex) -> Array:
    carts = np.zeros(len(index.cart_key), CART)
    for name in OF_A_CART:
        carts[name] = getattr(index, name)
    return carts


def _read(path: Path, segment: Segment) -> SegmentIndex:
    mapped = np.asarray(np.memmap(path, np.uint8, mode="r"))  # a plain array: each slice of the other kind costs more
    head = mapped[: HEADER.itemsize].view(HEADER)[0]
    if head["magic"] != MAGIC or head["events"] != segment.rows:
        raise ValueError(f"{path} is not the index of {segment.file}")
    parts: dict[str, Array] = {}
    start = HEADER.itemsize
    for name, kind in PARTS:
        size = int(head["carts"] if name.startswith("cart") else head["events"]) * kind.itemsize
        parts[name] = mapped[start : start + size].view(kind)
        start += size + (-size % 8)
    if start != len(mapped):
        raise ValueError(f"{path} is torn")
    carts = parts.pop("cart")
    return SegmentIndex(**parts, **{name: carts[name] for name in OF_A_CART})
