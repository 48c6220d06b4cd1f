"""The events that lead from one content of a cart to another. Pure."""

from __future__ import annotations

from dataclasses import replace

from cart_core.commands.words import Draft
from cart_core.events import CouponApplied, CouponRemoved, ItemAdded, ItemRemoved, PriceUpdated, QuantityChanged
from cart_core.projector import CartState, Coupon, Line
from cart_core.rules import format_time


def restore(current: CartState, wanted: CartState, reason: str) -> Draft:
    """The events that give ``current`` exactly the lines and coupons of ``wanted``; ``reason`` goes into price changes.

    Lines come back with quantity, both prices and age, coupons in their order. Few events, but a line whose age,
    name or original price differs is added anew, and coupons behind a missing one are put on again.
    """
    draft = Draft()
    for line in current.lines:
        if wanted.line(line.product_id) is None:
            draft.add(ItemRemoved(line.product_id))
    for line in wanted.lines:
        here = current.line(line.product_id)
        if here is None or replace(here, quantity=line.quantity, price_cents=line.price_cents) != line:
            restore_line(draft, line, reason)
        else:
            _adjust_line(draft, here, line, reason)
    _restore_coupons(draft, current.coupons, wanted.coupons)
    return draft


def restore_line(draft: Draft, line: Line, reason: str) -> None:
    """Add the events that put exactly this line into a cart: its original price and age, then its current price."""
    item = ItemAdded(
        line.product_id, line.product_name, line.quantity, line.original_price_cents, line.currency, line.image_url
    )
    draft.add(item, added_at=format_time(line.added_at))
    if line.price_cents != line.original_price_cents:
        draft.add(PriceUpdated(line.product_id, line.original_price_cents, line.price_cents, reason))


def _adjust_line(draft: Draft, here: Line, line: Line, reason: str) -> None:
    if here.quantity != line.quantity:
        draft.add(QuantityChanged(line.product_id, here.quantity, line.quantity))
    if here.price_cents != line.price_cents:
        draft.add(PriceUpdated(line.product_id, here.price_cents, line.price_cents, reason))


def _restore_coupons(draft: Draft, current: tuple[Coupon, ...], wanted: tuple[Coupon, ...]) -> None:
    kept = next(count for count in range(len(wanted), -1, -1) if _stay(current, wanted, count))
    kept_codes = {coupon.code for coupon in wanted[:kept]}
    for code in dict.fromkeys(coupon.code for coupon in current):
        if code not in kept_codes:
            draft.add(CouponRemoved(code))
    for coupon in wanted[kept:]:
        draft.add(CouponApplied(coupon.code, coupon.discount_type, coupon.discount_value))


def _stay(current: tuple[Coupon, ...], wanted: tuple[Coupon, ...], count: int) -> bool:
    """Whether the first ``count`` wanted coupons are what is left of the current ones once the others are removed."""
    codes = {coupon.code for coupon in wanted[:count]}
    return not codes & {coupon.code for coupon in wanted[count:]} and wanted[:count] == tuple(
        coupon for coupon in current if coupon.code in codes
    )
