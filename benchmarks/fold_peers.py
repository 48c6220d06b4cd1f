"""The fold of all carts as one would write it without this project: DuckDB's SQL, Polars' expressions. Peers, no parts.

Both say the same as ``cart_core/projector/one.py``: of each cart and product, the last event of a kind wins. They run a
share of the carts at a time, which is faster and needs less memory than all at once.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl

SHARES = 64
EVENTS_PER_STEP = 5_000_000

SQL = """
CREATE OR REPLACE TEMP TABLE e AS FROM read_parquet({files}) WHERE bucket % {steps} = {step};
CREATE OR REPLACE TEMP TABLE lines AS
SELECT cart_id, product_id,
    arg_max(product_name, version) FILTER (type = 'ItemAdded') AS product_name,
    arg_max(quantity, version) FILTER (type IN ('ItemAdded', 'QuantityChanged')) AS quantity,
    arg_max(price_cents, version) FILTER (type IN ('ItemAdded', 'PriceUpdated')) AS price_cents,
    arg_max(price_cents, version) FILTER (type = 'ItemAdded') AS original_price_cents,
    arg_max(timestamp, version) FILTER (type = 'ItemAdded') AS added_at,
    arg_max(currency, version) FILTER (type = 'ItemAdded') AS currency
FROM e WHERE product_id IS NOT NULL GROUP BY cart_id, product_id
HAVING max(version) FILTER (type = 'ItemAdded') > coalesce(max(version) FILTER (type = 'ItemRemoved'), 0);
COPY (SELECT * EXCLUDE (currency) FROM lines) TO '{out}/lines-{step}.parquet' (COMPRESSION zstd);
COPY (
WITH gone AS (
    SELECT cart_id, coupon_code, max(version) AS gone_at FROM e WHERE type = 'CouponRemoved' GROUP BY ALL
),
worth AS (
    SELECT cart_id, count(*) AS line_count, sum(quantity)::BIGINT AS unit_count,
        sum(price_cents * quantity)::BIGINT AS subtotal_cents,
        CASE WHEN count(DISTINCT currency) = 1 THEN any_value(currency) END AS currency
    FROM lines GROUP BY cart_id
),
coupon AS (
    SELECT cart_id, coupon_code, discount_type, discount_value, version, coalesce(subtotal_cents, 0) AS subtotal
    FROM e LEFT JOIN gone USING (cart_id, coupon_code) LEFT JOIN worth USING (cart_id)
    WHERE type = 'CouponApplied' AND version > coalesce(gone_at, 0)
),
discount AS (
    SELECT cart_id, list(struct_pack(code := coupon_code, discount_type, discount_value) ORDER BY version) AS coupons,
        least(any_value(subtotal), sum(CASE WHEN discount_type = 'fixed' THEN discount_value::BIGINT
            ELSE (subtotal * round(discount_value * 10000)::BIGINT + 500000) // 1000000 END))::BIGINT AS discount_cents
    FROM coupon GROUP BY cart_id
),
cart AS (
    SELECT cart_id, arg_min(user_key, version) AS user_key, max(version) AS version,
        arg_min(timestamp, version) AS first_event_at, arg_max(timestamp, version) AS last_event_at,
        arg_max(timestamp, version) FILTER ({active}) AS last_activity_at,
        arg_max(timestamp, version) FILTER (type = 'CheckoutStarted') AS checkout_started_at,
        arg_max(order_id, version) FILTER (type = 'CheckoutCompleted') AS order_id,
        arg_max(total_cents, version) FILTER (type = 'CheckoutCompleted') AS charged_total_cents,
        max(version) FILTER (type = 'CartAbandoned') AS abandoned, max(version) FILTER ({active}) AS active
    FROM e GROUP BY cart_id
)
SELECT cart_id, user_key,
    CASE WHEN order_id IS NOT NULL THEN 'checked_out' WHEN abandoned > coalesce(active, 0) THEN 'abandoned'
        ELSE 'active' END AS status,
    version, first_event_at, last_event_at, last_activity_at, checkout_started_at, order_id, charged_total_cents,
    currency, coalesce(line_count, 0)::INTEGER AS line_count, coalesce(unit_count, 0) AS unit_count,
    coalesce(subtotal_cents, 0) AS subtotal_cents, coalesce(discount_cents, 0) AS discount_cents,
    coalesce(subtotal_cents, 0) - coalesce(discount_cents, 0) AS total_cents, coalesce(coupons, []) AS coupons
FROM cart LEFT JOIN worth USING (cart_id) LEFT JOIN discount USING (cart_id)
) TO '{out}/carts-{step}.parquet' (COMPRESSION zstd);
"""
ACTIVE_SQL = (
    "type IN ('ItemAdded', 'ItemRemoved', 'QuantityChanged', 'CouponApplied', 'CheckoutStarted') "
    "OR type = 'CouponRemoved' AND coalesce(reason, '') NOT IN ('expired', 'invalid')"
)


def steps_for(events: int) -> int:
    """How many shares of the carts are folded one after the other: a power of two."""
    return int(min(SHARES, 1 << max(0, events // EVENTS_PER_STEP).bit_length()))


def with_duckdb(segments: Path, events: int, out: Path) -> None:
    """Write carts and lines of all segments to ``out``, a file for each share of the carts."""
    out.mkdir(exist_ok=True)
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false; SET preserve_insertion_order = false")
        steps = steps_for(events)
        for step in range(steps):
            db.execute(SQL.format(files=f"'{segments}/*.parquet'", steps=steps, step=step, out=out, active=ACTIVE_SQL))


def with_polars(segments: Path, events: int, out: Path) -> None:
    """Write carts and lines of all segments to ``out``, a file for each share of the carts."""
    out.mkdir(exist_ok=True)
    steps = steps_for(events)
    for step in range(steps):
        rows = pl.scan_parquet(segments / "*.parquet").filter(pl.col("bucket") % steps == step)
        rows = rows.select(_READ).collect()
        lines = _lines(rows)
        lines.drop("currency").write_parquet(out / f"lines-{step}.parquet", compression="zstd", compression_level=1)
        _carts(rows, lines).write_parquet(out / f"carts-{step}.parquet", compression="zstd", compression_level=1)


_READ = (
    "cart_id", "version", "user_key", "timestamp", "type", "product_id", "product_name", "quantity", "price_cents",
    "currency", "coupon_code", "discount_type", "discount_value", "reason", "order_id", "total_cents",
)  # fmt: skip


def _is(*types: str) -> pl.Expr:
    return pl.col("type").is_in(types)


def _last(column: str, where: pl.Expr) -> pl.Expr:
    return pl.col(column).max_by(pl.when(where).then(pl.col("version")))


def _lines(rows: pl.DataFrame) -> pl.DataFrame:
    added = _is("ItemAdded")
    named = rows.lazy().filter(pl.col("product_id").is_not_null()).group_by("cart_id", "product_id")
    told = named.agg(
        _last("product_name", added),
        _last("quantity", _is("ItemAdded", "QuantityChanged")),
        _last("price_cents", _is("ItemAdded", "PriceUpdated")),
        _last("price_cents", added).alias("original_price_cents"),
        _last("timestamp", added).alias("added_at"),
        _last("currency", added),
        came=pl.when(added).then("version").max(),
        went=pl.when(_is("ItemRemoved")).then("version").max(),
    )
    return told.filter(pl.col("came") > pl.col("went").fill_null(0)).drop("came", "went").collect()


def _carts(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    value = pl.col("price_cents") * pl.col("quantity")
    worth = lines.lazy().group_by("cart_id").agg(
        line_count=pl.len().cast(pl.Int32),
        unit_count=pl.col("quantity").cast(pl.Int64).sum(),
        subtotal_cents=value.sum(),
        currency=pl.when(pl.col("currency").n_unique() == 1).then(pl.col("currency").first()),
    )  # fmt: skip
    quiet = _is("CouponRemoved") & pl.col("reason").is_in(("expired", "invalid")).fill_null(value=False)
    shopper = ("ItemAdded", "ItemRemoved", "QuantityChanged", "CouponApplied", "CouponRemoved", "CheckoutStarted")
    active, bought = _is(*shopper) & ~quiet, _is("CheckoutCompleted")
    carts = rows.lazy().group_by("cart_id").agg(
        pl.col("user_key").min_by("version"),
        version=pl.col("version").max(),
        first_event_at=pl.col("timestamp").min_by("version"),
        last_event_at=pl.col("timestamp").max_by("version"),
        last_activity_at=_last("timestamp", active),
        checkout_started_at=_last("timestamp", _is("CheckoutStarted")),
        order_id=_last("order_id", bought),
        charged_total_cents=_last("total_cents", bought),
        abandoned=pl.when(_is("CartAbandoned")).then("version").max(),
        active=pl.when(active).then("version").max(),
    )  # fmt: skip
    silent = pl.col("abandoned") > pl.col("active").fill_null(0)
    status = (
        pl.when(pl.col("order_id").is_not_null()).then(pl.lit("checked_out"))
        .when(silent).then(pl.lit("abandoned")).otherwise(pl.lit("active"))
    )  # fmt: skip
    told = carts.join(worth, on="cart_id", how="left").join(_coupons(rows, worth), on="cart_id", how="left")
    sums = [pl.col(name).fill_null(0) for name in ("line_count", "unit_count", "subtotal_cents", "discount_cents")]
    told = told.with_columns(*sums, status=status, coupons=pl.col("coupons").fill_null([]))
    return told.with_columns(total_cents=pl.col("subtotal_cents") - pl.col("discount_cents")).collect()


def _coupons(rows: pl.DataFrame, worth: pl.LazyFrame) -> pl.LazyFrame:
    keys = ["cart_id", "coupon_code"]
    gone = rows.lazy().filter(_is("CouponRemoved")).group_by(keys).agg(gone=pl.col("version").max())
    live = rows.lazy().filter(_is("CouponApplied")).join(gone, on=keys, how="left")
    live = live.filter(pl.col("version") > pl.col("gone").fill_null(0))
    priced = live.join(worth.select("cart_id", "subtotal_cents"), on="cart_id", how="left")
    subtotal = pl.col("subtotal_cents").fill_null(0)
    share = (subtotal * (pl.col("discount_value") * 10_000).round().cast(pl.Int64) + 500_000) // 1_000_000
    off = pl.when(pl.col("discount_type") == "fixed").then(pl.col("discount_value").cast(pl.Int64)).otherwise(share)
    coupon = pl.struct(pl.col("coupon_code").alias("code"), "discount_type", "discount_value")
    return priced.group_by("cart_id").agg(
        coupons=coupon.sort_by("version"), discount_cents=pl.min_horizontal(off.sum(), subtotal.first())
    )
