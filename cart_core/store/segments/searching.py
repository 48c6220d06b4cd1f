"""Searching many ascending keys among many others: one walk through both instead of a search for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from cart_core.compiling import compile_loop

Array = np.ndarray[Any, np.dtype[Any]]


@compile_loop
def first_not_below(keys: Array, wanted: Array) -> Array:
    """What ``searchsorted`` gives, for wanted keys that ascend, too: the steps from one to the next double."""
    places = np.empty(len(wanted), np.int64)
    low = 0
    for number, key in enumerate(wanted):
        high, step = low, 1
        while high < len(keys) and keys[high] < key:
            low = high + 1
            high, step = high + step, 2 * step
        high = min(high, len(keys))
        while low < high:
            middle = (low + high) >> 1
            if keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        places[number] = low
    return places
