"""The shop's headline figures, taken apart into carts, episodes and candidates."""

from __future__ import annotations

import polars as pl

from pipelines.derive.explain.abandonment import carts_begun, episodes_of
from pipelines.derive.explain.evidence import Evidence, Row, parts
from pipelines.tables.contract import ids_as_text

EXCLUDED = "excluded_"


def figure(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A figure of the whole shop is its carts, episodes or candidates."""
    name = row["figure"]
    if name in ("carts", "checkout_rate", "abandonment_rate"):
        return _cohorts(name, evidence)
    if name in ("orders", "revenue"):
        return _orders(row, evidence)
    if name == "recovery_rate":
        return _recovery(evidence)
    return _candidates(row, evidence)


def _cohorts(name: str, evidence: Evidence) -> pl.DataFrame:
    table = evidence.table("cart_cohorts")
    idle_s = evidence.table("abandonment_episodes")["idle_s"].unique().to_list()
    days = table.filter(pl.col("idle_s").is_in(idle_s)).select("date", "mature")
    left = evidence.table("abandonment_episodes").select("cart_id", abandoned=True).unique()
    carts = carts_begun(evidence).join(days, on="date").join(left, on="cart_id", how="left")
    carts = carts.with_columns(pl.col("abandoned").fill_null(value=False), at=pl.col("started_at"))
    if name == "carts":
        return parts(carts, "cart", value=pl.lit(1))
    flag = pl.col("checked_out" if name == "checkout_rate" else "abandoned")
    return parts(carts.filter("mature"), "cart", part=flag.cast(pl.Int64), whole=pl.lit(1))


def _orders(row: Row, evidence: Evidence) -> pl.DataFrame:
    done = ids_as_text(evidence.table("carts").filter(pl.col("status") == "checked_out"))
    told = done.with_columns(at=pl.col("last_event_at"))
    if row["figure"] == "orders":
        return parts(told, "order", value=pl.lit(1))
    mine = told.filter(pl.col("currency") == row["currency"])
    return parts(mine, "order", value="charged_total_cents")


def _recovery(evidence: Evidence) -> pl.DataFrame:
    idle_s = evidence.table("abandonment_episodes")["idle_s"][0]
    mature = episodes_of(idle_s, evidence).filter("mature")
    told = mature.with_columns(at=pl.col("last_activity_at"), version=pl.col("last_version"))
    return parts(told, "episode", part=(pl.col("outcome") == "recovered").cast(pl.Int64), whole=pl.lit(1))


def _candidates(row: Row, evidence: Evidence) -> pl.DataFrame:
    name = row["figure"]
    found = evidence.table("recovery_candidates").with_columns(
        at=pl.col("last_activity_at"), version=pl.col("versions").list.max()
    )
    if row["unit"] == "cents":
        found = found.filter(pl.col("currency") == row["currency"])
    if name.startswith(("eligible", "expected")):
        found = found.filter("eligible")
    if name.startswith(EXCLUDED):
        found = found.filter(pl.col("reasons").list.contains(name.removeprefix(EXCLUDED)))
    column = "expected_value_cents" if name == "expected_value" else "value_cents"
    return parts(found, "candidate", value=pl.col(column) if row["unit"] == "cents" else pl.lit(1))


TRACERS = {"headline": figure}
