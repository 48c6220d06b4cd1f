"""What happened to carts that had a coupon: coupons that left, coupons that stayed, and lines that were taken out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from cart_core.rules import INT64_MAX
from pipelines.derive.discounts import worth
from pipelines.derive.frames import Frame, collected, moment_us
from pipelines.derive.histories import COLUMNS, histories, states, with_event
from pipelines.derive.silences import NEVER
from pipelines.tables.contract import COUNT, MOMENT, SMALL, TEXT, ids_as_text

LINE_TYPES = ("ItemAdded", "ItemRemoved", "QuantityChanged", "PriceUpdated")


@dataclass(frozen=True, slots=True)
class Coupons:
    """Three tables about carts that ever had a coupon, cart ids as text.

    ``left``: coupons that left a cart they were on (coupon_code, reason, cart_id, version, left_at, applied_at,
    first_event_at, completed_at, line_count, subtotal_cents and currency at that moment, worth_cents: what it would
    take off the cart as it is now). ``kept``: the first coupon of a cart that was never removed (cart_id, applied_at,
    completed_at). ``taken_out``: removed lines (cart_id, version, removed_at, quantity, value_cents).
    """

    left: pl.DataFrame
    kept: pl.DataFrame
    taken_out: pl.DataFrame


def coupon_events(events: Frame, as_of: datetime) -> Coupons:
    """The coupons and removals of a frame of EVENTS up to a moment. Raises as ``histories``."""
    return coupons_of(coupon_rows(events, as_of))


def coupon_rows(events: Frame, as_of: datetime) -> pl.DataFrame:
    """``coupon_events`` as one table of the columns of ROWS, which says ``what`` each row is: left, kept or taken_out.

    Rows of a cart follow from its own events; those of parts of the carts may stand together. Raises as ``histories``.
    """
    rows = collected(with_event(events, "CouponApplied"), COLUMNS)
    rows = rows.filter(pl.col("timestamp").to_physical() <= moment_us(as_of))
    with_coupon = rows.filter(pl.col("type") == "CouponApplied").select("cart_id").unique()
    rows = rows.join(with_coupon, on="cart_id", how="semi").sort("cart_id", "version")
    told = ids_as_text(rows)
    carts = told.group_by("cart_id").agg(
        first_event_at=pl.col("timestamp").min(),
        completed_at=pl.col("timestamp").filter(pl.col("type") == "CheckoutCompleted").min(),
    )
    spells = _spells(told).join(carts, on="cart_id", how="left", maintain_order="left")
    left = _with_states(spells.filter(pl.col("left_at").is_not_null()), rows)
    kept = spells.filter(pl.col("left_at").is_null()).sort("cart_id", "applied_at")
    kept = kept.unique("cart_id", keep="first", maintain_order=True).select("cart_id", "applied_at", "completed_at")
    parts = {"left": left, "kept": kept, "taken_out": _taken_out(told)}
    named = [part.with_columns(what=pl.lit(what)) for what, part in parts.items()]
    return pl.concat([ROWS.to_frame(), *named], how="diagonal").cast(ROWS)


def coupons_of(rows: pl.DataFrame) -> Coupons:
    """What ``coupon_rows`` told, of whatever carts."""
    return Coupons(*(rows.filter(pl.col("what") == what).select(names) for what, names in _PARTS.items()))


_PARTS = {
    "left": (
        *("coupon_code", "reason", "cart_id", "version", "left_at", "applied_at", "first_event_at", "completed_at"),
        *("line_count", "subtotal_cents", "currency", "worth_cents"),
    ),
    "kept": ("cart_id", "applied_at", "completed_at"),
    "taken_out": ("cart_id", "version", "removed_at", "quantity", "value_cents"),
}
_KINDS = {
    **dict.fromkeys(("what", "cart_id", "coupon_code", "reason", "currency"), TEXT),
    **dict.fromkeys(("left_at", "applied_at", "first_event_at", "completed_at", "removed_at"), MOMENT),
    **dict.fromkeys(("version", "line_count"), SMALL),
    **dict.fromkeys(("subtotal_cents", "worth_cents", "quantity", "value_cents"), COUNT),
}
ROWS = pl.Schema(
    {name: _KINDS[name] for name in dict.fromkeys(("what", *(each for of in _PARTS.values() for each in of)))}
)


def _spells(told: pl.DataFrame) -> pl.DataFrame:
    """Each time a coupon was on a cart: from its first application to the removal, if any."""
    rows = told.filter(pl.col("type").is_in(["CouponApplied", "CouponRemoved"]))
    applied, removed = pl.col("type") == "CouponApplied", pl.col("type") == "CouponRemoved"
    spell = removed.cast(pl.Int32).cum_sum().over("cart_id", "coupon_code") - removed.cast(pl.Int32)
    return (
        rows.group_by("cart_id", "coupon_code", spell.alias("spell"), maintain_order=True)
        .agg(
            applied_at=pl.col("timestamp").filter(applied).first(),
            discount_type=pl.col("discount_type").filter(applied).first(),
            discount_value=pl.col("discount_value").filter(applied).first(),
            version=pl.col("version").filter(removed).first(),
            left_at=pl.col("timestamp").filter(removed).first(),
            reason=pl.col("reason").filter(removed).first().fill_null("shopper"),
        )
        .filter(pl.col("applied_at").is_not_null())
        .drop("spell")
    )


def _with_states(left: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Coupons that left, with what their carts held at that moment, and what they would take off in the end."""
    known = histories(rows)
    places = known.cart_ids(np.arange(len(known.begins))).to_frame().with_row_index("cart")
    ordered = left.join(places, on="cart_id").sort("cart", "left_at", "version")
    carts = ordered["cart"].cast(pl.Int64).to_numpy()
    then = states(known, carts, ordered["left_at"].to_physical().to_numpy())
    last = states(known, carts, ordered["completed_at"].to_physical().fill_null(int(NEVER)).to_numpy())
    told = ordered.drop("cart").with_columns(
        then["line_count"], then["subtotal_cents"], then["currency"], whole=last["subtotal_cents"]
    )
    return told.with_columns(worth_cents=worth("whole").cast(COUNT)).drop("whole", "discount_type", "discount_value")


def _taken_out(told: pl.DataFrame) -> pl.DataFrame:
    """Every ItemRemoved of a line that stood, with what stood on it."""
    line = ["cart_id", "product_id"]
    kind = pl.col("type")
    before = told.filter(kind.is_in(LINE_TYPES)).with_columns(
        stood=pl.when(kind == "ItemAdded").then(True).when(kind == "ItemRemoved").then(False),
        on_it=pl.when(kind.is_in(["ItemAdded", "QuantityChanged"])).then(pl.col("quantity")),
        costs=pl.when(kind.is_in(["ItemAdded", "PriceUpdated"])).then(pl.col("price_cents")),
    )
    filled = before.with_columns(pl.col("stood", "on_it", "costs").forward_fill().shift(1).over(line))
    gone = filled.filter((kind == "ItemRemoved") & pl.col("stood"))
    value = pl.col("on_it").cast(pl.Int128) * pl.col("costs")
    return gone.select(
        "cart_id",
        "version",
        removed_at="timestamp",
        quantity=pl.col("on_it").cast(COUNT),
        value_cents=value.clip(0, INT64_MAX).cast(COUNT),
    )
