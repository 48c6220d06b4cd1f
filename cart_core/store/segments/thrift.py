"""A walk over values in Thrift's compact form, compiled: where each of them ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cart_core.compiling import compile_loop

Array = np.ndarray[Any, np.dtype[Any]]

BYTE, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 3, 6, 7, 8, 9, 10, 12
DEPTH = 32
"""How deep values may lie in one another; those of a footer lie seven deep."""
MORE, BITS = 128, 7
"""A number's bytes but the last have this bit, above seven of its own."""
LONG = 15
"""A list of so many items or more says their number in bytes of its own."""


@compile_loop
def number(text: Array, at: int) -> tuple[Any, int]:
    """A variable-length number, and where it ends."""
    value: Any = 0
    shift = 0
    while text[at] >= MORE:
        value |= (np.int64(text[at]) - MORE) << shift
        at, shift = at + 1, shift + BITS
    return value | np.int64(text[at]) << shift, at + 1


@compile_loop
def plain_end(text: Array, at: int, kind: int, is_listed: bool) -> Any:  # noqa: FBT001 - compiled loops take no keywords
    """Where a value ends that holds no others; what is true or false takes a byte in a list alone."""
    if kind <= BYTE:
        return at + 1 if is_listed or kind == BYTE else at
    if kind <= I64:
        return number(text, at)[1]
    if kind == DOUBLE:
        return at + 8
    size, at = number(text, at)
    return at + size


@compile_loop
def end(text: Array, at: int, kind: int) -> int:
    """Where a well-formed value ends that begins at ``at``."""
    kinds, left = np.zeros(DEPTH, np.int64), np.zeros(DEPTH, np.int64)  # of the items of a list; a struct has -1 left
    kinds[0], left[0], depth = kind, 1, 0
    while depth >= 0:
        is_listed = left[depth] >= 0
        if left[depth] == 0 or (not is_listed and text[at] == 0):
            at, depth = at if is_listed else at + 1, depth - 1
            continue
        found: Any = kinds[depth] if is_listed else np.int64(text[at]) & LONG
        if is_listed:
            left[depth] -= 1
        else:
            at = at + 1 if text[at] > LONG else number(text, at + 1)[1]
        if found == STRUCT:
            depth += 1
            left[depth] = -1
        elif found in (LIST, SET):
            depth += 1
            kinds[depth], left[depth], at = np.int64(text[at]) & LONG, np.int64(text[at]) >> 4, at + 1
            if left[depth] == LONG:
                left[depth], at = number(text, at)
        else:
            at = plain_end(text, at, found, is_listed)
    return at


@compile_loop
def ends(text: Array, at: int, kind: int, count: int) -> Array:
    """Where each of ``count`` values of a kind ends that stand one behind another."""
    found = np.empty(count, np.int64)
    for place in range(count):
        at = end(text, at, kind)
        found[place] = at
    return found
