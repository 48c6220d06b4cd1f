"""Google Analytics 4 as BigQuery exports it: one event a line, as JSON.

An event is known again by who, when, what and its place in the bundle. A cart is what is done in one session
(user_pseudo_id and ga_session_id) from one purchase to the next; with --cart-key user, by one user.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from cart_core.importers import acts, documents
from cart_core.importers.documents import Told, Unusable
from cart_core.importers.sources import ActBatch, Options

EVENTS = ("view_item", "add_to_cart", "remove_from_cart", "begin_checkout", "purchase")
ITEM_ACTS = {"view_item": acts.VIEW, "add_to_cart": acts.ADD, "remove_from_cart": acts.REMOVE}
IDENTITY = ("user_pseudo_id", "event_timestamp", "event_name", "event_bundle_sequence_id", "batch_event_index", "items")
EARLIEST_US, LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
TIME_RULE = "microseconds since 1970, in the years 1 to 9999"
VALUES = ("string_value", "int_value", "double_value", "float_value")


def batches(files: Sequence[str], options: Options) -> Iterator[ActBatch]:
    """What visitors did, streaming. Raises SourceError where a file cannot be read."""
    return documents.read_documents("ga4", files, options, tell)


def tell(document: dict[str, Any], options: Options) -> Told:
    """One event. Raises Unusable where it is about no cart, or lacks what it needs."""
    name = document.get("event_name")
    if name not in EVENTS:
        raise documents.no_cart_event("event_name", name, EVENTS)
    parameters = _parameters(document.get("event_params"))
    visitor = documents.first(document, "user_pseudo_id", "user_id")
    user_id = documents.text(documents.first(document, "user_id", "user_pseudo_id"), "user_pseudo_id", "bad_user")
    visit = parameters.get("ga_session_id")
    session = None if visit is None else _session(visitor, visit)
    if options.cart_key == "session" and session is None and name != "view_item":
        raise Unusable("no_session", "ga_session_id", None, "the number of a session")
    return Told(
        identity=json.dumps([document.get(each) for each in IDENTITY], default=str, sort_keys=True),
        key=user_id if options.cart_key == "user" else session or "",
        session=session,
        user_id=user_id,
        at=_micros(document.get("event_timestamp")),
        acts=_acts(str(name), document, parameters, options),
    )


def _session(visitor: object, visit: object) -> str:
    told = documents.text(visitor, "user_pseudo_id", "bad_user"), documents.text(visit, "ga_session_id", "bad_value")
    return documents.text(".".join(told), "ga_session_id", "bad_value")


def _acts(name: str, document: dict[str, Any], parameters: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    code = documents.currency(parameters.get("currency"), options)
    if name == "begin_checkout":
        return [{"act": acts.CHECKOUT}]
    if name == "purchase":
        told = documents.field(document, "ecommerce", "transaction_id")
        order = parameters.get("transaction_id") if told in (None, "") else told
        revenue = documents.field(document, "ecommerce", "purchase_revenue")
        total = documents.total_cents(parameters.get("value") if revenue is None else revenue, "purchase_revenue", code)
        order_id = documents.text(order, "transaction_id", "bad_value")
        return [{"act": acts.ORDER, "order_id": order_id, "total_cents": total}]
    items = document.get("items")
    if not isinstance(items, list) or not items:
        raise Unusable("missing_field", "items", items, "a list of at least one item")
    return [_item(name, item, code) for item in items]


def _item(name: str, item: object, code: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Unusable("bad_value", "items", item, "a list of objects")
    product = documents.text(documents.first(item, "item_id", "item_name"), "item_id", "bad_value")
    act: dict[str, Any] = {"act": ITEM_ACTS[name], "product_id": product}
    if name == "view_item":
        return act
    act |= {"quantity": documents.quantity(item.get("quantity"), "quantity"), "currency": code}
    if name == "remove_from_cart":
        return act
    return act | {
        "product_name": documents.text(documents.first(item, "item_name") or product, "item_name", "bad_value"),
        "price_cents": documents.price_cents(item.get("price"), "price", code),
    }


def _parameters(listed: object) -> dict[str, Any]:
    """Event parameters by key, each with the one value that is set."""
    return {
        each["key"]: next((each["value"][kind] for kind in VALUES if each["value"].get(kind) is not None), None)
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and isinstance(each.get("key"), str) and isinstance(each.get("value"), dict)
    }


def _micros(value: object) -> int:
    """The export's time: microseconds since 1970, as a number or as text."""
    number = documents.whole(value)
    if number is None or not EARLIEST_US <= number <= LATEST_US:
        raise Unusable("missing_field" if value is None else "bad_time", "event_timestamp", value, TIME_RULE)
    return number
