"""What a command does to a cart: the events that follow from it, or a refusal by name. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cart_core.commands.merge import hand_over, merge_cart
from cart_core.commands.words import (
    MAX_QUANTITY,
    AddItem,
    ApplyCoupon,
    Command,
    CompleteCheckout,
    Decision,
    Draft,
    ExpireCoupon,
    HandOver,
    MarkAbandoned,
    MergeCart,
    RemoveCoupon,
    RemoveItem,
    SetQuantity,
    StartCheckout,
    UpdatePrice,
)
from cart_core.errors import InvalidEvent, Refused, shown
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import CartState, Line


def decide(state: CartState, command: Command) -> Decision:
    """The events that carry out ``command`` on a cart in ``state``, in order; none where everything stands so already.

    Raises Refused, with one of the codes of ``REFUSALS``, where the command may not be carried out.
    """
    if state.status == "checked_out":
        raise Refused(
            "checked_out", f"cart {state.cart_id} was checked out with order {state.order_id}; nothing in it may change"
        )
    try:
        decider: Callable[[CartState, Any], Decision] = _DECIDERS[type(command)]
        return decider(state, command)
    except InvalidEvent as error:
        raise Refused(_INVALID.get(error.field, f"invalid_{error.field}"), str(error), field=error.field) from error


_INVALID = {
    "productId": "invalid_product_id",
    "productName": "invalid_product_name",
    "pricePerUnitCents": "invalid_price",
    "newPriceCents": "invalid_price",
    "imageUrl": "invalid_image_url",
    "couponCode": "invalid_coupon_code",
    "discountType": "invalid_discount",
    "discountValue": "invalid_discount",
    "orderId": "invalid_order_id",
    "totalCents": "invalid_total",
}


def _add_item(state: CartState, command: AddItem) -> Decision:
    _check_quantity(command.quantity, least=1)
    item = ItemAdded(
        command.product_id,
        command.product_name,
        command.quantity,
        command.price_cents,
        _in_capitals(command.currency),
        command.image_url,
    )
    _check_currency(state, item.currency)
    line = state.line(command.product_id)
    if line is None:
        return _decision(item)
    quantity = line.quantity + command.quantity
    if quantity > MAX_QUANTITY:
        raise Refused(
            "too_many",
            f"{line.quantity} + {command.quantity} units of {shown(line.product_id)} are too many: "
            f"a line holds at most {MAX_QUANTITY}",
        )
    changed = QuantityChanged(line.product_id, line.quantity, quantity)
    if line.price_cents == command.price_cents:
        return _decision(changed)
    return _decision(changed, PriceUpdated(line.product_id, line.price_cents, command.price_cents, "re-added"))


def _remove_item(state: CartState, command: RemoveItem) -> Decision:
    return _decision(ItemRemoved(_line(state, command.product_id).product_id))


def _set_quantity(state: CartState, command: SetQuantity) -> Decision:
    _check_quantity(command.quantity, least=0)
    line = _line(state, command.product_id)
    if command.quantity == 0:
        return _decision(ItemRemoved(line.product_id))
    if command.quantity == line.quantity:
        return Decision()
    return _decision(QuantityChanged(line.product_id, line.quantity, command.quantity))


def _apply_coupon(state: CartState, command: ApplyCoupon) -> Decision:
    coupon = CouponApplied(command.coupon_code, command.discount_type, command.discount_value)
    if any(each.code == coupon.coupon_code for each in state.coupons):
        raise Refused(
            "coupon_already_applied", f"coupon {shown(coupon.coupon_code)} is in cart {state.cart_id} already"
        )
    return _decision(coupon)


def _remove_coupon(state: CartState, command: RemoveCoupon) -> Decision:
    removed = CouponRemoved(command.coupon_code, command.reason)
    if all(each.code != removed.coupon_code for each in state.coupons):
        raise Refused("unknown_coupon", f"cart {state.cart_id} holds no coupon {shown(removed.coupon_code)}")
    return _decision(removed)


def _expire_coupon(state: CartState, command: ExpireCoupon) -> Decision:
    return _remove_coupon(state, RemoveCoupon(command.coupon_code, "expired"))


def _update_price(state: CartState, command: UpdatePrice) -> Decision:
    line = _line(state, command.product_id)
    if command.currency is not None and _in_capitals(command.currency) != line.currency.upper():
        raise Refused(
            "second_currency",
            f"{shown(line.product_id)} is in the cart at a price in {line.currency}, not in {command.currency}",
        )
    changed = PriceUpdated(line.product_id, line.price_cents, command.price_cents, command.reason)
    return Decision() if line.price_cents == command.price_cents else _decision(changed)


def _mark_abandoned(state: CartState, _: MarkAbandoned) -> Decision:
    _check_filled(state)
    if state.status == "abandoned" or state.last_activity_at is None:
        raise Refused("already_abandoned", f"cart {state.cart_id} is marked as abandoned already")
    return _decision(CartAbandoned(state.last_activity_at))


def _start_checkout(state: CartState, _: StartCheckout) -> Decision:
    _check_filled(state)
    return _decision(CheckoutStarted())


def _complete_checkout(state: CartState, command: CompleteCheckout) -> Decision:
    completed = CheckoutCompleted(command.order_id, command.total_cents)
    if completed.total_cents < 0:
        raise Refused("invalid_total", f"totalCents is {completed.total_cents}, but nobody is charged less than 0")
    _check_filled(state)
    if state.checkout_started_at is None:
        raise Refused("checkout_not_started", f"the checkout of cart {state.cart_id} was not started")
    if completed.total_cents == state.total_cents:
        return _decision(completed)
    draft = Draft()
    draft.add(completed, total_mismatch="true", projected_total_cents=str(state.total_cents))
    return draft.done()


_DECIDERS: dict[type, Callable[[CartState, Any], Decision]] = {
    AddItem: _add_item,
    RemoveItem: _remove_item,
    SetQuantity: _set_quantity,
    ApplyCoupon: _apply_coupon,
    RemoveCoupon: _remove_coupon,
    ExpireCoupon: _expire_coupon,
    UpdatePrice: _update_price,
    MarkAbandoned: _mark_abandoned,
    StartCheckout: _start_checkout,
    CompleteCheckout: _complete_checkout,
    MergeCart: merge_cart,
    HandOver: hand_over,
}


def _decision(*events: Event) -> Decision:
    return Decision(events, ({},) * len(events))


def _line(state: CartState, product_id: str) -> Line:
    line = state.line(product_id)
    if line is None:
        raise Refused("unknown_product", f"cart {state.cart_id} holds no product {shown(product_id)}")
    return line


def _check_quantity(quantity: object, least: int) -> None:
    if type(quantity) is not int or quantity < least:
        raise Refused(
            "invalid_quantity",
            f"quantity is {shown(quantity)}, but must be a whole number from {least} to {MAX_QUANTITY}",
        )
    if quantity > MAX_QUANTITY:
        raise Refused("too_many", f"quantity is {quantity}, but a line holds at most {MAX_QUANTITY}")


def _in_capitals(currency: Any) -> Any:
    return currency.upper() if isinstance(currency, str) else currency


def _check_currency(state: CartState, currency: str) -> None:
    other = next((line.currency for line in state.lines if line.currency.upper() != currency), None)
    if other is not None:
        raise Refused("second_currency", f"cart {state.cart_id} is in {other}; a price in {currency} cannot be added")


def _check_filled(state: CartState) -> None:
    if not state.lines:
        raise Refused("empty_cart", f"cart {state.cart_id} holds no line")
