"""What a cart's events say about a price: when it was added at which price, what changed, what was charged. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from cart_core import rules
from cart_core.events import CheckoutCompleted, Envelope, ItemAdded, PriceUpdated
from cart_core.importers.money import exponent
from cart_core.prices import price_history
from cart_core.projector import CartState, Line, fold

LATE = timedelta(hours=1)
"""An event that was recorded later than this after it happened was not witnessed by the store."""

SHOWN_EVENTS = 10
STEPS = {"undo": "undoes", "redo": "redoes"}
Document = dict[str, Any]


def story(history: Sequence[Envelope], product_id: str | None = None) -> Document:
    """What the whole history of one cart says about one product, or about every product it ever held.

    ``{"products": [{productId, productName, priceHistory, inOrder}], "order": {...} or null, "sentences": [...],
    "limits": [...]}``; ``order`` has orderId, completedAt, currency, what the cart's total was and what was charged.
    """
    wanted = _products(history) if product_id is None else [product_id]
    ordered = _until_order(history)
    at_order = fold(ordered) if ordered else None
    products = [_product(history, each, at_order) for each in wanted]
    order = None if at_order is None else _order(ordered[-1], at_order)
    sentences = [line for each in products for line in _told(history, each)]
    return {
        "products": products,
        "order": order,
        "sentences": [*sentences, *_order_told(order)],
        "limits": list(_limits(history)),
    }


def money(cents: int | None, currency: str | None) -> str:
    """An amount as people read it: ``29.00 USD``, ``2900 JPY``."""
    if cents is None or currency is None:
        return "no single amount"
    places = exponent(currency)
    digits = f"{abs(cents):0{places + 1}d}"
    whole, part = (digits[:-places], "." + digits[-places:]) if places else (digits, "")
    return f"{'-' if cents < 0 else ''}{int(whole):,}{part} {currency.upper()}"


def _added(history: Sequence[Envelope]) -> Iterator[ItemAdded]:
    return (each.event for each in history if isinstance(each.event, ItemAdded))


def _products(history: Sequence[Envelope]) -> list[str]:
    return list(dict.fromkeys(item.product_id for item in _added(history)))


def _until_order(history: Sequence[Envelope]) -> list[Envelope]:
    """The events up to the first completed checkout; none where there is no order."""
    place = next((place for place, each in enumerate(history, 1) if isinstance(each.event, CheckoutCompleted)), 0)
    return list(history[:place])


def _product(history: Sequence[Envelope], product_id: str, at_order: CartState | None) -> Document:
    line = None if at_order is None else at_order.line(product_id)
    return {
        "productId": product_id,
        "productName": _name(history, product_id),
        "priceHistory": price_history(history, product_id)["priceHistory"],
        "inOrder": None if line is None else _in_order(line),
    }


def _in_order(line: Line) -> Document:
    return {
        "quantity": line.quantity,
        "pricePerUnitCents": line.price_cents,
        "priceWhenAddedCents": line.original_price_cents,
        "addedAt": rules.format_time(line.added_at),
        "currency": line.currency,
    }


def _order(completed: Envelope, cart: CartState) -> Document:
    projected, charged = cart.total_cents, cart.charged_total_cents
    return {
        "orderId": cart.order_id,
        "completedAt": rules.format_time(completed.timestamp),
        "version": completed.version,
        "currency": cart.currency,
        "subtotalCents": cart.subtotal_cents,
        "discountCents": cart.discount_cents,
        "coupons": [coupon.to_json() for coupon in cart.coupons],
        "cartTotalCents": projected,
        "chargedTotalCents": charged,
        "overchargedCents": None if projected is None or charged is None else charged - projected,
    }


def _name(history: Sequence[Envelope], product_id: str) -> str | None:
    """The name under which a product was last added."""
    names = [item.product_name for item in _added(history) if item.product_id == product_id]
    return names[-1] if names else None


def _told(history: Sequence[Envelope], product: Document) -> Iterator[str]:
    name = product["productName"] or product["productId"]
    by_version = {each.version: each for each in history}
    if not product["priceHistory"]:
        yield f"{product['productId']} was never in this cart."
    for entry in product["priceHistory"]:
        told = _entry_told(name, by_version[entry["version"]], money(entry["priceCents"], entry["currency"]), entry)
        yield f"{entry['timestamp']}: {told} (event {entry['version']})."
    line = product["inOrder"]
    if line is not None:
        now, then = (money(line[key], line["currency"]) for key in ("pricePerUnitCents", "priceWhenAddedCents"))
        yield f"When the order was placed the cart held {line['quantity']} of it at {now} each; it was added at {then}."


def _entry_told(name: str, envelope: Envelope, price: str, entry: Document) -> str:
    step = next((word for word, mark in STEPS.items() if mark in envelope.metadata), None)
    if isinstance(envelope.event, PriceUpdated):
        if step is not None:
            return f"with this {step} the price of {name} was {price} again"
        before = money(envelope.event.old_price_cents, entry["currency"])
        reason = f" ({envelope.event.reason})" if envelope.event.reason else ""
        return f"the price of {name} changed from {before} to {price}{reason}"
    if isinstance(envelope.event, ItemAdded):
        if step is not None:
            return f"the shopper's {step} brought {name} back into the cart, first added at {price} each"
        return f"{name} was put into the cart at {price} each"
    by = f" by the shopper's {step}" if step is not None else ""
    return f"{name} was taken out of the cart{by}; it cost {price} then"


def _order_told(order: Document | None) -> Iterator[str]:
    if order is None:
        yield "No order was placed from this cart."
        return
    charged, total = (money(order[key], order["currency"]) for key in ("chargedTotalCents", "cartTotalCents"))
    when, what, event = order["completedAt"], order["orderId"], order["version"]
    yield f"{when}: order {what} was placed and {charged} charged (event {event})."
    over = order["overchargedCents"]
    if over is None:
        yield "The cart's lines were in several currencies, so it had no single total."
    elif over == 0:
        yield f"That is exactly the total of the cart, {total}, coupons included."
    else:
        difference, way = money(abs(over), order["currency"]), "more" if over > 0 else "less"
        yield f"The total of the cart was {total}: {difference} {way} was charged than shown."


def _limits(history: Sequence[Envelope]) -> Iterator[str]:
    """What the ledger cannot say about these events."""
    yield (
        "The ledger proves that these records have stood unchanged since they were sealed, and that none is missing "
        "between the first and the last. It cannot prove what a screen showed, only what the shop recorded."
    )
    late = [each for each in history if each.recorded_at is not None and each.recorded_at - each.timestamp > LATE]
    if late:
        numbers = ", ".join(str(each.version) for each in late[:SHOWN_EVENTS]) + (", ..." * (len(late) > SHOWN_EVENTS))
        yield (
            f"{len(late)} of {len(history)} events were recorded more than an hour after they happened, as imported "
            f"history is (events {numbers}). For these the ledger proves what the shop held on record from then on, "
            "not that the record was made at the time it names."
        )
