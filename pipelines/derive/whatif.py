"""The same history under another rule: what carts would be worth, and how many would count as abandoned.

A rule changes the events of a frame, or the definition of abandonment; both versions are then folded by the same
compiled fold. What shoppers would have done otherwise is not guessed: they act as they did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import polars as pl

from cart_core.projector.many import folded
from pipelines.derive.abandonment import HOUR, WEEK, episodes
from pipelines.derive.daily import COLUMNS
from pipelines.derive.frames import Frame, collected, utc
from pipelines.derive.histories import histories
from pipelines.tables import TABLES
from pipelines.tables.contract import ids_as_text

COMPARED = ["status", "currency", "total_cents"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is otherwise: ``change`` gives the events that would have been, ``idle`` another idle time."""

    name: str
    change: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    idle: timedelta | None = None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Two versions of one history side by side.

    ``carts``: cart_id (text), currency, status, total_cents (at its checkout, or as of the moment where there was
    none), the latter two once more with ``_if``, and difference_cents; one row per cart, by cart_id. A cart of mixed
    currencies has no totals. ``abandonment``: outcome, currency, episodes, value_cents (null where unknown), and both
    with ``_if``; one row per outcome and currency, by these. Amounts are minor units.
    """

    carts: pl.DataFrame
    abandonment: pl.DataFrame


def coupon_ends(code: str, at: datetime) -> Rule:
    """A coupon lasts until ``at`` in every cart that it expired in before then.

    Its removal comes after all that happened in the cart by then; other removals of it stay where they are.
    """
    moment = utc(at)
    return Rule(f"coupon {code} ends at {moment.isoformat()}", lambda rows: _expiries_moved(rows, code, moment))


def price_updates_ignored(products: Sequence[str] | None = None, reasons: Sequence[str] | None = None) -> Rule:
    """Prices of lines stay as they were: for these products or reasons only, or for all."""
    ignored = pl.col("type") == "PriceUpdated"
    if products is not None:
        ignored &= pl.col("product_id").is_in(list(products))
    if reasons is not None:
        ignored &= pl.col("reason").is_in(list(reasons))
    return Rule("price updates ignored", lambda rows: rows.filter(~ignored))


def idle_of(idle: timedelta) -> Rule:
    """A cart counts as abandoned after another time of silence."""
    return Rule(f"idle time {idle}", idle=idle)


def what_if(
    events: Frame, rules: Sequence[Rule], as_of: datetime, idle: timedelta = HOUR, window: timedelta = WEEK
) -> WhatIf:
    """Carts and abandonment of a frame of EVENTS as they were, and as they would have been under some rules.

    ``events`` may come in any form and order and holds all events of its carts; those after ``as_of`` do not count.
    Rules apply one after another. Raises as ``episodes``.
    """
    rows = collected(events, COLUMNS).filter(pl.col("timestamp") <= utc(as_of))
    otherwise = rows
    for rule in rules:
        otherwise = rule.change(otherwise) if rule.change is not None else otherwise
    otherwise = otherwise.filter(pl.col("timestamp") <= utc(as_of))
    other_idle = next((rule.idle for rule in reversed(rules) if rule.idle is not None), idle)
    both = [(rows, idle), (otherwise, other_idle)]
    carts = [_totals(each) for each, _ in both]
    silences = [_silences(episodes(each, as_of, span, window)) for each, span in both]
    return WhatIf(_compared(*carts), _beside(*silences))


def _totals(rows: pl.DataFrame) -> pl.DataFrame:
    """Each cart at its checkout, where there was one; what came later changed no bill."""
    bought = pl.col("version").filter(pl.col("type") == "CheckoutCompleted").min().over("cart_id")
    known = histories(rows.filter(pl.col("version") <= pl.coalesce(bought, pl.col("version"))), columns=COLUMNS)
    if not len(known.order):
        return ids_as_text(TABLES["carts"].empty().select("cart_id", *COMPARED))
    carts = cast("pl.DataFrame", pl.from_arrow(folded(known.rows, known.order, known.begins, known.ends).carts))
    return ids_as_text(carts.select("cart_id", *COMPARED))


def _compared(carts: pl.DataFrame, otherwise: pl.DataFrame) -> pl.DataFrame:
    both = carts.join(otherwise, on="cart_id", how="left", suffix="_if", maintain_order="left")
    return both.select(
        "cart_id",
        "currency",
        "status",
        "total_cents",
        "status_if",
        "total_cents_if",
        difference_cents=pl.col("total_cents_if") - pl.col("total_cents"),
    ).sort("cart_id")


def _silences(found: pl.DataFrame) -> pl.DataFrame:
    return found.group_by("outcome", "currency").agg(
        episodes=pl.len().cast(pl.Int64),
        value_cents=pl.when(pl.col("value_cents").is_not_null().any()).then(pl.col("value_cents").sum()),
    )


def _beside(silences: pl.DataFrame, otherwise: pl.DataFrame) -> pl.DataFrame:
    keys = ["outcome", "currency"]
    both = silences.join(otherwise, on=keys, how="full", coalesce=True, nulls_equal=True, suffix="_if")
    return both.with_columns(pl.col("episodes", "episodes_if").fill_null(0)).sort(keys)


def _expiries_moved(rows: pl.DataFrame, code: str, at: datetime) -> pl.DataFrame:
    expired = (pl.col("type") == "CouponRemoved") & (pl.col("reason") == "expired") & (pl.col("coupon_code") == code)
    early = expired & (pl.col("timestamp") < at)
    last_by_then = pl.col("version").filter((pl.col("timestamp") <= at) & ~early).max().over("cart_id")
    place = pl.when(early).then(pl.max_horizontal("version", last_by_then)).otherwise(pl.col("version"))
    ordered = rows.with_columns(place=place, moved=early).sort("cart_id", "place", "moved", "version")
    return ordered.with_columns(
        version=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("cart_id"),
        timestamp=pl.when("moved").then(pl.lit(at).cast(rows.schema["timestamp"])).otherwise(pl.col("timestamp")),
    ).drop("place", "moved")
