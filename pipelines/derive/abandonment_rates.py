"""Abandonment in figures: by the day and hour on which episodes opened, and by the day on which carts began."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipelines.derive.frames import Frame, collected, utc
from pipelines.tables import TABLES
from pipelines.tables.contract import COUNT, SMALL, ids_as_text

WEEK = timedelta(days=7)
DAILY, HOURLY, COHORTS = (TABLES[name] for name in ("abandonment_daily", "abandonment_hourly", "cart_cohorts"))

COUNTED = (
    "cart_id", "idle_s", "abandoned_at", "stage", "mature", "outcome", "credited", "recovery_s", "currency",
    "value_cents",
)  # fmt: skip
"""The columns of abandonment_episodes that ``daily`` and ``hourly`` count."""

_ONE_CURRENCY = pl.when(pl.col("currency").n_unique() == 1).then(pl.col("currency").first())
_FINAL = pl.col("mature")
_RECOVERED = _FINAL & (pl.col("outcome") == "recovered")


def daily(episodes: pl.DataFrame, time_zone: str = "UTC") -> pl.DataFrame:
    """Episodes by definition, day of opening and stage: the columns of abandonment_daily, in that order.

    Outcomes and the rate count mature episodes alone, so a day's figures no longer change once its window is over.
    Days without an episode have no rows.
    """
    dated = episodes.with_columns(date=_local(time_zone).dt.date())
    counts = dated.group_by("idle_s", "date", "stage").agg(
        episodes=_rows(),
        carts=pl.col("cart_id").n_unique().cast(COUNT),
        mature=_count(_FINAL),
        recovered=_count(_RECOVERED),
        resumed=_count(_FINAL & (pl.col("outcome") == "resumed")),
        lost=_count(_FINAL & (pl.col("outcome") == "lost")),
        immature=_count(~_FINAL),
        orders=_count(pl.col("credited")),
        median_recovery_s=pl.col("recovery_s").filter(_RECOVERED).median(),
        currency=_ONE_CURRENCY,
        value_cents=pl.when(pl.col("currency").n_unique() == 1).then(pl.col("value_cents").sum()),
    )
    return _rated(counts).select(DAILY.schema.names()).sort(DAILY.key)


def hourly(episodes: pl.DataFrame, time_zone: str = "UTC") -> pl.DataFrame:
    """Episodes by definition, weekday, hour and stage of opening: the columns of abandonment_hourly, in that order.

    Hours are those of the zone's clock; the hour that a clock change repeats holds twice the time.
    """
    timed = episodes.with_columns(
        weekday=_local(time_zone).dt.weekday().cast(SMALL), hour=_local(time_zone).dt.hour().cast(SMALL)
    )
    counts = timed.group_by("idle_s", "weekday", "hour", "stage").agg(
        episodes=_rows(),
        mature=_count(_FINAL),
        recovered=_count(_RECOVERED),
        currency=_ONE_CURRENCY,
        value_cents=pl.when(pl.col("currency").n_unique() == 1).then(pl.col("value_cents").sum()),
    )
    return _rated(counts).select(HOURLY.schema.names()).sort(HOURLY.key)


def starts(events: Frame, as_of: datetime) -> pl.DataFrame:
    """Every cart that ever held an item: cart_id, started_at (its first ItemAdded) and checked_out, as of a moment."""
    seen = collected(events, ["cart_id", "timestamp", "type"]).filter(pl.col("timestamp") <= utc(as_of))
    added = pl.col("timestamp").filter(pl.col("type") == "ItemAdded").min()
    carts = seen.group_by("cart_id").agg(started_at=added, checked_out=(pl.col("type") == "CheckoutCompleted").any())
    return ids_as_text(carts.drop_nulls("started_at")).sort("cart_id")


def cohorts(
    carts: pl.DataFrame, episodes: pl.DataFrame, as_of: datetime, window: timedelta = WEEK, time_zone: str = "UTC"
) -> pl.DataFrame:
    """Carts by definition and the day they began: the columns of cart_cohorts, ordered by idle_s and date.

    ``carts`` is what ``starts`` gives, ``episodes`` those of the same carts and moment. A cart is abandoned if it has
    an episode at all, whatever became of it. Without episodes there is no definition, and no row.
    """
    dated = carts.with_columns(date=pl.col("started_at").dt.convert_time_zone(time_zone).dt.date())
    definitions = episodes.select("idle_s").unique()
    abandoned = episodes.select("idle_s", "cart_id", abandoned=True).unique()
    rows = dated.join(definitions, how="cross").join(abandoned, on=["idle_s", "cart_id"], how="left")
    final = pl.lit(utc(as_of)) - pl.duration(seconds="idle_s") - window
    return (
        rows.group_by("idle_s", "date")
        .agg(carts=_rows(), abandoned=_count(pl.col("abandoned")), checked_out=_count(pl.col("checked_out")))
        .with_columns(
            abandonment_rate=pl.col("abandoned") / pl.col("carts"),
            checkout_rate=pl.col("checked_out") / pl.col("carts"),
            mature=pl.col("date") < final.dt.convert_time_zone(time_zone).dt.date(),
        )
        .select(COHORTS.schema.names())
        .sort(COHORTS.key)
    )


def _local(time_zone: str) -> pl.Expr:
    return pl.col("abandoned_at").dt.convert_time_zone(time_zone)


def _count(flag: pl.Expr) -> pl.Expr:
    return flag.sum().cast(COUNT)


def _rows() -> pl.Expr:
    return pl.len().cast(COUNT)


def _rated(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.with_columns(recovery_rate=pl.when(pl.col("mature") > 0).then(pl.col("recovered") / pl.col("mature")))
