"""Columns of frames as numbers: texts counted into the texts there are, times as microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.derive.frames import Frame, collected
from pipelines.tables.contract import TEXT

Ints: TypeAlias = np.ndarray[Any, np.dtype[Any]]

UTC_MICROS = pa.timestamp("us", "UTC")


def columns_of(frame: Frame, names: Sequence[str]) -> pa.Table:
    """These columns of a frame in any form; Arrow's are taken as they are. Raises TableError where one is missing."""
    if isinstance(frame, pa.Table) and set(names) <= set(frame.column_names):
        return frame.select(names)
    return collected(frame, names).to_arrow()


def numbered(column: pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """A number for each row's value, -1 where it is null, and the values that are there, text as large strings."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ExtensionArray):
        whole = whole.storage
    if not pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_encode()
    numbers = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    used = np.zeros(len(whole.dictionary) + 1, bool)
    used[numbers] = True
    used[-1] = False
    place = np.append((np.cumsum(used[:-1]) - 1).astype(np.int32), np.int32(-1))
    values = whole.dictionary.filter(pa.array(used[:-1]))
    return place[numbers], values.cast(pa.large_string()) if pa.types.is_string(values.type) else values


def step_numbers(column: pa.ChunkedArray, steps: Sequence[str]) -> Ints:
    """The place of each row's word in ``steps``, -1 where it is none of them."""
    numbers, words = numbered(column)
    place = {word: number for number, word in enumerate(steps)}
    return np.array([*(place.get(word, -1) for word in words.to_pylist()), -1], np.int64)[numbers]


def micros(times: pa.ChunkedArray) -> Ints:
    """Times as microseconds since 1970; one without a zone is in UTC."""
    return np.asarray(times.cast(UTC_MICROS).cast(pa.int64()).to_numpy())


def texts(values: pa.Array) -> pl.Series:
    """Texts in Arrow's memory as a column."""
    return cast("pl.Series", pl.from_arrow(values)).cast(TEXT)


def none_of() -> pa.Array:
    """No texts."""
    return pa.array([], pa.large_string())


def places_of(values: pa.Array, among: pl.Series) -> Ints:
    """Where each of some texts stands in a column, -1 where it does not; none repeats in either."""
    asked, known = texts(values).alias("text").to_frame(), among.alias("text").to_frame()
    found = asked.with_row_index("row").join(known.with_row_index("place"), on="text")
    places = np.full(len(values), -1)
    places[found["row"].to_numpy()] = found["place"].to_numpy()
    return places
