"""What an open cart holds and went through, for the mail about it: lines, removals, coupons, prices then and now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import polars as pl
import pyarrow as pa

from cart_core.projector.many import folded
from cart_core.rules import INT64_MAX
from pipelines.derive.frames import Frame, collected, utc
from pipelines.derive.histories import COLUMNS, histories
from pipelines.tables import INPUTS, TABLES
from pipelines.tables.contract import COUNT, ids_as_text

SCHEMA = TABLES["recovery_candidates"].schema
TOLD = ("cart_id", "version", "timestamp", "type", "product_id", "product_name", "price_cents", "currency")
LINE_TYPES = ("ItemAdded", "ItemRemoved", "QuantityChanged", "PriceUpdated")
CONTENT = (
    "line_count",
    "unit_count",
    "currency",
    "subtotal_cents",
    "discount_cents",
    "value_cents",
    "price_drop_cents",
    "lines",
    "removed_lines",
    "coupons",
    "versions",
)
"""The columns of recovery_candidates that say what a cart is about."""


def content(
    events: Frame,
    as_of: datetime,
    coupons: pl.DataFrame | None = None,
    stock: pl.DataFrame | None = None,
    coupon_warning: timedelta = timedelta(days=2),
) -> pl.DataFrame:
    """Every cart's content as of a moment: cart_id as text, and the columns ``CONTENT``; one row per cart.

    ``events`` holds all events of its carts, ``coupons`` and ``stock`` are the shop's tables. Lines are ordered by
    (added_at, product_id), removals latest first. Raises as ``histories``.
    """
    as_of = utc(as_of)
    known = histories(events, as_of, columns=(*COLUMNS, "product_name", "metadata"))
    carts, lines = TABLES["carts"].empty(), TABLES["lines"].empty()
    if len(known.order):
        told = folded(known.rows, known.order, known.begins, known.ends)
        carts, lines = _frame(told.carts), _frame(told.lines)
    happened = ids_as_text(collected(events, TOLD).filter(pl.col("timestamp") <= as_of)).sort("cart_id", "version")
    products = _products(happened)
    parts = [
        _live(ids_as_text(lines), products, INPUTS["stock"].empty() if stock is None else stock),
        _removed(products),
        _coupons(ids_as_text(carts), INPUTS["coupons"].empty() if coupons is None else coupons, as_of, coupon_warning),
        happened.filter(pl.col("type") != "CartAbandoned").group_by("cart_id").agg(versions=pl.col("version").sort()),
    ]
    whole = ids_as_text(carts).drop("coupons").rename({"total_cents": "value_cents"})
    for part in parts:
        whole = whole.join(part, on="cart_id", how="left")
    lists = [name for name in CONTENT if isinstance(SCHEMA[name], pl.List)]
    empty = [pl.col(name).fill_null(pl.lit([], SCHEMA[name])) for name in lists]
    return whole.with_columns(pl.col("price_drop_cents").fill_null(0), *empty).select("cart_id", *CONTENT)


def _frame(table: pa.Table) -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(table))


def _products(happened: pl.DataFrame) -> pl.DataFrame:
    """Every product that was ever in a cart: when it last came in, what it was called, when it left after that."""
    rows = happened.filter(pl.col("type").is_in(LINE_TYPES)).with_columns(
        added_version=pl.col("version").filter(pl.col("type") == "ItemAdded").max().over("cart_id", "product_id")
    )
    lived = rows.filter(pl.col("version") >= pl.col("added_version")).with_columns(
        removed_version=pl.col("version").filter(pl.col("type") == "ItemRemoved").min().over("cart_id", "product_id")
    )
    standing = (pl.col("version") < pl.col("removed_version")).fill_null(value=True)
    priced = standing & pl.col("type").is_in(["ItemAdded", "PriceUpdated"])
    return lived.group_by("cart_id", "product_id").agg(
        pl.col("added_version", "removed_version", "product_name", "currency").first(),
        last_version=pl.col("version").max(),
        last_price_cents=pl.col("price_cents").filter(priced).last(),
        removed_at=pl.col("timestamp").filter(pl.col("version") == pl.col("removed_version")).first(),
    )


def _live(lines: pl.DataFrame, products: pl.DataFrame, stock: pl.DataFrame) -> pl.DataFrame:
    known = products.select("cart_id", "product_id", "added_version", "currency", version="last_version")
    rows = (
        lines.join(known, on=["cart_id", "product_id"], how="left")
        .join(stock.select("product_id", in_stock=pl.col("available") > 0), on="product_id", how="left")
        .with_columns(price_change_cents=pl.col("price_cents") - pl.col("original_price_cents"))
        .sort("cart_id", "added_at", "product_id")
    )
    drop = (-pl.col("price_change_cents")).clip(0).cast(pl.Int128) * pl.col("quantity")
    capped = drop.sum().clip(0, INT64_MAX).cast(COUNT)
    return rows.group_by("cart_id").agg(lines=_structs("lines"), price_drop_cents=capped)


def _removed(products: pl.DataFrame) -> pl.DataFrame:
    gone = products.filter(pl.col("removed_version").is_not_null()).rename({"last_price_cents": "price_cents"})
    latest_first = gone.sort(["cart_id", "removed_version"], descending=[False, True])
    return latest_first.group_by("cart_id").agg(removed_lines=_structs("removed_lines"))


def _coupons(carts: pl.DataFrame, coupons: pl.DataFrame, as_of: datetime, warning: timedelta) -> pl.DataFrame:
    applied = carts.select("cart_id", "coupons").explode("coupons", empty_as_null=False).unnest("coupons")
    rows = applied.join(coupons.select("code", "ends_at"), on="code", how="left", maintain_order="left")
    state = (
        pl.when(pl.col("ends_at") <= as_of).then(pl.lit("expired"))
        .when(pl.col("ends_at") <= as_of + warning).then(pl.lit("expiring"))
        .otherwise(pl.lit("active"))
    )  # fmt: skip
    return rows.with_columns(state=state).group_by("cart_id").agg(coupons=_structs("coupons"))


def _structs(name: str) -> pl.Expr:
    """The rows of a group as structs of the fields that the list column of this name has."""
    inner = cast("pl.Struct", cast("pl.List", SCHEMA[name]).inner)
    return pl.struct(pl.col(field.name).cast(field.dtype) for field in inner.fields)
