"""A campaign's list for a mail tool: the eligible candidates with their addresses, as CSV or JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import polars as pl

from cart_core.rules import FORMULA_STARTS, format_time

FLAT = ("campaign", "cart_id", "episode_no", "user_id", "email", "send_after", "time_zone", "stage", "rank", "currency")
MONEY = ("value_cents", "discount_cents", "price_drop_cents")
LISTS = ("lines", "removed_lines", "coupons")


def recipients(candidates: pl.DataFrame, contacts: pl.DataFrame) -> pl.DataFrame:
    """The eligible candidates in order of rank, each with the address that ``contacts`` has now.

    A shopper without an address or consent now is left out, whatever the candidate's row said.
    """
    reachable = contacts.filter(pl.col("consent"), pl.col("email").str.strip_chars() != "")
    eligible = candidates.filter("eligible")
    addressed = eligible.join(reachable.select("user_id", "email"), on="user_id", maintain_order="left")
    return addressed.sort("rank", "currency", "cart_id")


def to_csv(found: pl.DataFrame) -> str:
    """Recipients as CSV with a header: one row each, lists as one readable cell.

    A cell that a spreadsheet would run as a formula begins with a quote mark.
    """
    products = pl.col("lines").list.eval(
        pl.format("{} x {}", pl.element().struct.field("quantity"), pl.element().struct.field("product_name"))
    )
    flat = found.select(
        *FLAT,
        *MONEY,
        products=products.list.join("; "),
        coupons=pl.col("coupons").list.eval(pl.element().struct.field("code")).list.join("; "),
    )
    texts = [name for name, dtype in flat.schema.items() if dtype == pl.String]
    safe = flat.with_columns(unarmed(pl.col(name)).alias(name) for name in texts)
    return safe.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")


def to_json(found: pl.DataFrame) -> str:
    """Recipients as a JSON list of objects with camelCase names; times are RFC 3339 in UTC."""
    rows = found.select(*FLAT, *MONEY, *LISTS).iter_rows(named=True)
    return json.dumps([_camel(row) for row in rows], ensure_ascii=False, indent=1)


def unarmed(text: pl.Expr) -> pl.Expr:
    """A text column in which no cell can be run as a formula."""
    armed = pl.any_horizontal(text.str.starts_with(start) for start in FORMULA_STARTS)
    return pl.when(armed).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_name(key): _camel(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_camel(each) for each in value]
    return format_time(value) if isinstance(value, datetime) else value


def _name(column: str) -> str:
    first, *others = column.split("_")
    return first + "".join(word.capitalize() for word in others)
