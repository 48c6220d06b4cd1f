"""Derived tables of a made-up shop, small enough to know every figure by heart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from pipelines.dashboard.source import Source
from pipelines.tables import TABLES

AS_OF = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
FIRST_DAY = date(2026, 1, 1)
NOTES = {"as_of": "2026-01-31T09:30:00Z", "position": "1234567", "idle_s": "3600"}
STEPS = ("view", "add", "checkout", "purchase")


def rows_of(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a frame of a derived table; columns that a row lacks are null."""
    schema = TABLES[name].schema
    return pl.DataFrame([{column: row.get(column) for column in schema} for row in rows], schema=schema)


def headline(**changed: float) -> pl.DataFrame:
    """Headline figures: 1,000 carts, of which 900 are settled; counts may be changed."""
    counts = {"carts": 1000, "orders": 300, "open_episodes": 84, "eligible": 40, "excluded_no_consent": 30} | changed
    rows: list[dict[str, Any]] = [{"figure": name, "unit": "count", "value": value} for name, value in counts.items()]
    for name, part, whole in (("checkout_rate", 300, 900), ("abandonment_rate", 600, 900), ("recovery_rate", 90, 600)):
        rows.append({"figure": name, "unit": "ratio", "value": part / whole, "part": part, "whole": whole})
    for name, cents in (("revenue", 9_876_543), ("open_value", 412_345), ("expected_value", 54_321)):
        rows.append({"figure": name, "unit": "cents", "value": cents, "currency": "USD"})
    return rows_of("headline", rows)


def funnel_steps() -> pl.DataFrame:
    """2,000 shoppers view, 800 add, 320 start a checkout, 240 buy."""
    counts = (2000, 800, 320, 240)
    return rows_of(
        "funnel_steps",
        [
            {
                "funnel": "user",
                "breakdown": "all",
                "breakdown_value": "all",
                "step_index": place,
                "step": step,
                "entered": counts[max(place - 1, 0)],
                "converted": counts[place],
                "rate": counts[place] / counts[0],
                "step_rate": counts[place] / counts[max(place - 1, 0)],
                "median_s": 90.0 * place or None,
            }
            for place, step in enumerate(STEPS)
        ],
    )


def funnel_daily(days: int = 20, immature: int = 7) -> pl.DataFrame:
    """The same funnel for each of some days from 1 January 2026 on, the last of them immature."""
    return rows_of(
        "funnel_daily",
        [
            {
                "date": FIRST_DAY + timedelta(day),
                "step_index": place,
                "step": step,
                "entered": 100,
                "converted": 100 // 2**place,
                "rate": 1 / 2**place,
                "mature": day < days - immature,
            }
            for day in range(days)
            for place, step in enumerate(STEPS)
        ],
    )


def abandonment_daily(days: int = 20, immature: int = 7) -> pl.DataFrame:
    """Ten episodes for each day and stage, undecided on the last days."""

    def row(day: int, stage: str) -> dict[str, Any]:
        counts = {"immature": 10} if day >= days - immature else {"mature": 10, "recovered": 2, "resumed": 3, "lost": 5}
        base = {"idle_s": 3600, "date": FIRST_DAY + timedelta(day), "stage": stage, "episodes": 10}
        return base | dict.fromkeys(("mature", "recovered", "resumed", "lost", "immature"), 0) | counts

    return rows_of("abandonment_daily", [row(day, stage) for day in range(days) for stage in ("cart", "checkout")])


def abandonment_hourly() -> pl.DataFrame:
    """As many episodes in an hour as the clock shows, every day of the week."""
    return rows_of(
        "abandonment_hourly",
        [
            {"idle_s": 3600, "weekday": weekday, "hour": hour, "stage": "cart", "episodes": hour}
            for weekday in range(1, 8)
            for hour in range(24)
        ],
    )


def candidate(rank: int | None = 1, **changed: Any) -> dict[str, Any]:
    """One candidate worth 58.00 USD; without a rank it is one that may not be written to."""
    line = {"product_id": "p1", "product_name": "Linen shirt", "quantity": 2, "price_cents": 2900}
    return {
        "user_id": f"shopper-{rank}",
        "cart_id": f"7f9c24e5-2f0b-4c1e-9d3a-{rank or 0:012d}",
        "eligible": rank is not None,
        "reasons": [] if rank is not None else ["no_consent"],
        "send_after": AS_OF + timedelta(hours=3),
        "time_zone": "Europe/Berlin",
        "stage": "checkout",
        "hours_since": 5.5,
        "currency": "USD",
        "value_cents": 5800,
        "price_drop_cents": 0,
        "lines": [line],
        "coupons": [],
        "recover_p": 0.25,
        "expected_value_cents": 1450.0,
        "rank": rank,
    } | changed


def candidates(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Candidates as their table; by default two that may be written to and one that may not."""
    return rows_of("recovery_candidates", [dict(row) for row in rows or (candidate(1), candidate(2), candidate(None))])


def coupon_effects() -> pl.DataFrame:
    """One coupon that expired 210 times."""
    return rows_of(
        "coupon_effects",
        [
            {
                "coupon_code": "WINTER10",
                "reason": "expired",
                "removals": 210,
                "rate_after": 0.43,
                "rate_before": 0.08,
                "rate_control": 0.11,
                "value_removed_cents": 345_600,
                "value_at_stake_cents": 1_234_500,
            }
        ],
    )


def experiment_results() -> pl.DataFrame:
    """One experiment with a clear effect on conversion, raw and adjusted, and an unclear one on revenue."""

    def row(metric: str, role: str, effect: tuple[float, float, float]) -> dict[str, Any]:
        low, rel, high = effect
        verdict = "B raises conversion by 8.1 %." if role == "primary" else "No clear change."
        told = {"effect_rel": rel, "rel_low": low, "rel_high": high, "verdict": verdict}
        return {"experiment": "free_shipping", "segment": "all", "metric": metric, "arm": "B", "role": role} | told

    return rows_of(
        "experiment_results",
        [
            row("conversion", "primary", (0.02, 0.081, 0.14)) | {"adjusted": "CUPED"},
            row("conversion", "primary", (0.01, 0.079, 0.15)) | {"adjusted": "raw"},
            row("revenue_per_user", "secondary", (-0.01, 0.05, 0.11)) | {"adjusted": "raw"},
        ],
    )


def experiment_srm(*, alarm: bool = False) -> pl.DataFrame:
    """The split of its arms."""
    rows = [("A", 400), ("B", 411)]
    return rows_of(
        "experiment_srm",
        [
            {"experiment": "free_shipping", "arm": arm, "weight": 0.5, "observed": users, "alarm": alarm}
            for arm, users in rows
        ],
    )


def shop(**changed: pl.DataFrame | None) -> Source:
    """Every table that a page shows, some exchanged; None leaves a table out."""
    tables: dict[str, pl.DataFrame | None] = {
        "headline": headline(),
        "funnel_steps": funnel_steps(),
        "funnel_daily": funnel_daily(),
        "abandonment_daily": abandonment_daily(),
        "abandonment_hourly": abandonment_hourly(),
        "recovery_candidates": candidates(),
        "coupon_effects": coupon_effects(),
        "experiment_results": experiment_results(),
        "experiment_srm": experiment_srm(),
    }
    kept = {name: frame for name, frame in (tables | changed).items() if frame is not None}
    return Source(kept, dict.fromkeys(kept, NOTES))


def cohorts(days: int = 20, immature: int = 8) -> pl.DataFrame:
    """Fifty carts begun each day, 40 of them left at least once and 15 checked out."""
    row = {"idle_s": 3600, "carts": 50, "abandoned": 40, "checked_out": 15}
    rates = {"abandonment_rate": 0.8, "checkout_rate": 0.3}
    return rows_of(
        "cart_cohorts",
        [row | rates | {"date": FIRST_DAY + timedelta(day), "mature": day < days - immature} for day in range(days)],
    )


def by_weekday() -> pl.DataFrame:
    """The funnel of everybody, and that of those who began on a Monday (1) and on a Sunday (7)."""
    groups = [
        funnel_steps().with_columns(
            breakdown=pl.lit("weekday"), breakdown_value=pl.lit(value), rate=pl.col("rate") * part
        )
        for value, part in (("1", 0.5), ("7", 0.9))
    ]
    return pl.concat([funnel_steps(), *groups])


def funnel_times() -> pl.DataFrame:
    """Of those who added, three quarters did within a minute of the view."""
    row = {"funnel": "user", "from_step": 0, "to_step": 1}
    return rows_of(
        "funnel_times",
        [
            row | {"from_s": 0.0, "to_s": 60.0, "converted": 600, "share": 0.75},
            row | {"from_s": 60.0, "to_s": float("inf"), "converted": 200, "share": 0.25},
        ],
    )


def experiment_daily() -> pl.DataFrame:
    """The effect on conversion over three days."""
    row = {"experiment": "free_shipping", "metric": "conversion", "arm": "B", "effect_abs": 0.02}
    bounds = {"abs_low": 0.01, "abs_high": 0.03, "always_low": -0.05, "always_high": 0.09, "always_p": 0.4}
    return rows_of(
        "experiment_daily", [row | bounds | {"date": FIRST_DAY + timedelta(day)} for day in range(3)]
    )  # fmt: skip


def lift() -> pl.DataFrame:
    """A campaign that 30 of 100 shoppers bought in, against 10 of 50 in the holdout."""
    row = {"campaign": "recovery", "treatment_users": 100, "holdout_users": 50, "treatment_recovered": 30}
    row |= {"holdout_recovered": 10, "treatment_rate": 0.3, "holdout_rate": 0.2, "lift_abs": 0.1, "lift_low": -0.05}
    return rows_of("recovery_lift", [row | {"lift_high": 0.25, "p_value": 0.2, "incremental_orders": 10.0}])


def folder_of(derived: Path, **changed: pl.DataFrame | None) -> Path:
    """A folder with every table that a page shows, some exchanged; None leaves a table out."""
    more = {
        "cart_cohorts": cohorts(),
        "funnel_steps": by_weekday(),
        "funnel_times": funnel_times(),
        "experiment_daily": experiment_daily(),
        "recovery_lift": lift(),
    }
    derived.mkdir(parents=True, exist_ok=True)
    for name, frame in shop(**(more | changed)).tables.items():
        frame.write_parquet(derived / f"{name}.parquet", metadata=NOTES)
    return derived


def one_cart(identity: str) -> pl.DataFrame:
    """One order of shopper u1."""
    row: dict[str, Any] = {
        "cart_id": UUID(identity).bytes,
        "user_id": "u1",
        "status": "checked_out",
        "order_id": "order-7",
    }
    row |= {"version": 6, "first_event_at": AS_OF, "last_event_at": AS_OF, "currency": "USD", "total_cents": 5220}
    return rows_of("carts", [row])


def parts_of(table: str, key: str, column: str | None) -> tuple[dict[str, object], pl.DataFrame]:
    """A figure taken apart: two carts, worth 1 each; a column is told in the first part's name."""
    parts: list[dict[str, Any]] = [
        {"what": f"cart {column}", "cart_id": "7f9c24e5-2f0b-4c1e-9d3a-000000000001", "user_id": "u1", "value": 1},
        {"what": "cart", "cart_id": "7f9c24e5-2f0b-4c1e-9d3a-000000000002", "user_id": None, "value": 1},
    ]
    frame = pl.DataFrame([{**each, "at": AS_OF, "version": 1} for each in parts])
    return {TABLES[table].key[0]: key, "value": 2.0}, frame
