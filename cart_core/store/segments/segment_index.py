"""Where a cart or an event lies in a segment: sorted keys, and marks among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.store.segments import layout

Array = np.ndarray[Any, np.dtype[Any]]

KEY_BITS = 64
CARTS_PER_MARK = 64
"""How many carts there are, about, between two marks of an index: their keys are one page of it, or two."""
HINT = 2**32
"""Pseudonyms below it fit into what an index says of a cart."""
MANY = 10_000
"""For so many keys a compiled search is worth loading."""


class Place(NamedTuple):
    """Where a cart's rows are in a segment, its highest version there, and the pseudonym in its last row, if small."""

    start: int
    rows: int
    head: int
    user_key: int


@dataclass(frozen=True, slots=True)
class SegmentIndex:
    """The carts of one segment, and its events, each by ascending key.

    ``cart_start`` and ``cart_rows`` say where a cart's rows lie in the file, ``cart_head`` its highest version there,
    ``cart_user`` the pseudonym in its last row, or 0 where that is a large one. ``cart_mark`` says, for each of equal
    ranges of keys, which cart is the first of it: so few pages need be in memory to find one.
    """

    cart_key: Array
    cart_id: Array
    cart_start: Array
    cart_rows: Array
    cart_head: Array
    cart_user: Array
    event_key: Array
    event_row: Array
    cart_mark: Array

    def around(self, key: int) -> tuple[int, int]:
        """Between which two places the carts of a key stand, if there are any."""
        part = int(key) >> KEY_BITS - (len(self.cart_mark) - 1).bit_length() + 1
        return int(self.cart_mark[part]), int(self.cart_mark[part + 1])

    def cart(self, key: int, cart_id: bytes) -> Place | None:
        """Where one cart is, or None where the segment has no event of it."""
        wanted = np.uint64(key)
        low, high = self.around(key)
        keys = self.cart_key[low:high]
        place = low + int(keys.searchsorted(wanted))
        while place < high and keys[place - low] == wanted:
            if self.cart_id[place].tobytes() == cart_id:
                said = (self.cart_start, self.cart_rows, self.cart_head, self.cart_user)
                return Place(*(int(each[place]) for each in said))
            place += 1
        return None

    def carts(self, keys: Array, ids: Array) -> tuple[Array, Array]:
        """Which of many carts (ascending keys, ids in the same order) the segment holds, and where in this index."""
        if not len(self.cart_key):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        asked = np.arange(len(keys))
        places = first_not_below(self.cart_key, keys)
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


def first_not_below(keys: Array, wanted: Array) -> Array:
    """Where each of some ascending keys stands, or would stand, among others that ascend."""
    if len(wanted) < MANY:
        return np.asarray(keys.searchsorted(wanted))
    from cart_core.store.segments import searching  # noqa: PLC0415 - readers of few carts never load a compiler

    return searching.first_not_below(keys, wanted)


def build(ids: pa.Table) -> SegmentIndex:
    """The index of rows that stand in the order of a file: columns cart_id, version, event_id, user_key."""
    carts = schema.id_bytes(ids["cart_id"])
    starts = layout.cart_starts(carts)
    rows = np.diff(np.r_[starts, len(carts)])
    last = starts + rows - 1
    users = ids["user_key"].to_numpy()[last]
    keys = schema.cart_keys(schema.take_ids(carts, starts))
    events = schema.id_keys(schema.id_bytes(ids["event_id"]))
    order = schema.ascending(events)
    return SegmentIndex(
        cart_key=keys,
        cart_id=schema.take_ids(carts, starts),
        cart_start=starts.astype(np.uint32),
        cart_rows=rows.astype(np.uint32),
        cart_head=ids["version"].to_numpy()[last].astype(np.int32),
        cart_user=np.where((users >= 0) & (users < HINT), users, 0).astype(np.uint32),
        event_key=events[order],
        event_row=order.astype(np.uint32),
        cart_mark=marks(keys),
    )


def marks(keys: Array) -> Array:
    """Where equal ranges of ascending keys begin, a power of two of them, and where the last one ends."""
    bits = max(0, (len(keys) // CARTS_PER_MARK).bit_length() - 1)
    firsts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(KEY_BITS - bits) if bits else np.zeros(1, np.uint64)
    return np.append(np.searchsorted(keys, firsts), len(keys)).astype(np.uint32)
