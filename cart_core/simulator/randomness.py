"""Random draws inside compiled code: SplitMix64, one stream per shopper and one per cart.

A stream is keyed by the shop's seed and a number, so that a shopper does the same in every run, however the work is
cut, and a cart goes on as it would have, whatever became of the one before it.
(Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cart_core.simulator.compiled import inner

Array = np.ndarray[Any, np.dtype[Any]]

STEP = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
FRACTION_SHIFT = np.uint64(11)
FRACTION = 2.0**-53


def mixed(value: Any) -> Any:
    """The SplitMix64 finaliser of an unsigned 64-bit number, or of an array of them."""
    value = (value ^ (value >> SHIFTS[0])) * FIRST_FACTOR
    value = (value ^ (value >> SHIFTS[1])) * SECOND_FACTOR
    return value ^ (value >> SHIFTS[2])


_mixed = inner(mixed)


@inner
def reset(stream: Array, seed: np.uint64, number: np.uint64) -> None:
    """Put a stream (one uint64) at the start that belongs to a seed and a number."""
    stream[0] = _mixed(_mixed(seed + STEP) ^ (number * STEP))


@inner
def draw(stream: Array) -> float:
    """A number from 0 to below 1."""
    stream[0] += STEP
    return float((_mixed(stream[0]) >> FRACTION_SHIFT) * FRACTION)


@inner
def below(stream: Array, bound: int) -> int:
    """A whole number from 0 to below ``bound``."""
    return int(draw(stream) * bound)


@inner
def waiting(stream: Array, mean: float) -> float:
    """An exponential time with this mean."""
    return -mean * math.log(1.0 - draw(stream))


@inner
def normal(stream: Array) -> float:
    """A standard normal number (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - draw(stream)))
    return radius * math.cos(2.0 * math.pi * draw(stream))


@inner
def extra(stream: Array, more: float, most: int) -> int:
    """How often in a row a chance of ``more`` came true, at most ``most``."""
    count = 0
    while count < most and draw(stream) < more:
        count += 1
    return count


@inner
def pick(stream: Array, cumulative: Array) -> int:
    """An index drawn by cumulative weights that end at 1."""
    wanted = draw(stream)
    low, high = 0, len(cumulative) - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] <= wanted:
            low = middle + 1
        else:
            high = middle
    return low
