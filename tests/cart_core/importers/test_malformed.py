from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cart_core.ingest import import_files
from cart_core.store import MemoryStore

SPOILT = (
    *("null", "true", "[]", "{}", '""', "[1]", '{"a": 1}', "-1", "0", "1.5", "NaN", "-Infinity", "1e400", "1e-400"),
    *("1e99999999", "-1e99999999", str(2**63), str(-(2**63)), str(10**40), "9" * 5_000, f'"{"9" * 5_000}"'),
    *('"NaN"', '"1e99999999"', '"-5"', '"12,5"', '"0"', '"2147483647"', '"9999999999"', '"\\u0000"', '"\\ud800"'),
    *(f'"{"x" * 5_000}"', '" "', '"dollars"', '"2026-01-01"', '"9999-12-31T23:59:59.999999-12:00"'),
)
"""JSON that a value may be spoilt to."""

PRODUCT = {"product_id": "p", "name": "Pencil", "price": 2.9, "quantity": 2, "currency": "EUR", "session_id": "s"}
CALL = {"type": "track", "messageId": "m", "anonymousId": "a", "userId": "u", "timestamp": "2026-01-01T00:00:00Z"}
SEGMENT = [
    CALL | {"event": "Product Added", "properties": PRODUCT | {"image_url": "https://shop.example/p.png"}},
    CALL | {"event": "Product Removed", "properties": PRODUCT},
    CALL | {"event": "Product Viewed", "properties": PRODUCT},
    CALL | {"event": "Coupon Applied", "properties": {"coupon_id": "TEN", "discount": 1, "currency": "EUR"}},
    CALL | {"event": "Order Completed", "properties": {"order_id": "o", "total": 2.9, "currency": "EUR"}},
]
ITEM = {"item_id": "p", "item_name": "Pencil", "price": 2.9, "quantity": 2}
PARAMETERS = [
    {"key": "ga_session_id", "value": {"int_value": 7}},
    {"key": "currency", "value": {"string_value": "EUR"}},
]
EVENT = {"user_pseudo_id": "v", "user_id": "u", "event_timestamp": 1_767_225_600_000_000, "event_params": PARAMETERS}
GA4 = [
    EVENT | {"event_name": "add_to_cart", "items": [ITEM]},
    EVENT | {"event_name": "remove_from_cart", "items": [ITEM]},
    EVENT | {"event_name": "view_item", "items": [ITEM]},
    EVENT | {"event_name": "purchase", "ecommerce": {"transaction_id": "o", "purchase_revenue": 2.9}},
]
LINE = {
    "variant_id": 11, "title": "Pencil", "price": "2.90", "quantity": 2,
    "price_set": {"shop_money": {"currency_code": "EUR"}},
}  # fmt: skip
STATE = {"currency": "EUR", "updated_at": "2026-01-01T00:00:00Z", "customer": {"id": 5}, "line_items": [LINE, LINE]}
CODES = [{"code": "TEN", "amount": "1.00", "type": "fixed_amount"}]
SHOPIFY = [
    {"topic": "carts/update", "payload": STATE | {"token": "t"}},
    {"topic": "checkouts/update", "payload": STATE | {"cart_token": "t", "discount_codes": CODES}},
    {
        "topic": "orders/create",
        "payload": STATE | {"cart_token": "t", "id": 9, "total_price": "2.90", "created_at": "2026-01-01T00:00:00Z"},
    },
]
SOURCES = {"segment": SEGMENT, "ga4": GA4, "shopify": SHOPIFY}


def spoilt(document: Any) -> Iterator[str]:
    """The document as JSON, each of its values spoilt in each way, and each of its keys left out once."""
    yield from SPOILT
    for key in document if isinstance(document, dict) else range(len(document)):
        for inner in spoilt(document[key]) if isinstance(document[key], dict | list) else SPOILT:
            yield json.dumps(_with(document, key, "<here>")).replace('"<here>"', inner)
        if isinstance(document, dict):
            yield json.dumps({name: value for name, value in document.items() if name != key})


def _with(document: Any, key: Any, value: Any) -> Any:
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[key] = value
    return changed


@pytest.mark.parametrize("source", sorted(SOURCES))
@pytest.mark.parametrize("cart_key", ["session", "user"])
def test_whatever_value_is_spoilt_every_row_is_accounted_for(tmp_path, source, cart_key):
    """Each row becomes events, is known, is a view, or is set aside by name; none ends the import."""
    rows = [text for document in SOURCES[source] for text in (json.dumps(document), *spoilt(document))]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{row}\n" for row in rows), "utf-8")
    store = MemoryStore()
    report = import_files(store, source, [path], folder=tmp_path, cart_key=cart_key).to_json()
    aside = report["set_aside"]
    assert report["rows"] == len(rows)
    assert report["event_rows"] + report["already_known"] + report["views"] + sum(aside.values()) == len(rows)
    assert report["events"] > 0
    assert {"not_json", "missing_field", "bad_value", "bad_price", "bad_quantity", "bad_currency"} <= set(aside)
