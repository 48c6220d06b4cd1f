"""What a campaign brought: who was drawn, what became of their carts, and the difference to the holdout."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
from scipy import stats

from pipelines.derive.frames import utc
from pipelines.derive.recovery_policy import HOLDOUT, TREATMENT
from pipelines.tables import TABLES

WEEK = timedelta(days=7)
CONFIDENCE = 0.95
ASSIGNMENTS, OUTCOMES, LIFT = (TABLES[f"recovery_{name}"] for name in ("assignments", "outcomes", "lift"))


def assignments(candidates: pl.DataFrame, earlier: pl.DataFrame | None = None) -> pl.DataFrame:
    """The earlier assignments, and those of candidates that have one for the first time; ordered by key.

    An episode is known again by its cart and last activity, so one that was renumbered by late events is not drawn
    twice. Columns of recovery_assignments.
    """
    drawn = candidates.filter(pl.col("assignment").is_not_null()).rename({"as_of": "assigned_at"})
    known = ASSIGNMENTS.empty() if earlier is None else earlier
    again = ["campaign", "cart_id", "last_activity_at"]
    new = drawn.select(ASSIGNMENTS.schema.names()).join(known, on=again, how="anti")
    first = pl.concat([known, new]).sort("assigned_at", maintain_order=True)
    return first.unique(ASSIGNMENTS.key, keep="first").sort(ASSIGNMENTS.key)


def outcomes(
    assigned: pl.DataFrame, orders: pl.DataFrame, sends: pl.DataFrame, as_of: datetime, window: timedelta = WEEK
) -> pl.DataFrame:
    """What became of each assigned episode, as of a moment: the columns of recovery_outcomes, ordered by key.

    ``orders`` is what ``recovery.orders`` gives. An order counts after the assignment and up to ``window`` later; it
    is attributed where a mail about this cart in this campaign went out in between.
    """
    as_of = utc(as_of)
    due = pl.col("assigned_at") + window
    happened = pl.col("completed_at").is_between(pl.col("assigned_at"), pl.min_horizontal(due, pl.lit(as_of)))
    first_order = (
        assigned.select(*ASSIGNMENTS.key, "assigned_at")
        .join(orders.select("cart_id", "completed_at", "order_id", "charged_cents"), on="cart_id")
        .filter(happened)
        .sort("completed_at")
        .unique(ASSIGNMENTS.key, keep="first", maintain_order=True)
        .drop("assigned_at")
    )
    sent = (
        assigned.select(*ASSIGNMENTS.key, "assigned_at")
        .join(sends.select("campaign", "cart_id", "sent_at"), on=["campaign", "cart_id"])
        .filter(pl.col("sent_at").is_between("assigned_at", pl.min_horizontal(due, pl.lit(as_of))))
        .group_by(ASSIGNMENTS.key)
        .agg(pl.col("sent_at").min())
    )
    keys = list(ASSIGNMENTS.key)
    return (
        assigned.join(first_order, on=keys, how="left")
        .join(sent, on=keys, how="left")
        .rename({"completed_at": "recovered_at"})
        .with_columns(
            recovered_any=pl.col("recovered_at").is_not_null(),
            recovered_attributed=(pl.col("sent_at") <= pl.col("recovered_at")).fill_null(value=False),
            mature=due <= as_of,
        )
        .select(OUTCOMES.schema.names())
        .sort(keys)
    )


def lift(found: pl.DataFrame) -> pl.DataFrame:
    """What each campaign brought over its holdout: the columns of recovery_lift, ordered by campaign.

    Shoppers are counted, as they are what was drawn: one is recovered if any cart of theirs is. Only shoppers all of
    whose windows are over count. Treatment counts whether a mail went out or not, so the comparison stays fair.
    """
    users = found.group_by("campaign", "user_id", "assignment").agg(
        pl.col("recovered_any", "recovered_attributed").any(),
        contacted=pl.col("sent_at").is_not_null().any(),
        mature=pl.col("mature").all(),
    )
    rows = [_campaign_lift(name, users.filter(campaign=name)) for name in users["campaign"].unique().sort()]
    return pl.DataFrame(rows, schema=LIFT.schema)


def difference(recovered: tuple[int, int], users: tuple[int, int]) -> dict[str, float | None]:
    """The difference of two proportions, first less second, with its 95 % interval and two-sided p; None if empty.

    The interval is Newcombe's from two Wilson intervals (Newcombe 1998, Statistics in Medicine 17, method 10), p that
    of Pearson's chi-square without correction.
    """
    if not min(users):
        return dict.fromkeys(("lift_abs", "lift_low", "lift_high", "p_value"))
    rates = [part / whole for part, whole in zip(recovered, users, strict=True)]
    low, high = zip(*(_wilson(part, whole) for part, whole in zip(recovered, users, strict=True)), strict=True)
    gap = rates[0] - rates[1]
    return {
        "lift_abs": gap,
        "lift_low": gap - ((rates[0] - low[0]) ** 2 + (high[1] - rates[1]) ** 2) ** 0.5,
        "lift_high": gap + ((high[0] - rates[0]) ** 2 + (rates[1] - low[1]) ** 2) ** 0.5,
        "p_value": _p_value(recovered, users),
    }


def _wilson(part: int, whole: int) -> tuple[float, float]:
    interval = stats.binomtest(part, whole).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _p_value(recovered: tuple[int, int], users: tuple[int, int]) -> float:
    others = [whole - part for part, whole in zip(recovered, users, strict=True)]
    if not any(recovered) or not any(others):
        return 1.0
    return float(stats.chi2_contingency([recovered, others], correction=False).pvalue)


def _campaign_lift(campaign: str, users: pl.DataFrame) -> dict[str, Any]:
    final = users.filter("mature")
    treatment, holdout = (final.filter(assignment=arm) for arm in (TREATMENT, HOLDOUT))
    recovered = (int(treatment["recovered_any"].sum()), int(holdout["recovered_any"].sum()))
    counts = (treatment.height, holdout.height)
    told = difference(recovered, counts)
    return {
        "campaign": campaign,
        "treatment_users": counts[0],
        "holdout_users": counts[1],
        "contacted_users": int(treatment["contacted"].sum()),
        "treatment_recovered": recovered[0],
        "holdout_recovered": recovered[1],
        "attributed": int(treatment["recovered_attributed"].sum()),
        "treatment_rate": recovered[0] / counts[0] if counts[0] else None,
        "holdout_rate": recovered[1] / counts[1] if counts[1] else None,
        **told,
        "incremental_orders": None if told["lift_abs"] is None else told["lift_abs"] * counts[0],
        "immature_users": users.height - final.height,
    }
