"""Carts, lines and orders, taken apart into lines and prices."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipelines.derive.explain.evidence import WHAT, Evidence, Row, parts, together
from pipelines.derive.recovery_content import content
from pipelines.tables.contract import uuid_text


def cart(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A cart is its lines, and its order where it has one."""
    events = evidence.cart(text_id(row["cart_id"]))
    lines = lines_of(events, _last(events)).with_columns(total_cents="value_cents")
    bought = events.filter(pl.col("type") == "CheckoutCompleted").tail(1)
    return together(
        lines, parts(bought.with_columns(at=pl.col("timestamp")), "order", charged_total_cents="total_cents")
    )


def line(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A line rests on the event that added it and the last one that changed it."""
    events = evidence.cart(text_id(row["cart_id"]))
    told = content(events, _last(events)).select("cart_id", "lines")
    told = told.explode("lines", empty_as_null=False).unnest("lines")
    one = told.filter(pl.col("product_id") == row["product_id"])
    added = parts(one.with_columns(version=pl.col("added_version"), at=pl.col("added_at")), "added", quantity=pl.lit(0))
    changed = parts(one, "as it stands", quantity="quantity")
    return together(added, changed)


def overcharge(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A difference is what the order charged less what each line and discount before it came to."""
    events = evidence.cart(row["cart_id"])
    order = parts(
        events.filter(pl.col("version") == row["version"]).with_columns(at=pl.col("timestamp")),
        "charged",
        charged_cents="total_cents",
        difference_cents="total_cents",
    )
    before = events.filter(pl.col("version") < row["version"])
    if before.is_empty():
        return order
    value = lines_of(before, _last(before))
    return together(order, value.select(*WHAT, projected_cents="value_cents", difference_cents=-pl.col("value_cents")))


def lines_of(events: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """One cart's lines as of a moment, and its discount: what each adds to counts, subtotal, discount and value."""
    told = content(events, as_of)
    lines = told.select("cart_id", "lines").explode("lines", empty_as_null=False).unnest("lines")
    worth = pl.col("price_cents") * pl.col("quantity")
    each = parts(
        lines.with_columns(at=pl.col("added_at")),
        "line",
        line_count=pl.lit(1),
        unit_count=pl.col("quantity").cast(pl.Int64),
        subtotal_cents=worth,
        value_cents=worth,
    )
    off = told.filter(pl.col("discount_cents") > 0)
    return together(
        each, parts(off, "discount", discount_cents="discount_cents", value_cents=-pl.col("discount_cents"))
    )


def text_id(cart_id: bytes | str) -> str:
    """A cart id as text, whether it was 16 bytes or text."""
    if isinstance(cart_id, str):
        return cart_id
    return str(pl.DataFrame({"cart_id": [cart_id]}).select(uuid_text("cart_id")).item())


def _last(events: pl.DataFrame) -> datetime:
    last: datetime = events["timestamp"].max()  # type: ignore[assignment]
    return last


TRACERS = {"carts": cart, "lines": line, "overcharges": overcharge}
