"""Shopify's webhooks: carts and checkouts, which are states of a whole cart, and orders; JSON, one a line.

A line is a webhook's body, or ``{"topic": "carts/update", "payload": body}``. What changed from one state to the next
becomes events; a state older than the cart's last change is of no use. A cart is one cart token, whatever --cart-key
says. Lines without a price above 0 (free gifts) are no part of a cart here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from cart_core.importers import acts, documents, money
from cart_core.importers.documents import Told, Unusable
from cart_core.importers.sources import ActBatch, Options

TOPICS = ("carts/create", "carts/update", "checkouts/create", "checkouts/update", "orders/create")


def batches(files: Sequence[str], options: Options) -> Iterator[ActBatch]:
    """What became of carts, streaming. Raises SourceError where a file cannot be read."""
    return documents.read_documents("shopify", files, options, tell)


def tell(document: dict[str, Any], options: Options) -> Told:
    """One webhook. Raises Unusable where it is about no cart, or lacks what it needs."""
    topic, body = _topic(document)
    if topic not in TOPICS:
        raise documents.no_cart_event("topic", topic, TOPICS)
    kind = topic.partition("/")[0]
    name = "token" if kind == "carts" else "cart_token"
    key = documents.text(body.get(name), name, "bad_value")
    customer = documents.field(body, "customer", "id")
    times = ("created_at",) if kind == "orders" else ("updated_at", "created_at")
    return Told(
        identity=json.dumps([kind, body], sort_keys=True, default=str),
        key=key,
        session=None,
        user_id=f"guest-{key}" if customer is None else documents.text(customer, "customer.id", "bad_user"),
        at=documents.moment(documents.first(body, *times), times[0]),
        acts=_order(body, options) if kind == "orders" else _state(kind, body, options),
    )


def _topic(document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The topic of a webhook, told or guessed from its body, and the body."""
    body = document.get("payload")
    if isinstance(body, dict):
        return str(document.get("topic")), body
    if "order_number" in document or "financial_status" in document:
        return "orders/create", document
    if "cart_token" in document:
        return "checkouts/update", document
    return "carts/update" if "line_items" in document and "token" in document else "unknown", document


def _order(body: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    code = documents.currency(body.get("currency"), options)
    return [
        {
            "act": acts.ORDER,
            "order_id": documents.text(body.get("id"), "id", "bad_value"),
            "total_cents": documents.total_cents(body.get("total_price"), "total_price", code),
        }
    ]


def _state(kind: str, body: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    code = documents.currency(body.get("currency"), options)
    listed = body.get("line_items")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise Unusable("missing_field", "line_items", listed, "a list of objects")
    lines: dict[str, dict[str, Any]] = {}
    for each in listed:
        line = _line(each, code, options)
        if line is not None:
            known = lines.setdefault(line["product_id"], line | {"quantity": 0})
            known["quantity"] += line["quantity"]
    told = [*lines.values(), {"act": acts.KEEP, "products": list(lines)}]
    if kind == "carts":
        return told
    coupons = _coupons(body.get("discount_codes"), code)
    codes = [coupon["coupon_code"] for coupon in coupons]
    return [*told, *coupons, {"act": acts.KEEP_COUPONS, "products": codes}, {"act": acts.CHECKOUT}]


def _line(line: dict[str, Any], code: str, options: Options) -> dict[str, Any] | None:
    """A line of a cart; None for one without a price."""
    product = documents.text(documents.first(line, "variant_id", "product_id", "sku"), "variant_id", "bad_value")
    told = documents.field(line, "price_set", "shop_money", "currency_code")
    code = code if told in (None, "") else documents.currency(told, options)
    if money.minor_units(line.get("price"), code) == 0:
        return None
    title = documents.first(line, "title", "presentment_title") or product
    return {
        "act": acts.SET,
        "product_id": product,
        "product_name": documents.text(title, "title", "bad_value"),
        "quantity": documents.quantity(line.get("quantity"), "quantity"),
        "price_cents": documents.price_cents(line.get("price"), "price", code),
        "currency": code,
    }


def _coupons(listed: object, code: str) -> list[dict[str, Any]]:
    """Discount codes by what they take off, as Shopify tells it; those for shipping take nothing off the goods."""
    return [
        {
            "act": acts.SET_COUPON,
            "coupon_code": documents.text(each.get("code"), "discount_codes.code", "bad_coupon"),
            "discount_type": "fixed",
            "discount_value": float(documents.price_cents(each.get("amount"), "discount_codes.amount", code)),
        }
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and each.get("type") != "shipping"
        if money.minor_units(each.get("amount"), code) != 0
    ]
