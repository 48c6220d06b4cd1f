"""How many users an experiment needs, and for how long it must run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
import tea_tasting as tt

from pipelines.derive.experiments.metrics import Metric, Ratio
from pipelines.derive.experiments.summing import sums
from pipelines.derive.frames import Frame, collected

PLAN = {
    "metric": pl.String,
    "value": pl.Float64,
    "effect_abs": pl.Float64,
    "effect_rel": pl.Float64,
    "users": pl.Int64,
    "days": pl.Int64,
}


def plan(
    users: Frame,
    metrics: Sequence[Metric],
    *,
    effect_rel: float,
    users_per_day: float,
    treatment_share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> pl.DataFrame:
    """The users and whole days that it takes to find a relative effect, judged by how users behaved so far.

    ``users`` has one row per user of the past. One treatment arm with ``treatment_share`` of all users; a two-sided
    normal test with unequal arms (tea-tasting's ``solve_power``). Columns metric, value (so far), effect_abs,
    effect_rel, users (both arms together), days; null where the metric so far is 0 or does not vary.
    Raises ValueError for an effect of 0, a share outside (0, 1) or no users per day.
    """
    if effect_rel == 0 or not 0 < treatment_share < 1 or not users_per_day > 0:
        raise ValueError(
            f"effect_rel is {effect_rel}, treatment_share {treatment_share}, users_per_day {users_per_day}: "
            "the first must not be 0, the second between 0 and 1, the third above 0"
        )
    ratio = treatment_share / (1 - treatment_share)
    rows = [_needed(users, metric, effect_rel, ratio, alpha, power) for metric in metrics]
    return pl.DataFrame(
        [(*row, None if row[-1] is None else math.ceil(row[-1] / users_per_day)) for row in rows],
        schema=PLAN,
        orient="row",
    )


def _needed(
    users: Frame, metric: Metric, effect_rel: float, ratio: float, alpha: float, power: float
) -> tuple[str, float | None, float | None, float, int | None]:
    columns = list(metric.columns)
    frame = collected(users, columns).cast(pl.Float64)
    known = sums({name: frame[name].to_numpy() for name in columns}, [columns])
    below = known.mean(metric.denom) if isinstance(metric, Ratio) else 1.0
    value = known.mean(columns[0]) / below if below else 0.0
    if not (value > 0 and known.var(columns[0]) > 0):
        return metric.name, None, None, effect_rel, None
    analysis = tt.RatioOfMeans(
        *columns, alternative="two-sided", equal_var=False, use_t=False, alpha=alpha, power=power, ratio=ratio,
        rel_effect_size=effect_rel,
    )  # fmt: skip
    found = analysis.solve_power_from_aggregates(known, "n_obs")[0]
    return metric.name, value, value * effect_rel, effect_rel, int(found.n_obs)
