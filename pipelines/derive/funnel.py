"""Funnels: how many units get from step to step, how fast, by day and by breakdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from pipelines.derive.frames import Frame
from pipelines.derive.funnel_attempts import WEEK, Count, Exclusion, Funnel, Order, Step, attempts
from pipelines.tables.contract import COUNT, SMALL

__all__ = ["Exclusion", "Funnel", "attempts", "funnel", "histogram", "step_rows", "trend"]

US_PER_S = 1_000_000
_ALL = "all units"
TIME_EDGES_S = (0.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0, 345_600.0, 604_800.0)


def funnel(  # noqa: PLR0913, PLR0917 - each is named by the interface
    touches: Frame,
    steps: Sequence[str],
    window: timedelta | None = WEEK,
    order: Order = "ordered",
    exclude: Sequence[Exclusion] = (),
    optional: Sequence[Step] = (),
    breakdown: str | None = None,
    as_of: datetime | None = None,
    count: Count = "uniques",
) -> pl.DataFrame:
    """How many units reach each step within the window of the first.

    ``touches`` has columns unit, at and step (see ``attempts``); ``window`` is inclusive and None is unlimited.
    One row per step, and per value of the ``breakdown`` column at the unit's first touch: that column, step_index
    from 0, step, entered, converted, skipped (counted as converted, but passed over this optional step), rate,
    step_rate, mean_s, median_s and p90_s since the step filled before, mature. Ordered by breakdown, then step.
    Without units there is one row of zeros per step, and none with a breakdown.
    Raises TableError for a touch without unit, time or step, ValueError for a definition that contradicts itself.
    """
    definition = Funnel(steps, window, order, exclude, optional, count)
    return _stated(step_rows(attempts(touches, definition, breakdown, as_of), definition, breakdown), as_of)


def trend(touches: Frame, definition: Funnel, as_of: datetime | None = None, *, time_zone: str = "UTC") -> pl.DataFrame:
    """The funnel by the day on which each attempt began: columns date, then those of ``funnel``.

    Every attempt is on exactly one day, so the days' counts add up to ``funnel`` of the same definition. Days without
    an attempt have no rows. Ordered by date, then step.
    """
    day = pl.col("at_0").dt.convert_time_zone(time_zone).dt.date()
    found = attempts(touches, definition, as_of=as_of).with_columns(date=day)
    return _stated(step_rows(found, definition, "date"), as_of)


def step_rows(found: pl.DataFrame, definition: Funnel, by: str | None = None) -> pl.DataFrame:
    """Attempts as rows of ``funnel``, apart for each value of the column ``by``; without attempts mature is true."""
    group = by or _ALL
    since = _with_times_since(found if by else found.with_columns(pl.lit(0).alias(_ALL)), len(definition.steps))
    counted = since.group_by(group).agg(
        pl.col("mature").all(ignore_nulls=False), *(each for k in range(len(definition.steps)) for each in _figures(k))
    )
    rows = pl.concat([_step(counted, k, name, group) for k, name in enumerate(definition.steps)])
    if not by and found.is_empty():
        rows = pl.concat([_zero(rows, k, name) for k, name in enumerate(definition.steps)])
    rows = rows.sort(group, "step_index", nulls_last=True)
    first, before = pl.col("converted").first().over(group), pl.col("converted").shift(1).over(group)
    rows = rows.with_columns(entered=before.fill_null(pl.col("converted")), first=first)
    return rows.select(
        *([by] if by else []),
        *("step_index", "step", "entered", "converted", "skipped"),
        _ratio("converted", "first").alias("rate"),
        _ratio("converted", "entered").alias("step_rate"),
        *("mean_s", "median_s", "p90_s"),
        pl.col("mature").first().over(group),
    )


def histogram(
    found: pl.DataFrame, from_step: int, to_step: int, edges_s: Sequence[float] = TIME_EDGES_S
) -> pl.DataFrame:
    """How many attempts took how long from one step to another, in classes [edge, next edge); the last has no end.

    Columns from_step, to_step, from_s, to_s (infinity for the last), converted, share (null where none converted).
    Every class has a row; the counts add up to the attempts that filled both steps.
    """
    took = found.select(s=_seconds(pl.col(f"at_{to_step}") - pl.col(f"at_{from_step}"))).drop_nulls()
    edges = [float(edge) for edge in edges_s]
    lower = pl.DataFrame({"from_s": edges, "to_s": [*edges[1:], float("inf")]})
    classes = took.sort("s").join_asof(lower, left_on="s", right_on="from_s", strategy="backward")
    counts = classes.group_by("from_s").agg(converted=pl.len().cast(pl.Int64))
    rows = lower.join(counts, on="from_s", how="left", maintain_order="left").with_columns(
        pl.col("converted").fill_null(0),
        from_step=pl.lit(from_step, SMALL),
        to_step=pl.lit(to_step, SMALL),
        total=pl.lit(took.height),
    )
    share = _ratio("converted", "total").alias("share")
    return rows.select("from_step", "to_step", "from_s", "to_s", "converted", share)


def _figures(k: int) -> list[pl.Expr]:
    """What is counted at a step, for all units of a group."""
    got, took = pl.col("depth") > k, pl.col(f"since_{k}")
    figures = {
        "converted": got.sum().cast(COUNT),
        "skipped": (got & pl.col(f"at_{k}").is_null()).sum().cast(COUNT),
        "mean_s": took.mean(),
        "median_s": took.median(),
        "p90_s": took.quantile(0.9, interpolation="linear"),
    }
    return [figure.alias(f"{name}_{k}") for name, figure in figures.items()]


def _step(counted: pl.DataFrame, k: int, name: str, group: str) -> pl.DataFrame:
    figures = {figure: f"{figure}_{k}" for figure in ("converted", "skipped", "mean_s", "median_s", "p90_s")}
    return counted.select(group, **figures, mature="mature", step_index=pl.lit(k, SMALL), step=pl.lit(name))


def _zero(rows: pl.DataFrame, k: int, name: str) -> pl.DataFrame:
    zero = pl.DataFrame({_ALL: 0, "converted": 0, "skipped": 0, "mature": True, "step_index": k, "step": name})
    return pl.concat([rows.clear(), zero.cast({name: rows.schema[name] for name in zero.columns})], how="diagonal")


def _with_times_since(found: pl.DataFrame, count: int) -> pl.DataFrame:
    columns = [pl.lit(None, pl.Float64).alias("since_0")]
    for k in range(1, count):
        before = pl.coalesce(f"at_{j}" for j in range(k - 1, -1, -1))
        columns.append(_seconds(pl.col(f"at_{k}") - before).alias(f"since_{k}"))
    return found.with_columns(columns)


def _seconds(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / US_PER_S


def _ratio(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


def _stated(rows: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
    return rows if as_of is not None else rows.with_columns(mature=pl.lit(None, pl.Boolean))
