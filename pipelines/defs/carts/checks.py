"""What must hold of carts and lines."""

from __future__ import annotations

import polars as pl

from pipelines.defs.checking import invariant
from pipelines.defs.shop import Shop
from pipelines.files import scan_table

SUMMED = ("cart_id", "status", "order_id", "subtotal_cents", "discount_cents", "total_cents")
COUNTED = {"line_count": pl.len(), "unit_count": pl.col("quantity").cast(pl.Int64).sum()}


@invariant("carts")
def carts_hold_every_event(shop: Shop) -> pl.DataFrame:
    """The versions of all carts add up to the events that had been read when the table was made."""
    position = int(shop.notes("carts")["position"])
    versions = scan_table(shop.derived, "carts").select(pl.col("version").cast(pl.Int64).sum()).collect().item()
    with shop.events() as store:
        since = store.position()
    told = pl.DataFrame({"events_read": [position], "versions": [versions], "events_now": [since]})
    return told.filter(~pl.col("versions").is_between("events_read", "events_now"))


@invariant("carts")
def totals_add_up(shop: Shop) -> pl.DataFrame:
    """Total is subtotal less discount, no discount is above the subtotal, and only charged carts are checked out."""
    carts = scan_table(shop.derived, "carts").select(SUMMED)
    sums = pl.col("total_cents") != pl.col("subtotal_cents") - pl.col("discount_cents")
    over = pl.col("discount_cents") > pl.col("subtotal_cents")
    paid = (pl.col("status") == "checked_out") != pl.col("order_id").is_not_null()
    return carts.filter(sums | over | paid).collect()


@invariant("lines")
def lines_add_up_to_their_carts(shop: Shop) -> pl.DataFrame:
    """The lines of a cart are as many, hold as many units and are worth as much as the cart says."""
    value = (pl.col("price_cents").cast(pl.Float64) * pl.col("quantity")).sum()
    lines = scan_table(shop.derived, "lines").group_by("cart_id").agg(**COUNTED, value=value)
    carts = scan_table(shop.derived, "carts").select("cart_id", *COUNTED, "subtotal_cents")
    carts = carts.filter(pl.col("line_count") > 0)
    both = carts.join(lines, on="cart_id", how="full", coalesce=True, suffix="_of_lines")
    wrong = [pl.col(name).cast(pl.Int64).ne_missing(pl.col(f"{name}_of_lines").cast(pl.Int64)) for name in COUNTED]
    return both.filter(
        pl.any_horizontal(wrong) | (pl.col("subtotal_cents").cast(pl.Float64) != pl.col("value"))
    ).collect()


@invariant("overcharges")
def differences_are_of_the_two_totals(shop: Shop) -> pl.DataFrame:
    """Every difference is what was charged less what the events add up to, and is none of 0."""
    found = shop.table("overcharges")
    difference = pl.col("charged_cents") - pl.col("projected_cents")
    return found.filter((pl.col("difference_cents") != difference) | (pl.col("difference_cents") == 0))
