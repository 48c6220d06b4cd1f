"""Touches as columns of numbers: read part by part, put together once, and walked some units at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core.compiling import compile_loop
from cart_core.projector.compiled import compiled
from cart_core.projector.streaming import in_order
from pipelines.derive.columns import Ints, columns_of, micros, none_of, numbered, step_numbers
from pipelines.derive.frames import Frame, moment_us
from pipelines.derive.funnel_attempts import SHARE_ROWS, Funnel, Touched, attempts_in, plans_of, runs, told
from pipelines.tables.contract import MOMENT

PART_ROWS = 500_000
STEP_BITS = 3
STEP_MASK = (1 << STEP_BITS) - 1


@dataclass(frozen=True, slots=True)
class Lot:
    """Touches in any order: ``unit`` counts into the texts ``units``, ``product`` into ``products``.

    ``key`` is the microsecond and the step's number, packed so that keys ascend by time and then by step.
    """

    units: pa.Array
    products: pa.Array
    unit: Ints
    product: Ints
    key: Ints

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True)
class Paths:
    """Touches unit by unit: unit u has ``key[starts[u] : starts[u + 1]]``, by product and then by time.

    ``units`` and ``products`` are as in a ``Lot``.
    """

    units: pa.Array
    products: pa.Array
    starts: Ints
    product: Ints
    key: Ints

    def each(self) -> Iterator[tuple[int, Paths]]:
        """Runs of whole units, each with the number of its first; they look into the same memory."""
        for first, last in runs(self.starts, SHARE_ROWS):
            low, high = self.starts[first], self.starts[last]
            starts = self.starts[first : last + 1] - low
            yield first, Paths(self.units, self.products, starts, self.product[low:high], self.key[low:high])

    def touched(self) -> Touched:
        """The touches as a funnel's search takes them."""
        return Touched(self.starts, self.key >> STEP_BITS, self.key & STEP_MASK)

    def sort(self) -> None:
        """Put the touches of each unit in their order."""
        widest = int(np.diff(self.starts).max(initial=0))
        _sort(self.starts, self.product, self.key, np.empty(widest, np.int32), np.empty(widest, np.int64))

    def apart(self) -> Paths:
        """The same touches, with each unit's products as units of their own."""
        begins = np.zeros(len(self.key), bool)
        begins[1:] = self.product[1:] != self.product[:-1]
        begins[self.starts[:-1][np.diff(self.starts) > 0]] = True
        return Paths(
            self.units, self.products, np.append(np.flatnonzero(begins), len(self.key)), self.product, self.key
        )


def lot_of(
    frame: Frame, unit: str, at: str, step: str | int, steps: Sequence[str], as_of: datetime, product: str | None = None
) -> Lot:
    """The touches of a frame up to a moment: columns ``unit`` and ``at``, and ``product`` where it is named.

    ``step`` names a column of words, each the step of its place in ``steps`` or of none, or is every row's number. Rows
    without a unit or a product are left out. Raises TableError where a column is missing.
    """
    names = [unit, at, *([step] if isinstance(step, str) else []), *([product] if product else [])]
    table = columns_of(frame, names)
    units, unit_texts = numbered(table[unit])
    products, product_texts = numbered(table[product]) if product else (np.zeros(len(table), np.int32), none_of())
    at_us = micros(table[at])
    code = step_numbers(table[step], steps) if isinstance(step, str) else np.full(len(table), step, np.int64)
    counts = (code >= 0) & (units >= 0) & (products >= 0) & (at_us <= moment_us(as_of))
    key = (at_us[counts] << STEP_BITS) | code[counts]
    return Lot(unit_texts, product_texts, units[counts], products[counts], key)


def walked(paths: Paths, definition: Funnel, as_of: datetime, begins: Ints | None = None) -> pl.DataFrame:
    """The attempts of ``attempts`` for units whose touches are ``paths``, their steps numbered as in the definition.

    ``begins`` is the microsecond from which each unit's touches count. Columns: unit (a number into ``paths.units``),
    first_at (its first touch of any kind that counts), then depth, at_0, at_1 ... and mature.
    """
    plans = plans_of(definition, list(definition.steps))

    def found_in(each: tuple[int, Paths]) -> pl.DataFrame:
        first, share = each
        touched = share.touched()
        if begins is not None:
            since = begins[first : first + len(share.starts) - 1]
            touched = touched.kept(touched.at >= np.repeat(since, np.diff(share.starts)))
        found = attempts_in(0, touched, plans, totals=definition.count == "totals")
        first_at = touched.at[touched.starts[found[:, 0]]]
        unit = pl.Series("unit", found[:, 0] + first)
        return (
            told(found, definition, as_of)
            .insert_column(0, unit)
            .insert_column(1, pl.Series("first_at", first_at).cast(MOMENT))
        )

    nobody = Paths(paths.units, paths.products, np.zeros(1, np.int64), paths.product[:0], paths.key[:0])
    return pl.concat([found_in((0, nobody)), *in_order(found_in, paths.each())])


def lots_of_views(views: Frame, as_of: datetime, product: str | None = None) -> Iterator[Lot]:
    """Product views as the first step of their shoppers, some at a time; on all cores."""
    columns = ["user_id", "at", *([product] if product else [])]
    return in_order(lambda part: lot_of(part, "user_id", "at", 0, (), as_of, product), _parts(views, columns))


def gathered(lots: Sequence[Lot]) -> Paths:
    """The touches of all lots, unit by unit; on all cores."""
    units, unit_places = _joined([each.units for each in lots])
    products, product_places = _joined([each.products for each in lots])
    counts = np.zeros(len(units) + 1, np.int64)
    for lot, place in zip(lots, unit_places, strict=True):
        counts[1:] += np.bincount(place[lot.unit], minlength=len(units))
    starts = np.cumsum(counts)
    product, key = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int64)
    next_place = starts[:-1].copy()
    for lot, of_unit, of_product in zip(lots, unit_places, product_places, strict=True):
        mine = of_product[lot.product] if len(of_product) else lot.product
        _scatter(of_unit[lot.unit], mine, np.ascontiguousarray(lot.key), next_place, product, key)
    paths = Paths(units, products, starts, product, key)
    for _ in in_order(lambda each: each[1].sort(), paths.each()):
        pass
    return paths


def _parts(frame: Frame, columns: Sequence[str]) -> Iterator[Frame]:
    """A frame as it is; a lazy one some rows at a time."""
    if isinstance(frame, pl.LazyFrame) and set(columns) <= set(frame.collect_schema().names()):
        yield from frame.select(columns).collect_batches(chunk_size=PART_ROWS)
    else:
        yield frame


def _joined(lists: Sequence[pa.Array]) -> tuple[pa.Array, list[Ints]]:
    """Each different text of some lists once, and for each list where its texts stand there."""
    if not lists:
        return none_of(), []
    encoded = pa.chunked_array(lists).combine_chunks().dictionary_encode()
    places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return encoded.dictionary, np.split(places, np.cumsum([len(each) for each in lists[:-1]]))


@partial(compile_loop, _nrt=False)
def _scatter(unit: Ints, product: Ints, key: Ints, next_place: Ints, products: Ints, keys: Ints) -> None:
    for row in range(len(unit)):
        place = next_place[unit[row]]
        next_place[unit[row]] = place + 1
        products[place] = product[row]
        keys[place] = key[row]


@partial(compile_loop, _nrt=False)
def _sort(starts: Ints, product: Ints, key: Ints, spare_product: Ints, spare_key: Ints) -> None:
    """Sort each unit's touches by product and key: runs of growing width are merged; most stand in order already."""
    for unit in range(len(starts) - 1):
        low, high = starts[unit], starts[unit + 1]
        width = high - low if _ascends(product, key, low, high) else 1
        while width < high - low:
            for begin in range(low, high, 2 * width):
                middle, end = min(begin + width, high), min(begin + 2 * width, high)
                _merge(product, key, begin, middle, end, spare_product, spare_key)
            width *= 2


@compiled()
def _merge(product: Ints, key: Ints, begin: int, middle: int, end: int, spare_product: Ints, spare_key: Ints) -> None:
    left, right = begin, middle
    for place in range(end - begin):
        if right == end or (left < middle and not _before(product, key, right, left)):
            spare_product[place], spare_key[place] = product[left], key[left]
            left += 1
        else:
            spare_product[place], spare_key[place] = product[right], key[right]
            right += 1
    for place in range(end - begin):
        product[begin + place], key[begin + place] = spare_product[place], spare_key[place]


@compiled()
def _ascends(product: Ints, key: Ints, low: int, high: int) -> bool:
    for place in range(low + 1, high):  # noqa: SIM110 - compiled, a generator is slower
        if _before(product, key, place, place - 1):
            return False
    return True


@compiled()
def _before(product: Ints, key: Ints, a: int, b: int) -> bool:
    return bool(product[a] < product[b] or (product[a] == product[b] and key[a] < key[b]))
