"""What must hold of every funnel."""

from __future__ import annotations

import polars as pl

from pipelines.defs.checking import invariant
from pipelines.defs.shop import Shop


@invariant("funnel_daily")
def days_never_widen(shop: Shop) -> pl.DataFrame:
    """No step of a day is reached by more attempts than the step before."""
    return widening(shop.table("funnel_daily"))


@invariant("funnel_steps")
def funnels_never_widen(shop: Shop) -> pl.DataFrame:
    """No step is reached by more units than the step before, and no rate is above 1."""
    return widening(shop.table("funnel_steps"))


@invariant("user_funnel")
def depths_are_there(shop: Shop) -> pl.DataFrame:
    """A shopper's depth is 1 to 4, and those at the last step, and no others, have a purchase and its time."""
    depth = pl.col("depth")
    at_odds = (depth == 4) != pl.col("purchased_at").is_not_null()  # noqa: PLR2004 - the last of four steps
    untimed = pl.col("purchased_at").is_null() != pl.col("convert_s").is_null()
    return shop.table("user_funnel").filter(~depth.is_between(1, 4) | at_odds | untimed)


@invariant("product_funnel")
def products_never_widen(shop: Shop) -> pl.DataFrame:
    """Buyers are adders, and adders are viewers."""
    adders = pl.col("adders")
    return shop.table("product_funnel").filter((adders > pl.col("viewers")) | (pl.col("buyers") > adders))


@invariant("funnel_times")
def shares_are_whole(shop: Shop) -> pl.DataFrame:
    """The classes of one span hold all that converted, or nobody did."""
    spans = shop.table("funnel_times").group_by("funnel", "from_step", "to_step").agg(pl.col("share").sum())
    off = (pl.col("share") - 1).abs() > 1e-9  # noqa: PLR2004 - rounding of a sum of shares
    return spans.filter(off & (pl.col("share") != 0))


def widening(steps: pl.DataFrame) -> pl.DataFrame:
    """The rows of funnel steps that convert more than entered, or more than began."""
    return steps.filter((pl.col("converted") > pl.col("entered")) | (pl.col("rate") > 1) | (pl.col("step_rate") > 1))
