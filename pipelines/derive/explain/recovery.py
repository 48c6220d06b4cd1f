"""Candidates, campaigns and coupons, taken apart into lines, orders and shoppers."""

from __future__ import annotations

import polars as pl

from pipelines.derive.coupon_events import coupon_events
from pipelines.derive.coupons import DAY, observed
from pipelines.derive.explain.carts import lines_of
from pipelines.derive.explain.evidence import Evidence, Row, parts
from pipelines.derive.recovery import orders
from pipelines.derive.recovery_policy import HOLDOUT, TREATMENT
from pipelines.tables.contract import TEXT


def candidate(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A candidate's counts and money are those of its cart's lines at that moment."""
    return lines_of(evidence.cart(row["cart_id"]), row["as_of"])


def assignment(row: Row, evidence: Evidence) -> pl.DataFrame:
    """What an assignment was about: the cart's lines when it was drawn."""
    return lines_of(evidence.cart(row["cart_id"]), row["assigned_at"])


def outcome(row: Row, evidence: Evidence) -> pl.DataFrame:
    """An outcome is its order, if there was one."""
    events = evidence.cart(row["cart_id"]).filter(
        pl.col("type") == "CheckoutCompleted", pl.col("order_id") == pl.lit(row["order_id"], TEXT)
    )
    return parts(events.with_columns(at=pl.col("timestamp")).head(1), "order", charged_cents="total_cents")


def lift(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A campaign's counts are its shoppers, counted with their first cart; each cart stands on its order, if any."""
    found = evidence.table("recovery_outcomes").filter(pl.col("campaign") == row["campaign"]).sort("user_id", "cart_id")
    first = pl.col("user_id").is_first_distinct()
    final = pl.col("mature").all().over("user_id")
    recovered = pl.col("recovered_any").any().over("user_id")
    treated, held = pl.col("assignment") == TREATMENT, pl.col("assignment") == HOLDOUT
    versions = _orders_of(found, evidence)
    told = found.join(versions, on=["cart_id", "order_id"], how="left", maintain_order="left")
    flags = {
        "treatment_users": final & treated,
        "holdout_users": final & held,
        "contacted_users": final & treated & pl.col("sent_at").is_not_null().any().over("user_id"),
        "treatment_recovered": final & treated & recovered,
        "holdout_recovered": final & held & recovered,
        "attributed": final & treated & pl.col("recovered_attributed").any().over("user_id"),
        "immature_users": ~final,
    }
    amounts = {name: (first & flag).cast(pl.Int64) for name, flag in flags.items()}
    return parts(told.with_columns(at=pl.col("recovered_at")), "assignment", **amounts)


def coupon(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A coupon's figures are the times it left a cart."""
    left = observed(coupon_events(evidence.all_events(), evidence.as_of), evidence.as_of, evidence.within)
    mine = left.filter(pl.col("coupon_code") == row["coupon_code"], pl.col("reason") == row["reason"])
    sums = {"lines_at_risk": "line_count", "lines_removed": "lines_after", "units_removed": "units_after"}
    counts = {name: pl.col(column).cast(pl.Int64) for name, column in sums.items()}
    ordered = (pl.col("completed_at") - pl.col("left_at") <= DAY).fill_null(value=False).cast(pl.Int64)
    counts["orders_within_day"] = ordered
    if row["currency"] is not None:
        counts["discount_saved_cents"] = ordered * pl.col("worth_cents").fill_null(0)
        counts["value_at_stake_cents"] = pl.col("subtotal_cents")
        counts["value_removed_cents"] = pl.col("value_after")
    return parts(
        mine.with_columns(at=pl.col("left_at")),
        "coupon left",
        removals=pl.lit(1),
        carts=pl.col("cart_id").is_first_distinct().cast(pl.Int64),
        **counts,
    )


def _orders_of(found: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    bought = orders(evidence.events(found["cart_id"].unique()), evidence.as_of)
    return bought.select("cart_id", "order_id", "version").unique(["cart_id", "order_id"], keep="first")


TRACERS = {
    "recovery_candidates": candidate,
    "recovery_assignments": assignment,
    "recovery_outcomes": outcome,
    "recovery_lift": lift,
    "coupon_effects": coupon,
}
