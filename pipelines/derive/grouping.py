"""Rows put together by what they belong to, and in order within it, without sorting the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numba import njit

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Row numbers group by group: group g has ``rows[starts[g] : starts[g + 1]]``."""

    rows: Ints
    starts: Ints

    def kept(self, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Grouped:
        """The same groups, without the rows whose mask is false; a group may be left with none."""
        stays = mask[self.rows]
        before = np.concatenate([[0], np.cumsum(stays)])
        return Grouped(self.rows[stays], before[self.starts])


def group_codes(column: pl.Series) -> tuple[Ints, int]:
    """A number from 0 for each different value, in order of first appearance, and how many there are."""
    whole = column.to_arrow()
    encoded = whole.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64, copy=False), len(encoded.dictionary)


def grouped(codes: Ints, count: int, first: Ints, second: Ints) -> Grouped:
    """The rows of groups 0 to ``count`` - 1, each group ascending by (first, second), then in the order given."""
    rows, starts = _placed(codes, count)
    _sort_groups(rows, starts, first, second, np.empty_like(rows))
    return Grouped(rows, starts)


@njit(cache=True)
def _placed(codes: Ints, count: int) -> Any:
    starts = np.zeros(count + 1, np.int64)
    for i in range(len(codes)):
        starts[codes[i]] += 1
    total = 0
    for g in range(count + 1):
        total += starts[g]
        starts[g] = total
    rows = np.empty(len(codes), np.int64)
    for i in range(len(codes) - 1, -1, -1):
        starts[codes[i]] -= 1
        rows[starts[codes[i]]] = i
    return rows, starts


@njit(cache=True)
def _sort_groups(rows: Ints, starts: Ints, first: Ints, second: Ints, spare: Ints) -> None:
    for g in range(len(starts) - 1):
        low, high = starts[g], starts[g + 1]
        if _ascends(rows, low, high, first, second):
            continue
        width = 1
        while width < high - low:
            for begin in range(low, high, 2 * width):
                middle = min(begin + width, high)
                _merge(rows, begin, middle, min(middle + width, high), first, second, spare)
            width *= 2


@njit(cache=True)
def _merge(rows: Ints, begin: int, middle: int, end: int, first: Ints, second: Ints, spare: Ints) -> None:
    left, right = begin, middle
    for place in range(begin, end):
        if right == end or (left < middle and not _before(rows[right], rows[left], first, second)):
            spare[place] = rows[left]
            left += 1
        else:
            spare[place] = rows[right]
            right += 1
    for place in range(begin, end):
        rows[place] = spare[place]


@njit(cache=True)
def _before(a: int, b: int, first: Ints, second: Ints) -> bool:
    return bool(first[a] < first[b] or (first[a] == first[b] and second[a] < second[b]))


@njit(cache=True)
def _ascends(rows: Ints, low: int, high: int, first: Ints, second: Ints) -> bool:
    for place in range(low + 1, high):  # noqa: SIM110 - compiled, a generator is slower
        if _before(rows[place], rows[place - 1], first, second):
            return False
    return True
