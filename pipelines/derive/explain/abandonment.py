"""Silences and their figures, taken apart into lines, episodes and carts."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from pipelines.derive.abandonment import episodes
from pipelines.derive.abandonment_rates import starts
from pipelines.derive.explain.carts import lines_of
from pipelines.derive.explain.evidence import Evidence, Row, parts
from pipelines.tables.contract import ids_as_text

MICROSECOND = timedelta(microseconds=1)
YES = pl.lit(1)


def episode(row: Row, evidence: Evidence) -> pl.DataFrame:
    """An episode's counts and money are those of the lines that stood when it opened."""
    ends = [moment - MICROSECOND for moment in (row["resumed_at"], row["recovered_at"]) if moment is not None]
    return lines_of(evidence.cart(row["cart_id"]), min([row["abandoned_at"], *ends]))


def announcement(row: Row, evidence: Evidence) -> pl.DataFrame:
    """An announcement is its own event."""
    events = evidence.cart(row["cart_id"]).filter(pl.col("version") == row["version"])
    return parts(events.with_columns(at=pl.col("timestamp")), "event")


def day(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A day's figures are its episodes."""
    opened = pl.col("abandoned_at").dt.convert_time_zone(evidence.time_zone).dt.date()
    found = episodes_of(row["idle_s"], evidence).filter(opened == row["date"], pl.col("stage") == row["stage"])
    final = pl.col("mature")
    outcomes = {name: _flag(final & (pl.col("outcome") == name)) for name in ("recovered", "resumed", "lost")}
    return _episode_parts(
        found,
        carts=_flag(pl.col("cart_id").is_first_distinct()),
        immature=_flag(~final),
        orders=_flag(pl.col("credited")),
        **outcomes,
    )


def hour(row: Row, evidence: Evidence) -> pl.DataFrame:
    """An hour's figures are its episodes."""
    clock = pl.col("abandoned_at").dt.convert_time_zone(evidence.time_zone).dt
    found = episodes_of(row["idle_s"], evidence).filter(
        clock.weekday() == row["weekday"], clock.hour() == row["hour"], pl.col("stage") == row["stage"]
    )
    return _episode_parts(found, recovered=_flag(pl.col("mature") & (pl.col("outcome") == "recovered")))


def cohort(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A cohort's figures are its carts."""
    begun = carts_begun(evidence)
    left = episodes_of(row["idle_s"], evidence).select("cart_id", abandoned=True).unique()
    found = begun.filter(pl.col("date") == row["date"]).join(left, on="cart_id", how="left")
    flags = {name: _flag(pl.col(name).fill_null(value=False)) for name in ("abandoned", "checked_out")}
    return parts(found.with_columns(at=pl.col("started_at")), "cart", carts=YES, **flags)


def restatement(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A restatement comes from the cart's events that became known in between."""
    events = evidence.cart(row["cart_id"]).filter(
        pl.col("recorded_at").is_between(row["known_at_1"], row["known_at_2"], closed="right"),
        pl.col("timestamp") <= row["known_at_1"],
    )
    return parts(events.with_columns(at=pl.col("timestamp")), "late event", late_events=YES)


def episodes_of(idle_s: int, evidence: Evidence) -> pl.DataFrame:
    """The episodes of one definition: from the table where it has them, else found anew."""
    stored = evidence.table("abandonment_episodes").filter(pl.col("idle_s") == idle_s)
    if stored.height:
        return stored
    return episodes(evidence.all_events(), evidence.as_of, timedelta(seconds=idle_s), evidence.window)


def carts_begun(evidence: Evidence) -> pl.DataFrame:
    """Every cart with the day it began (date) and its first ItemAdded (version)."""
    events = evidence.all_events()
    begun = starts(events, evidence.as_of)
    added = events.filter(pl.col("type") == "ItemAdded").select("cart_id", "version", "timestamp").collect()
    first = ids_as_text(added.sort("timestamp", "version").group_by("cart_id").agg(pl.col("version").first()))
    date = pl.col("started_at").dt.convert_time_zone(evidence.time_zone).dt.date()
    return begun.join(first, on="cart_id", how="left").with_columns(date=date)


def _episode_parts(found: pl.DataFrame, **amounts: pl.Expr) -> pl.DataFrame:
    dated = found.with_columns(at=pl.col("last_activity_at"), version=pl.col("last_version"))
    return parts(
        dated,
        "episode",
        episodes=YES,
        mature=_flag(pl.col("mature")),
        value_cents=pl.col("value_cents").fill_null(0),
        **amounts,
    )


def _flag(flag: pl.Expr) -> pl.Expr:
    return flag.cast(pl.Int64)


TRACERS = {
    "abandonment_episodes": episode,
    "abandonment_events": announcement,
    "abandonment_daily": day,
    "abandonment_hourly": hour,
    "cart_cohorts": cohort,
    "restatements": restatement,
}
