"""Segment's e-commerce events: `track` calls as JSON, one a line, as a warehouse or storage destination keeps them.

A call is known again by its messageId, so that a retry adds nothing. A cart is what one visitor (anonymousId, or
userId where there is none) does from one order to the next; with --cart-key user, one userId.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cart_core.importers import acts, documents
from cart_core.importers.documents import Told, Unusable
from cart_core.importers.sources import ActBatch, Options

EVENTS = (
    "Product Viewed",
    "Product Added",
    "Product Removed",
    "Checkout Started",
    "Coupon Applied",
    "Coupon Removed",
    "Order Completed",
)


def batches(files: Sequence[str], options: Options) -> Iterator[ActBatch]:
    """What visitors did, streaming. Raises SourceError where a file cannot be read."""
    return documents.read_documents("segment", files, options, tell)


def tell(document: dict[str, Any], options: Options) -> Told:
    """One call. Raises Unusable where it is about no cart, or lacks what its event needs."""
    name = document.get("event")
    if document.get("type", "track") != "track" or name not in EVENTS:
        shown = name if name is not None else document.get("type")
        raise documents.no_cart_event("event", shown, EVENTS)
    visitor, user = document.get("anonymousId"), document.get("userId")
    user_id = documents.text(user or visitor, "userId", "bad_user")
    key = user_id if options.cart_key == "user" else documents.text(visitor or user, "anonymousId", "bad_user")
    visit = documents.field(document, "properties", "session_id") or documents.field(document, "context", "sessionId")
    return Told(
        identity=documents.text(document.get("messageId"), "messageId", "bad_value"),
        key=key,
        session=key if visit is None else documents.text(visit, "session_id", "bad_value"),
        user_id=user_id,
        at=documents.moment(documents.first(document, "timestamp", "originalTimestamp"), "timestamp"),
        acts=[_act(str(name), document.get("properties"), options)],
    )


def _act(name: str, properties: object, options: Options) -> dict[str, Any]:
    if not isinstance(properties, dict):
        raise Unusable("missing_field", "properties", properties, "an object")
    code = documents.currency(properties.get("currency"), options)
    if name.startswith("Product "):
        return _product(name, properties, code)
    if name == "Checkout Started":
        return {"act": acts.CHECKOUT}
    if name == "Order Completed":
        return {
            "act": acts.ORDER,
            "order_id": documents.text(properties.get("order_id"), "order_id", "bad_value"),
            "total_cents": documents.total_cents(documents.first(properties, "total", "revenue"), "total", code),
        }
    coupon = documents.text(documents.first(properties, "coupon_id", "coupon_name"), "coupon_id", "bad_coupon")
    if name == "Coupon Removed":
        return {"act": acts.UNCOUPON, "coupon_code": coupon, "reason": "shopper"}
    discount = documents.price_cents(properties.get("discount"), "discount", code)
    return {"act": acts.COUPON, "coupon_code": coupon, "discount_type": "fixed", "discount_value": float(discount)}


def _product(name: str, properties: dict[str, Any], code: str) -> dict[str, Any]:
    product = documents.text(documents.first(properties, "product_id", "sku"), "product_id", "bad_value")
    if name == "Product Viewed":
        return {"act": acts.VIEW, "product_id": product}
    units = documents.quantity(properties.get("quantity"), "quantity")
    act = {"product_id": product, "quantity": units, "currency": code}
    if name == "Product Removed":
        return act | {"act": acts.REMOVE}
    return act | {
        "act": acts.ADD,
        "product_name": documents.text(documents.first(properties, "name") or product, "name", "bad_value"),
        "price_cents": documents.price_cents(properties.get("price"), "price", code),
        "image_url": documents.url(properties.get("image_url")),
    }
