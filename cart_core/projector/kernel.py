"""The compiled fold: numbers in, numbers out; ``many`` stands between it and tables.

Each cart is folded in one go with a small table of its own lines and coupons, so that the work grows with the events
alone, however they are spread over carts, products and coupons. The small parts come first, the whole last.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numba import types

from cart_core.projector.compiled import compiled, named, read, written
from cart_core.projector.grouping import EMPTY, slots_for
from cart_core.rules import INT64_MAX, PERCENT_STEPS

Array = np.ndarray[Any, np.dtype[Any]]

(
    ITEM_ADDED,
    ITEM_REMOVED,
    QUANTITY_CHANGED,
    COUPON_APPLIED,
    COUPON_REMOVED,
    PRICE_UPDATED,
    CART_ABANDONED,
    CHECKOUT_STARTED,
    CHECKOUT_COMPLETED,
    QUIET_REMOVAL,
    KEPT_CART,
    KEPT_LINE,
    KEPT_COUPON,
) = range(13)
"""What a row does: the nine event types in the order of ``events.TYPES``; a CouponRemoved that is not the shopper's
doing; and the rows that put a kept state into an empty cart."""

FIRST, LAST, ACTIVITY, CHECKOUT, ORDER, ABANDONED, CURRENCY, REGISTERS = range(8)
"""Registers of a cart, each the row that last wrote it, EMPTY where none did. The shopper's next act empties
ABANDONED; CURRENCY is a row with the currency of all lines, or MIXED."""
MIXED = -2

LINES, UNITS, SUBTOTAL, DISCOUNT, COUPONS, FIGURES = range(6)
"""Figures of a cart; SUBTOTAL and DISCOUNT mean nothing where the currency is MIXED."""

ROW, QUANTITY, PRICE, CELLS = range(4)
"""What is told of a standing line: the row that added it, its quantity and its price."""

HASH_START = np.uint64(14695981039346656037)
HASH_STEP = np.uint64(1099511628211)
HALF = np.uint64(32)
UNIT_STEPS = 100 * PERCENT_STEPS
START = cast(int, np.int64(0))
"""A number of which the compiler knows no more than its type: for a plain 0 it would compile what is called twice."""


class Texts(NamedTuple):
    """A text column: text ``i`` is the bytes from offsets[i] to offsets[i + 1]."""

    offsets: Array
    data: Array


class Columns(NamedTuple):
    """What the fold reads of each row; ``price`` is the price that an ItemAdded or PriceUpdated sets."""

    kind: Array
    quantity: Array
    price: Array
    added_us: Array
    product: Texts
    currency: Texts
    coupon: Texts
    percentage: Array
    discount: Array


class Keys(NamedTuple):
    """A hash table from texts to entries: ``slots`` hold entries, ``rows`` and ``hashes`` say what each entry is."""

    slots: Array
    rows: Array
    hashes: Array


class Desk(NamedTuple):
    """Room to fold one cart.

    ``used`` counts the entries of lines and of coupons. A coupon's ``link`` is the entry applied before it under the
    same code. ``order`` and ``spare`` are for sorting; ``seen`` are the registers.
    """

    lines: Keys
    quantity: Array
    price: Array
    stands: Array
    coupons: Keys
    link: Array
    applied: Array
    used: Array
    order: Array
    spare: Array
    seen: Array


class Told(NamedTuple):
    """Answers: REGISTERS x runs, FIGURES x runs, standing lines and applied coupons run by run."""

    registers: Array
    figures: Array
    lines: Array
    coupons: Array


TEXTS = named(Texts, read(types.int32), read(types.uint8))
COLUMNS = named(
    Columns,
    read(types.int8),
    read(types.int32),
    read(types.int64),
    read(types.int64),
    TEXTS,
    TEXTS,
    TEXTS,
    read(types.boolean),
    read(types.float64),
)
KEYS = named(Keys, written(types.int32), written(types.int32), written(types.uint64))
DESK = named(
    Desk,
    KEYS,
    written(types.int32),
    written(types.int64),
    written(types.boolean),
    KEYS,
    written(types.int32),
    written(types.boolean),
    written(types.int32),
    written(types.int32),
    written(types.int32),
    written(types.int32),
)
TOLD = named(
    Told,
    written(types.int32, dimensions=2),
    written(types.int64, dimensions=2),
    written(types.int64, dimensions=2),
    written(types.int32),
)


def desk(rows: int) -> Desk:
    """Room for a cart of this many rows."""
    return Desk(
        lines=_keys(rows),
        quantity=np.empty(rows, np.int32),
        price=np.empty(rows, np.int64),
        stands=np.empty(rows, bool),
        coupons=_keys(rows),
        link=np.empty(rows, np.int32),
        applied=np.empty(rows, bool),
        used=np.zeros(2, np.int32),
        order=np.empty(rows, np.int32),
        spare=np.empty(rows, np.int32),
        seen=np.empty(REGISTERS, np.int32),
    )


def _keys(rows: int) -> Keys:
    return Keys(np.full(slots_for(rows), EMPTY, np.int32), np.empty(rows, np.int32), np.empty(rows, np.uint64))


@compiled()
def _hash(texts: Texts, row: int) -> np.uint64:
    value = HASH_START
    for place in range(texts.offsets[row], texts.offsets[row + 1]):
        value = (value ^ np.uint64(texts.data[place])) * HASH_STEP
    return value ^ (value >> HALF)


@compiled()
def _compare(texts: Texts, one: int, other: int) -> int:
    """Below, at or above 0 as text ``one`` sorts before, with or after text ``other``, by their UTF-8 bytes."""
    start, begin = texts.offsets[one], texts.offsets[other]
    length, size = texts.offsets[one + 1] - start, texts.offsets[other + 1] - begin
    for place in range(min(length, size)):
        left, right = texts.data[start + place], texts.data[begin + place]
        if left != right:
            return -1 if left < right else 1
    return length - size  # type: ignore[no-any-return]


@compiled()
def _find(texts: Texts, keys: Keys, mask: int, row: int, key: np.uint64) -> int:
    """The slot of a text: it holds the text's entry, or EMPTY."""
    slot = np.int64(key & np.uint64(mask))
    while keys.slots[slot] != EMPTY:
        entry = keys.slots[slot]
        if keys.hashes[entry] == key and _compare(texts, keys.rows[entry], row) == 0:
            break
        slot = (slot + 1) & mask
    return slot  # type: ignore[return-value]


@compiled()
def _add_line(columns: Columns, desk: Desk, mask: int, row: int) -> None:
    key = _hash(columns.product, row)
    slot = _find(columns.product, desk.lines, mask, row, key)
    entry = desk.lines.slots[slot]
    if entry == EMPTY:
        entry = desk.used[0]
        desk.used[0] += 1
        desk.lines.slots[slot] = entry
        desk.lines.hashes[entry] = key
    desk.lines.rows[entry] = row
    desk.quantity[entry] = columns.quantity[row]
    desk.price[entry] = columns.price[row]
    desk.stands[entry] = True


@compiled()
def _change_line(columns: Columns, desk: Desk, mask: int, row: int, kind: int) -> None:
    entry = desk.lines.slots[_find(columns.product, desk.lines, mask, row, _hash(columns.product, row))]
    if entry == EMPTY:
        return
    if kind == ITEM_REMOVED:
        desk.stands[entry] = False
    elif kind == QUANTITY_CHANGED:
        desk.quantity[entry] = columns.quantity[row]
    else:
        desk.price[entry] = columns.price[row]


@compiled()
def _add_coupon(columns: Columns, desk: Desk, mask: int, row: int) -> None:
    key = _hash(columns.coupon, row)
    slot = _find(columns.coupon, desk.coupons, mask, row, key)
    entry = desk.used[1]
    desk.used[1] += 1
    desk.link[entry] = desk.coupons.slots[slot]
    desk.coupons.slots[slot] = entry
    desk.coupons.rows[entry] = row
    desk.coupons.hashes[entry] = key
    desk.applied[entry] = True


@compiled()
def _drop_coupons(columns: Columns, desk: Desk, mask: int, row: int) -> None:
    """Every coupon is dropped once at most, so all removals of a cart cost no more than its applications did."""
    slot = _find(columns.coupon, desk.coupons, mask, row, _hash(columns.coupon, row))
    entry = desk.coupons.slots[slot]
    while entry != EMPTY and desk.applied[entry]:
        desk.applied[entry] = False
        entry = desk.link[entry]


@compiled()
def _write_registers(seen: Array, row: int, kind: int) -> None:
    if seen[FIRST] == EMPTY:
        seen[FIRST] = row
    if kind < KEPT_CART:
        seen[LAST] = row
    if kind in (CART_ABANDONED, CHECKOUT_COMPLETED):
        seen[ABANDONED if kind == CART_ABANDONED else ORDER] = row
    elif kind <= COUPON_REMOVED or kind == CHECKOUT_STARTED:
        seen[ACTIVITY] = row
        seen[ABANDONED] = EMPTY
        if kind == CHECKOUT_STARTED:
            seen[CHECKOUT] = row


@compiled()
def _apply(columns: Columns, desk: Desk, mask: int, row: int) -> None:
    kind = columns.kind[row]
    _write_registers(desk.seen, row, kind)
    if kind in (ITEM_ADDED, KEPT_LINE):
        _add_line(columns, desk, mask, row)
    elif kind in (ITEM_REMOVED, QUANTITY_CHANGED, PRICE_UPDATED):
        _change_line(columns, desk, mask, row, kind)
    elif kind in (COUPON_APPLIED, KEPT_COUPON):
        _add_coupon(columns, desk, mask, row)
    elif kind in (COUPON_REMOVED, QUIET_REMOVAL):
        _drop_coupons(columns, desk, mask, row)


@compiled()
def _before(columns: Columns, desk: Desk, one: int, other: int) -> bool:
    row, beside = desk.lines.rows[one], desk.lines.rows[other]
    if columns.added_us[row] != columns.added_us[beside]:
        return columns.added_us[row] < columns.added_us[beside]  # type: ignore[no-any-return]
    return _compare(columns.product, row, beside) < 0


@compiled()
def _merge(columns: Columns, desk: Desk, low: int, middle: int, high: int) -> None:
    left, right = low, middle
    for place in range(low, high):
        if right == high or (left < middle and not _before(columns, desk, desk.order[right], desk.order[left])):
            desk.spare[place] = desk.order[left]
            left += 1
        else:
            desk.spare[place] = desk.order[right]
            right += 1


@compiled()
def _sort_standing(columns: Columns, desk: Desk) -> int:
    """Put the entries of standing lines into ``desk.order``, by (added_us, product); returns how many."""
    count = 0
    for entry in range(desk.used[0]):
        if desk.stands[entry]:
            desk.order[count] = entry
            count += 1
    width = 1
    while width < count:
        for low in range(0, count, 2 * width):
            _merge(columns, desk, low, min(low + width, count), min(low + 2 * width, count))
        for place in range(count):
            desk.order[place] = desk.spare[place]
        width *= 2
    return count


@compiled()
def _worth(columns: Columns, row: int, subtotal: int) -> int:
    """What a coupon takes off, in steps that stay within 64 bits."""
    if not columns.percentage[row]:
        return np.int64(columns.discount[row])  # type: ignore[return-value]
    steps = np.int64(np.floor(columns.discount[row] * PERCENT_STEPS + 0.5))
    whole, rest = subtotal // UNIT_STEPS, subtotal % UNIT_STEPS
    return whole * steps + (rest * steps + UNIT_STEPS // 2) // UNIT_STEPS  # type: ignore[return-value]


@compiled()
def _tell_lines(columns: Columns, desk: Desk, told: Told, run: int, used: int) -> int:
    count = _sort_standing(columns, desk)
    units, subtotal = 0, 0
    desk.seen[CURRENCY] = EMPTY
    for place in range(count):
        entry = desk.order[place]
        row, quantity, price = desk.lines.rows[entry], desk.quantity[entry], desk.price[entry]
        units += quantity
        subtotal = INT64_MAX if price > (INT64_MAX - subtotal) // quantity else subtotal + quantity * price
        if place == 0:
            desk.seen[CURRENCY] = row
        elif desk.seen[CURRENCY] != MIXED and _compare(columns.currency, desk.seen[CURRENCY], row) != 0:
            desk.seen[CURRENCY] = MIXED
        if used + place < len(told.lines):
            told.lines[used + place, ROW] = row
            told.lines[used + place, QUANTITY] = quantity
            told.lines[used + place, PRICE] = price
    told.figures[LINES, run], told.figures[UNITS, run], told.figures[SUBTOTAL, run] = count, units, subtotal
    return used + count


@compiled()
def _tell_coupons(columns: Columns, desk: Desk, told: Told, run: int, used: int) -> int:
    subtotal = told.figures[SUBTOTAL, run]
    left, count = subtotal, 0
    for entry in range(desk.used[1]):
        if desk.applied[entry]:
            row = desk.coupons.rows[entry]
            left -= min(left, _worth(columns, row, subtotal))
            if used + count < len(told.coupons):
                told.coupons[used + count] = row
            count += 1
    told.figures[DISCOUNT, run], told.figures[COUPONS, run] = subtotal - left, count
    return used + count


@compiled()
def _clear(desk: Desk, mask: int) -> None:
    """Undo what a cart with this mask left behind, and nothing else: a long cart must not slow down the short ones."""
    if desk.used[0]:
        desk.lines.slots[: mask + 1] = EMPTY
    if desk.used[1]:
        desk.coupons.slots[: mask + 1] = EMPTY
    desk.used[:] = 0
    desk.seen[:] = EMPTY


@compiled()
def _mask(begins: Array, ends: Array, run: int) -> int:
    """The mask of a hash table for all rows of the cart that this run begins."""
    last = run
    while last + 1 < len(begins) and begins[last + 1] == begins[run]:
        last += 1
    size = 4
    while size < 2 * (ends[last] - begins[run]):
        size *= 2
    return size - 1


@compiled(COLUMNS, read(types.int32), read(types.int64), read(types.int64), DESK, TOLD)
def fold_runs(columns: Columns, order: Array, begins: Array, ends: Array, desk: Desk, told: Told) -> tuple[int, int]:
    """Fold rows order[begins[i]:ends[i]] for every run ``i``, each from an empty cart, and tell what stands then.

    Runs that follow each other with one beginning and growing ends are moments of one cart, which is folded once.
    Lines are told by (added_us, product), coupons as applied, as far as there is room for them. Returns how many lines
    and coupons there are.
    """
    lines, coupons, mask, done = START, START, START, START
    for run in range(len(begins)):
        if run == 0 or begins[run] != begins[run - 1]:
            _clear(desk, mask)
            mask = _mask(begins, ends, run)
            done = begins[run]
        for place in range(done, ends[run]):
            _apply(columns, desk, mask, order[place])
        done = ends[run]
        lines = _tell_lines(columns, desk, told, run, lines)
        coupons = _tell_coupons(columns, desk, told, run, coupons)
        for register in range(REGISTERS):
            told.registers[register, run] = desk.seen[register]
    return lines, coupons
