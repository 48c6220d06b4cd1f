"""Coupons that left carts: what shoppers took out afterwards, against two baselines, and what a day more was worth."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipelines.derive.coupon_events import Coupons, coupon_events
from pipelines.derive.frames import Frame, utc
from pipelines.tables import TABLES
from pipelines.tables.contract import COUNT

__all__ = ["coupon_effects", "effects_of", "observed"]

TABLE = TABLES["coupon_effects"]
DAY = timedelta(days=1)
WITHIN = timedelta(minutes=30)
KEYS = ["coupon_code", "reason"]


def coupon_effects(events: Frame, as_of: datetime, within: timedelta = WITHIN) -> pl.DataFrame:
    """What was taken out of carts after each coupon left them, by coupon and reason, as of a moment.

    ``events`` is a frame of EVENTS with all events of its carts. A coupon counts as having left where it was on the
    cart, the cart was not checked out, and ``within`` is over. Rates are lines taken out per observed window: after;
    before, in the same carts; and in carts that kept a coupon, as long after applying it as the median of this reason.
    Windows are cut at the cart's first event and at its checkout, and rates scaled by the time observed.
    Columns of coupon_effects, ordered by key. Raises as ``histories``.
    """
    return effects_of(coupon_events(events, as_of), as_of, within)


def effects_of(happened: Coupons, as_of: datetime, within: timedelta = WITHIN) -> pl.DataFrame:
    """``coupon_effects`` from what happened to coupons up to a moment."""
    as_of = utc(as_of)
    left = observed(happened, as_of, within)
    control = _control(happened, left, as_of, within)
    rows = (
        left.group_by(KEYS)
        .agg(*_counts(within), *_money())
        .join(control, on="reason", how="left")
        .with_columns(pl.col("control_carts").fill_null(0), window_s=pl.lit(int(within.total_seconds()), COUNT))
    )
    beyond = [
        ((pl.col("rate_after") - pl.col(f"rate_{base}")) * pl.col("removals")).alias(f"excess_over_{base}")
        for base in ("before", "control")
    ]
    share = pl.when(pl.col("rate_after") > 0).then(1 - pl.col("rate_control") / pl.col("rate_after")).otherwise(0.0)
    known = pl.col("rate_control").is_not_null() & pl.col("rate_after").is_not_null()
    return (
        rows.with_columns(*beyond, excess_value_cents=pl.when(known).then(share * pl.col("value_removed_cents")))
        .with_columns(day_later_net_cents=pl.col("excess_value_cents") - pl.col("discount_saved_cents"))
        .select(TABLE.schema.names())
        .sort(KEYS)
    )


def observed(happened: Coupons, as_of: datetime, within: timedelta = WITHIN) -> pl.DataFrame:
    """Coupons that left carts and were observed long enough, one row each, with what was taken out around it.

    Columns of ``Coupons.left``, and removal (a number), after_s, before_s (time observed), lines_after, lines_before,
    units_after, value_after.
    """
    due = happened.left.filter(
        pl.col("left_at") + within <= as_of,
        pl.col("completed_at").is_null() | (pl.col("completed_at") > pl.col("left_at")),
    ).with_row_index("removal")
    ends = pl.min_horizontal(pl.col("left_at") + within, "completed_at")
    begins = pl.max_horizontal(pl.col("left_at") - within, "first_event_at")
    timed = due.with_columns(after_s=_seconds(ends - pl.col("left_at")), before_s=_seconds(pl.col("left_at") - begins))
    near = timed.select("removal", "cart_id", "left_at", left_version="version").join(happened.taken_out, on="cart_id")
    gap = pl.col("removed_at") - pl.col("left_at")
    after = (gap >= timedelta(0)) & (gap <= within) & (pl.col("version") > pl.col("left_version"))
    before = (gap < timedelta(0)) & (gap >= -within)
    sums = near.group_by("removal").agg(
        lines_after=after.sum(),
        lines_before=before.sum(),
        units_after=pl.col("quantity").filter(after).sum(),
        value_after=pl.col("value_cents").filter(after).sum(),
    )
    counted = timed.join(sums, on="removal", how="left")
    return counted.with_columns(pl.col("lines_after", "lines_before", "units_after", "value_after").fill_null(0))


def _counts(within: timedelta) -> list[pl.Expr]:
    window_s = within.total_seconds()
    rate = {
        f"rate_{side}": pl.when(pl.col(f"{side}_s").sum() > 0).then(
            pl.col(f"lines_{side}").sum() / pl.col(f"{side}_s").sum() * window_s
        )
        for side in ("after", "before")
    }
    ordered = pl.col("completed_at") - pl.col("left_at") <= DAY
    return [
        pl.len().cast(COUNT).alias("removals"),
        pl.col("cart_id").n_unique().cast(COUNT).alias("carts"),
        pl.col("line_count").sum().cast(COUNT).alias("lines_at_risk"),
        pl.col("lines_after").sum().cast(COUNT).alias("lines_removed"),
        pl.col("units_after").sum().cast(COUNT).alias("units_removed"),
        ordered.sum().cast(COUNT).alias("orders_within_day"),
        *(expression.alias(name) for name, expression in rate.items()),
    ]


def _money() -> list[pl.Expr]:
    """Sums of money, only where every cart that holds something is in one and the same currency."""
    one = (pl.col("currency").drop_nulls().n_unique() == 1) & pl.col("subtotal_cents").is_not_null().all()
    ordered = pl.col("completed_at") - pl.col("left_at") <= DAY
    sums = {
        "value_at_stake_cents": pl.col("subtotal_cents").sum(),
        "value_removed_cents": pl.col("value_after").sum(),
        "discount_saved_cents": pl.col("worth_cents").filter(ordered).sum(),
    }
    return [
        pl.when(one).then(pl.col("currency").drop_nulls().first()).alias("currency"),
        *(pl.when(one).then(total.cast(COUNT)).alias(name) for name, total in sums.items()),
    ]


def _control(happened: Coupons, left: pl.DataFrame, as_of: datetime, within: timedelta) -> pl.DataFrame:
    """Per reason, how much carts that kept their coupon took out in a window as long after applying it."""
    lags = left.group_by("reason").agg(lag=(pl.col("left_at") - pl.col("applied_at")).median())
    watched = (
        happened.kept.join(lags, how="cross")
        .with_columns(begins=pl.col("applied_at") + pl.col("lag"))
        .with_columns(ends=pl.min_horizontal(pl.col("begins") + within, "completed_at"))
        .filter(pl.col("begins") + within <= as_of, pl.col("ends") > pl.col("begins"))
    )
    inside = pl.col("removed_at").is_between("begins", "ends")
    lines = watched.join(happened.taken_out, on="cart_id").filter(inside).group_by("reason").agg(lines=pl.len())
    total = watched.group_by("reason").agg(
        control_carts=pl.len().cast(COUNT), observed_s=_seconds(pl.col("ends") - pl.col("begins")).sum()
    )
    rate = pl.col("lines").fill_null(0) / pl.col("observed_s") * within.total_seconds()
    return total.join(lines, on="reason", how="left").select("reason", "control_carts", rate_control=rate)


def _seconds(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / 1_000_000
