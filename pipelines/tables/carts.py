"""The carts themselves: one row per cart, one row per line, and the totals that do not add up."""

from __future__ import annotations

import polars as pl

from pipelines.tables.contract import COUNT, ID_BYTES, MOMENT, NUMBER, SMALL, TEXT, Column, Table

COUPON = pl.Struct({"code": TEXT, "discount_type": TEXT, "discount_value": NUMBER})

CARTS = Table(
    "carts",
    "One cart as the fold of all its events.",
    ("cart_id",),
    (
        Column("cart_id", ID_BYTES, "uuid", "The cart: 16 bytes, a UUID in Parquet and text in DuckDB."),
        Column("user_id", TEXT, "id", "The shopper of the cart's first event.", null="where the shopper was forgotten"),
        Column("status", TEXT, "word", "active, abandoned or checked_out."),
        Column("version", SMALL, "number", "The version of its last event."),
        Column("first_event_at", MOMENT, "time", "When its first event happened."),
        Column("last_event_at", MOMENT, "time", "When its last event happened."),
        Column("last_activity_at", MOMENT, "time", "When the shopper last did something.", null="if never"),
        Column("checkout_started_at", MOMENT, "time", "When the checkout started.", null="if never"),
        Column("order_id", TEXT, "id", "The order of the checkout.", null="until checked out"),
        Column("charged_total_cents", COUNT, "cents", "What the order charged.", null="until checked out"),
        Column("currency", TEXT, "word", "The currency of all lines.", null="without lines, or where lines mix them"),
        Column("line_count", SMALL, "count", "Live lines."),
        Column("unit_count", COUNT, "count", "Units on all live lines."),
        Column("subtotal_cents", COUNT, "cents", "Price x quantity over lines.", null="where lines mix currencies"),
        Column("discount_cents", COUNT, "cents", "What the coupons take off.", null="where lines mix currencies"),
        Column("total_cents", COUNT, "cents", "Subtotal less discount.", null="where lines mix currencies"),
        Column("coupons", pl.List(COUPON), "list", "The coupons that are on the cart, in the order applied."),
    ),
)

LINES = Table(
    "lines",
    "One live line of one cart.",
    ("cart_id", "product_id"),
    (
        Column("cart_id", ID_BYTES, "uuid", "The cart: 16 bytes, a UUID in Parquet and text in DuckDB."),
        Column("product_id", TEXT, "id", "The product."),
        Column("product_name", TEXT, "text", "Its name when it was added."),
        Column("quantity", SMALL, "count", "Units of it in the cart."),
        Column("price_cents", COUNT, "cents", "Its price per unit now."),
        Column("original_price_cents", COUNT, "cents", "Its price per unit when it was added."),
        Column("added_at", MOMENT, "time", "When it was added."),
    ),
)

OVERCHARGES = Table(
    "overcharges",
    "One order that charged another total than its cart's events add up to at that moment.",
    ("cart_id", "version"),
    (
        Column("cart_id", TEXT, "id", "The cart."),
        Column("user_id", TEXT, "id", "Its shopper.", null="where the shopper was forgotten"),
        Column("version", SMALL, "number", "The version of the CheckoutCompleted event."),
        Column("order_id", TEXT, "id", "The order."),
        Column("completed_at", MOMENT, "time", "When the checkout completed."),
        Column("currency", TEXT, "word", "The currency of the cart.", null="where the cart was empty"),
        Column("charged_cents", COUNT, "cents", "What the order charged."),
        Column("projected_cents", COUNT, "cents", "The cart's total at that version."),
        Column("difference_cents", COUNT, "cents", "Charged less projected: above 0 the shopper paid too much."),
        Column(
            "reason",
            TEXT,
            "word",
            "Which other total was charged: without_coupons, original_prices, original_prices_without_coupons, "
            "before_last_change (the total just before the cart's last change), empty_cart, or unexplained.",
        ),
        Column("explained_cents", COUNT, "cents", "That other total.", null="where the reason is unexplained"),
    ),
)

TABLES = (CARTS, LINES, OVERCHARGES)
