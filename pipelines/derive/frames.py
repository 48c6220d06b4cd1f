"""The forms a frame may come in, and times as whole microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast

import polars as pl

from cart_core import rules
from pipelines.tables.contract import TableError

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | Any
"""A polars DataFrame or LazyFrame, or a pyarrow Table."""

MICROSECOND = timedelta(microseconds=1)


def collected(frame: Frame, columns: Sequence[str]) -> pl.DataFrame:
    """These columns of a frame in any form, in memory. Raises TableError where one is missing."""
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        frame = cast("pl.DataFrame", pl.from_arrow(frame.select([c for c in columns if c in frame.column_names])))
    names = frame.collect_schema().names()
    missing = [name for name in columns if name not in names]
    if missing:
        raise TableError(f"columns missing {missing}; the frame has {names}")
    return frame.lazy().select(columns).collect()


def utc(moment: datetime) -> datetime:
    """The same moment in UTC, as columns hold it. Raises ValueError where it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give one, such as datetime(2026, 1, 31, tzinfo=UTC)")
    return moment.astimezone(UTC)


def moment_us(moment: datetime) -> int:
    """A moment in microseconds since 1970. Raises ValueError where it has no time zone."""
    return rules.to_micros(utc(moment))


def span_us(span: timedelta) -> int:
    """A span in whole microseconds."""
    return span // MICROSECOND


def moment_column(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with a time column in UTC microseconds; a time without a zone is taken as UTC.

    Raises TableError where the column holds no times.
    """
    dtype = frame.schema[name]
    if not isinstance(dtype, pl.Datetime):
        raise TableError(f"{name} is {dtype}, but must be a time")
    zoned = pl.col(name).dt.replace_time_zone("UTC") if dtype.time_zone is None else pl.col(name)
    return frame.with_columns(zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
