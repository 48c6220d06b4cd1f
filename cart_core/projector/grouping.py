"""Rows of events by cart: grouped by a hash of the cart's id, not sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from cart_core import schema
from cart_core.projector.compiled import compiled, read, written

Array = np.ndarray[Any, np.dtype[Any]]

EMPTY = -1
MIX_HIGH = np.uint64(0x9E3779B97F4A7C15)
MIX_LOW = np.uint64(0xC2B2AE3D27D4EB4F)
HALF = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows by cart: cart ``i`` has rows order[begins[i]:ends[i]], versions ascending.

    Carts stand in order of their key. ``bad`` is the first row whose version is not above the one before it in its
    cart, -1 where there is none; where there is one, nothing else is filled in.
    """

    order: Array
    begins: Array
    ends: Array
    bad: int


def grouped(ids: Array, versions: Array, kept: int = 0) -> Grouped:
    """Group rows by cart, given their ids as (n, 16) bytes; the first ``kept`` rows of a cart may share a version."""
    rows = len(ids)
    numbers, firsts, counts, reached = (np.empty(rows, np.int32) for _ in range(4))
    slots = np.full(slots_for(rows), EMPTY, np.int32)
    carts, bad = _number(ids.view(np.uint64), versions, kept, slots, numbers, firsts, counts, reached)
    if bad >= 0:
        return Grouped(numbers[:0], numbers[:0], numbers[:0], bad)
    ranks = schema.key_order(ids[firsts[:carts]])
    sizes = counts[:carts][ranks].astype(np.int64)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    places = np.empty_like(begins)
    places[ranks] = begins
    order = np.empty(rows, np.int32)
    _scatter(numbers, places, order)
    return Grouped(order, begins, ends, bad)


def slots_for(entries: int) -> int:
    """The size of a hash table that at most half fills: a power of two, 4 at least."""
    return max(4, 1 << (2 * entries - 1).bit_length())


@compiled()
def _slot(ids: Array, firsts: Array, slots: Array, row: int) -> int:
    high, low = ids[row, 0], ids[row, 1]
    mask = len(slots) - 1
    mixed = (high * MIX_HIGH) ^ (low * MIX_LOW)
    slot = np.int64((mixed ^ (mixed >> HALF)) & np.uint64(mask))
    while slots[slot] != EMPTY:
        first = firsts[slots[slot]]
        if ids[first, 0] == high and ids[first, 1] == low:
            break
        slot = (slot + 1) & mask
    return slot  # type: ignore[return-value]


@compiled(
    read(types.uint64, dimensions=2),
    read(types.int32),
    types.int64,
    written(types.int32),
    written(types.int32),
    written(types.int32),
    written(types.int32),
    written(types.int32),
)
def _number(
    ids: Array, versions: Array, kept: int, slots: Array, numbers: Array, firsts: Array, counts: Array, reached: Array
) -> tuple[int, int]:
    """Number the carts in order of appearance.

    Fills in each row's number, and each cart's first row, count of rows and highest version. Returns how many carts
    there are, and the first row out of order.
    """
    carts, cart = 0, 0
    for row in range(len(ids)):
        if row == 0 or ids[row, 0] != ids[row - 1, 0] or ids[row, 1] != ids[row - 1, 1]:
            slot = _slot(ids, firsts, slots, row)
            cart = slots[slot]
            if cart == EMPTY:
                cart = carts
                carts += 1
                slots[slot] = cart
                firsts[cart], counts[cart], reached[cart] = row, 0, 0
        if versions[row] <= reached[cart] and not (row < kept and versions[row] == reached[cart]):
            return carts, row
        numbers[row] = cart
        counts[cart] += 1
        reached[cart] = versions[row]
    return carts, -1


@compiled(read(types.int32), written(types.int64), written(types.int32))
def _scatter(numbers: Array, places: Array, order: Array) -> None:
    """Put every row at its cart's next place."""
    for row in range(len(numbers)):
        cart = numbers[row]
        order[places[cart]] = row
        places[cart] += 1
