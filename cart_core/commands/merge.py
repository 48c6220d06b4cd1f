"""Two carts of one person become one: the target gains, the source ends empty. Pure."""

from __future__ import annotations

from typing import get_args

from cart_core.commands.restore import restore_line
from cart_core.commands.words import MAX_QUANTITY, Decision, Draft, HandOver, MergeCart, Strategy
from cart_core.errors import Refused, shown
from cart_core.events import CouponApplied, CouponRemoved, ItemRemoved, PriceUpdated, QuantityChanged
from cart_core.projector import CartState, Coupon, Line


def merge_cart(target: CartState, command: MergeCart) -> Decision:
    """The events that bring ``command.source`` into ``target``, all marked ``merged_from``; the target is open.

    What only one of the carts holds is kept. Where both hold a product: ``sum`` adds the units (at most 999, the rest
    is told in ``metadata.capped_from``) at the source's price, ``keep_source`` takes its units and price, and
    ``keep_target`` changes nothing. A line that moves keeps its age and its original price.
    Raises Refused (same_cart, source_checked_out, second_currency, invalid_strategy).
    """
    source, strategy = command.source, command.strategy
    _check(target, source, strategy)
    draft = Draft()
    for line in source.lines:
        here = target.line(line.product_id)
        if here is None:
            restore_line(draft, line, reason="merged")
        elif strategy != "keep_target":
            _join(draft, here, line, strategy)
    for coupon in source.coupons:
        _take_coupon(draft, target, coupon, strategy)
    return draft.done(merged_from=source.cart_id)


def hand_over(source: CartState, command: HandOver) -> Decision:
    """The events that empty a cart whose lines and coupons went elsewhere, all marked ``merged_into``."""
    draft = Draft()
    for line in source.lines:
        draft.add(ItemRemoved(line.product_id))
    for code in dict.fromkeys(coupon.code for coupon in source.coupons):
        draft.add(CouponRemoved(code))
    return draft.done(merged_into=command.into)


def _check(target: CartState, source: CartState, strategy: Strategy) -> None:
    if strategy not in get_args(Strategy):
        raise Refused(
            "invalid_strategy", f"strategy is {shown(strategy)}, but must be one of " + ", ".join(get_args(Strategy))
        )
    if source.cart_id == target.cart_id:
        raise Refused("same_cart", f"cart {source.cart_id} cannot be merged into itself")
    if source.status == "checked_out":
        raise Refused("source_checked_out", f"cart {source.cart_id} was checked out; it stays as it is")
    currencies = sorted({line.currency.upper() for line in (*target.lines, *source.lines)})
    if source.lines and len(currencies) > 1:
        raise Refused(
            "second_currency",
            f"cart {source.cart_id} cannot be merged into {target.cart_id}: "
            f"their prices are in {' and '.join(currencies)}",
        )


def _join(draft: Draft, here: Line, there: Line, strategy: Strategy) -> None:
    wanted = there.quantity + (here.quantity if strategy == "sum" else 0)
    capped = max(min(wanted, MAX_QUANTITY), here.quantity if strategy == "sum" else 1)
    if capped != here.quantity:
        notes = {"capped_from": str(wanted)} if capped < wanted else {}
        draft.add(QuantityChanged(here.product_id, here.quantity, capped), **notes)
    if here.price_cents != there.price_cents:
        draft.add(PriceUpdated(here.product_id, here.price_cents, there.price_cents, "merged"))


def _take_coupon(draft: Draft, target: CartState, coupon: Coupon, strategy: Strategy) -> None:
    here = [each for each in target.coupons if each.code == coupon.code]
    if here and (strategy != "keep_source" or here == [coupon]):
        return
    if here:
        draft.add(CouponRemoved(coupon.code))
    draft.add(CouponApplied(coupon.code, coupon.discount_type, coupon.discount_value))
