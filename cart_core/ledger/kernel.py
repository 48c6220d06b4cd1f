"""The compiled loop that writes every row's canonical JSON and hashes it as a leaf, without an object per row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint8, uint64

from cart_core.ledger.compiled import compiled, copy, peek, peek_number, poke
from cart_core.ledger.sha256 import PADDING_BYTES, sha256_into
from cart_core.rules import MAX_TIME_US, MIN_TIME_US

NOTHING, ID, WHOLE, TIME, TEXT, RAW, METADATA = range(7)
"""What a step writes behind its literal: nothing, a UUID, an integer, a time, text in quotes or as it stands, a map."""


class Programs(NamedTuple):
    """How the rows of each event type are written.

    The steps of type t are ``steps[bounds[t]:bounds[t + 1]]``: start and size of the literal before the cell, what to
    write, the column, its presence bit, and the byte behind it. A row is an event if the bits of its cells hold all
    of ``required`` and none beyond ``allowed``.
    """

    steps: np.ndarray[Any, np.dtype[np.int64]]
    bounds: np.ndarray[Any, np.dtype[np.int64]]
    literals: np.ndarray[Any, np.dtype[np.uint8]]
    required: np.ndarray[Any, np.dtype[np.int64]]
    allowed: np.ndarray[Any, np.dtype[np.int64]]


class Cells(NamedTuple):
    """A slice of rows: per column the address of its data and, of text, that of its offsets (n + 1 64-bit integers).

    Ids take 16 bytes a row, numbers 8. The last two columns are the keys and values of the metadata, of which row r
    has ``pairs[r]`` to ``pairs[r + 1]``. ``kinds`` is -1 where the type is none of the nine.
    """

    kinds: np.ndarray[Any, np.dtype[np.int64]]
    present: np.ndarray[Any, np.dtype[np.int64]]
    data: np.ndarray[Any, np.dtype[np.int64]]
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    pairs: np.ndarray[Any, np.dtype[np.int64]]


_FIXED_BYTES = 2048
_ESCAPED_BYTES = 6
_PAIR_BYTES = 6
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_SHORT_ESCAPES = np.zeros(128, np.uint8)
for _letter, _escape in (b'""', b"\\\\", b"\bb", b"\tt", b"\nn", b"\ff", b"\rr"):
    _SHORT_ESCAPES[_letter] = _escape
_QUOTE, _BACKSLASH, _COMMA, _COLON, _MINUS, _ZERO = b'"\\,:-0'
_OPEN, _CLOSE, _DOT, _T, _Z, _U = b"{}.TZu"


@compiled
def hash_rows(programs: Programs, cells: Cells, out: Any) -> None:
    """Write the leaf hash of each row into ``out`` (n, 32); rows that are no event are passed over."""
    scratch, state, order = np.empty(4 * _FIXED_BYTES, np.uint8), np.empty(8, np.uint32), np.empty(16, np.int64)
    for row in range(len(cells.kinds)):
        if not _is_event(programs, cells.kinds[row], cells.present[row]):
            continue
        room = _room(cells, row)
        if room > len(scratch):
            scratch = np.empty(2 * room, np.uint8)
        pairs = cells.pairs[row + 1] - cells.pairs[row]
        if pairs > len(order):
            order = np.empty(2 * pairs, np.int64)
        end = _write_row(programs, cells, row, scratch.ctypes.data, order)
        if end:
            sha256_into(scratch, end - scratch.ctypes.data, state, out[row])


@compiled
def _is_event(programs: Programs, kind: int, present: int) -> bool:
    """Whether a row's type is known and its cells are all that the type needs, and none beyond."""
    if kind < 0:
        return False
    lacking: int = programs.required[kind] & ~present
    foreign: int = present & ~programs.allowed[kind]
    return lacking == 0 and foreign == 0


@compiled
def _room(cells: Cells, row: int) -> int:
    """The most bytes that a row may take: each byte of text may become an escape of six."""
    first, last = cells.pairs[row], cells.pairs[row + 1]
    keys = len(cells.offsets) - 2
    size = int64(0)
    for column in range(keys + 2):
        if cells.offsets[column] and column < keys:
            size += _offset(cells, column, row + 1) - _offset(cells, column, row)
        elif cells.offsets[column]:
            size += _offset(cells, column, last) - _offset(cells, column, first)
    room: int = _FIXED_BYTES + PADDING_BYTES + _ESCAPED_BYTES * size + _PAIR_BYTES * (last - first)
    return room


@compiled
def _offset(cells: Cells, column: int, index: int) -> int:
    offset: int = peek_number(cells.offsets[column] + 8 * index)
    return offset


@compiled
def _write_row(programs: Programs, cells: Cells, row: int, at: int, order: Any) -> int:
    """Write a leaf's bytes, 0x00 and the canonical JSON, to an address.

    Returns the address behind them, as every writer here does; 0 where a time lies outside of the calendar.
    """
    poke(at, 0)
    at += 1
    for step in range(programs.bounds[cells.kinds[row]], programs.bounds[cells.kinds[row] + 1]):
        if not cells.present[row] & programs.steps[step, 4]:
            continue
        size, write, column = programs.steps[step, 1], programs.steps[step, 2], programs.steps[step, 3]
        copy(at, programs.literals.ctypes.data + programs.steps[step, 0], size)
        at += size
        if write == TEXT:
            at = _write_text(at, cells, column, row)
        elif write == ID:
            at = _write_id(at, cells.data[column] + 16 * row)
        elif write == WHOLE:
            at = _write_whole(at, peek_number(cells.data[column] + 8 * row))
        elif write == TIME:
            at = _write_time(at, peek_number(cells.data[column] + 8 * row))
            if not at:
                return 0
        elif write == METADATA:
            at = _write_metadata(at, cells, row, order)
        elif write == RAW:
            at = _write_raw(at, cells, column, row)
        poke(at, programs.steps[step, 5])
        at += 1
    return at


@compiled
def _write_raw(at: int, cells: Cells, column: int, index: int) -> int:
    size = _offset(cells, column, index + 1) - _offset(cells, column, index)
    copy(at, cells.data[column] + _offset(cells, column, index), size)
    return at + size


@compiled
def _write_text(at: int, cells: Cells, column: int, index: int) -> int:
    data = cells.data[column]
    poke(at, _QUOTE)
    at += 1
    for source in range(data + _offset(cells, column, index), data + _offset(cells, column, index + 1)):
        byte = peek(source)
        if byte >= 0x20 and byte not in (_QUOTE, _BACKSLASH):
            poke(at, byte)
            at += 1
        else:
            at = _write_escape(at, byte)
    poke(at, _QUOTE)
    return at + 1


@compiled
def _write_escape(at: int, byte: int) -> int:
    poke(at, _BACKSLASH)
    if _SHORT_ESCAPES[byte]:
        poke(at + 1, _SHORT_ESCAPES[byte])
        return at + 2
    poke(at + 1, _U)
    poke(at + 2, _ZERO)
    poke(at + 3, _ZERO)
    poke(at + 4, _HEX[byte >> 4])
    poke(at + 5, _HEX[byte & 15])
    return at + 6


@compiled
def _write_digits(at: int, value: Any, width: int) -> int:
    for place in range(at + width - 1, at - 1, -1):
        poke(place, uint8(_ZERO + value % uint64(10)))
        value //= uint64(10)
    return at + width


@compiled
def _write_whole(at: int, value: int) -> int:
    size = uint64(value)
    if value < 0:
        poke(at, _MINUS)
        at += 1
        size = uint64(0) - size
    width = 1
    rest = size // uint64(10)
    while rest:
        width += 1
        rest //= uint64(10)
    return _write_digits(at, size, width)


@compiled
def _write_id(at: int, source: int) -> int:
    poke(at, _QUOTE)
    at += 1
    for index in range(16):
        if index in (4, 6, 8, 10):
            poke(at, _MINUS)
            at += 1
        byte = peek(source + index)
        poke(at, _HEX[byte >> 4])
        poke(at + 1, _HEX[byte & 15])
        at += 2
    poke(at, _QUOTE)
    return at + 1


@compiled
def _write_time(at: int, micros: int) -> int:
    """RFC 3339 in UTC, with a fraction only where there is one; 0 outside of the years 1 to 9999."""
    if micros < MIN_TIME_US or micros > MAX_TIME_US:
        return 0
    second, fraction = micros // 1_000_000, micros % 1_000_000
    year, month, day = _date(second // 86_400)
    clock = second % 86_400
    poke(at, _QUOTE)
    at = _write_part(at + 1, year, 4, _MINUS)
    at = _write_part(at, month, 2, _MINUS)
    at = _write_part(at, day, 2, _T)
    at = _write_part(at, clock // 3600, 2, _COLON)
    at = _write_part(at, clock // 60 % 60, 2, _COLON)
    at = _write_digits(at, uint64(clock % 60), 2)
    if fraction:
        poke(at, _DOT)
        at = _write_digits(at + 1, uint64(fraction), 6)
    poke(at, _Z)
    poke(at + 1, _QUOTE)
    return at + 2


@compiled
def _write_part(at: int, value: int, width: int, behind: int) -> int:
    at = _write_digits(at, uint64(value), width)
    poke(at, behind)
    return at + 1


@compiled
def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day of days since 1970-01-01, counted in 400-year cycles of years that begin in March."""
    shifted = days + 719_468
    cycle, of_cycle = shifted // 146_097, shifted % 146_097
    year_of_cycle = (of_cycle - of_cycle // 1460 + of_cycle // 36_524 - of_cycle // 146_096) // 365
    of_year = of_cycle - (365 * year_of_cycle + year_of_cycle // 4 - year_of_cycle // 100)
    march_month = (5 * of_year + 2) // 153
    day = of_year - (153 * march_month + 2) // 5 + 1
    month = march_month + 3 if march_month < 10 else march_month - 9
    return 400 * cycle + year_of_cycle + (1 if month <= 2 else 0), month, day


@compiled
def _write_metadata(at: int, cells: Cells, row: int, order: Any) -> int:
    keys = len(cells.offsets) - 2
    first, count = cells.pairs[row], cells.pairs[row + 1] - cells.pairs[row]
    _sort_keys(cells, first, count, order)
    for index in range(count):
        poke(at, _COMMA if index else _OPEN)
        at = _write_text(at + 1, cells, keys, order[index])
        poke(at, _COLON)
        at = _write_text(at + 1, cells, keys + 1, order[index])
    poke(at, _CLOSE)
    return at + 1


@compiled
def _sort_keys(cells: Cells, first: int, count: int, order: Any) -> None:
    """Put the indices of a row's pairs into ``order``, sorted by key: insertion, as they mostly are sorted already."""
    for taken in range(count):
        place = taken
        while place > 0 and _before(cells, first + taken, order[place - 1]):
            order[place] = order[place - 1]
            place -= 1
        order[place] = first + taken


@compiled
def _before(cells: Cells, left: int, right: int) -> bool:
    """Whether one key sorts before another by UTF-16 code units."""
    keys = len(cells.offsets) - 2
    left_at, left_size = _offset(cells, keys, left), _offset(cells, keys, left + 1) - _offset(cells, keys, left)
    right_at, right_size = _offset(cells, keys, right), _offset(cells, keys, right + 1) - _offset(cells, keys, right)
    for index in range(min(left_size, right_size)):
        one: int = peek(cells.data[keys] + left_at + index)
        other: int = peek(cells.data[keys] + right_at + index)
        if one != other:
            return _utf16_rank(one) < _utf16_rank(other)
    return left_size < right_size


@compiled
def _utf16_rank(byte: int) -> int:
    """Orders UTF-8 bytes as UTF-16 would: four-byte letters are surrogates there, below U+E000 to U+FFFF."""
    if byte < 0xEE:
        return byte
    return byte + 0x10 if byte < 0xF0 else byte - 0x02
