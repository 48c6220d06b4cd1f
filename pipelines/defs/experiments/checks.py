"""What must hold before an effect may be believed."""

from __future__ import annotations

import polars as pl

from pipelines.defs.checking import invariant
from pipelines.defs.shop import Shop


@invariant("experiment_srm")
def arms_are_split_as_planned(shop: Shop) -> pl.DataFrame:
    """No experiment's arms have sizes that the planned shares would give less than once in a thousand times."""
    return shop.table("experiment_srm").filter("alarm")


@invariant("experiment_results")
def effects_lie_within_their_intervals(shop: Shop) -> pl.DataFrame:
    """Every effect lies within its interval, absolute and relative, and every p within 0 and 1."""
    outside = [
        ~pl.col("effect_abs").is_between("abs_low", "abs_high"),
        ~pl.col("effect_rel").is_between("rel_low", "rel_high"),
        ~pl.col("p_value").is_between(0, 1),
        pl.col("p_corrected") < pl.col("p_value"),
    ]
    return shop.table("experiment_results").filter(pl.any_horizontal(each.fill_null(value=False) for each in outside))


@invariant("experiment_daily")
def users_only_come(shop: Shop) -> pl.DataFrame:
    """From day to day no arm of an experiment loses users."""
    days = shop.table("experiment_daily").sort("date")
    arm = ["experiment", "metric", "arm"]
    lost = [pl.col(name).diff().over(arm) < 0 for name in ("control_users", "treatment_users")]
    return days.filter(pl.any_horizontal(each.fill_null(value=False) for each in lost))
