"""The pack as one page that a person can read, print and send: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from cart_core.evidence.story import STEPS, Document, money

SHOWN_FIELDS = {
    "productId": "product",
    "productName": "name",
    "quantity": "quantity",
    "oldQuantity": "quantity before",
    "newQuantity": "quantity",
    "pricePerUnitCents": "price each",
    "oldPriceCents": "price before",
    "newPriceCents": "price each",
    "totalCents": "charged",
    "currency": "currency",
    "couponCode": "coupon",
    "discountType": "kind",
    "discountValue": "value",
    "reason": "reason",
    "orderId": "order",
    "lastActivityAt": "last activity",
}
PRICE_WORDS = {"ItemAdded": "added", "PriceUpdated": "price set", "ItemRemoved": "removed"}


def page(document: Document) -> str:
    """The page of a pack, as HTML; the same document gives the same page."""
    name = document["products"][0]["productName"] if document["productId"] is not None else None
    order = document["order"]
    subject = f"What {name or document['productId']} cost" if document["productId"] is not None else "What was charged"
    currency = _currency(document)
    return Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=_text(subject),
        cart=_text(document["cartId"]),
        order=_text(order["orderId"] if order else "none"),
        made=_text(document["madeAt"]),
        head=_text(document["ledger"]["head"] if document["ledger"] else "nothing of this cart is sealed yet"),
        sentences=_list(document["sentences"]),
        prices=_rows(_prices(document["products"], _steps(document["events"]))),
        charged=_rows(_charge(order)) if order else "",
        events=_rows(_events(document["events"], currency)),
        limits=_list(document["limits"]),
        check=_text(document["howToCheck"]),
    )


def _steps(events: Sequence[Document]) -> dict[int, str]:
    """Which events, by version, were written by an undo or a redo."""
    marks = ((each["version"], each.get("metadata", {})) for each in events)
    return {version: f" ({word})" for version, notes in marks for word, mark in STEPS.items() if mark in notes}


def _prices(products: Sequence[Document], steps: dict[int, str]) -> Iterator[Sequence[Any]]:
    for product in products:
        for entry in product["priceHistory"]:
            yield (
                entry["timestamp"],
                product["productName"] or product["productId"],
                PRICE_WORDS[entry["type"]] + steps.get(entry["version"], ""),
                money(entry["priceCents"], entry["currency"]),
                entry["version"],
            )


def _charge(order: Document) -> Iterator[Sequence[Any]]:
    yield "the cart's lines", money(order["subtotalCents"], order["currency"])
    for coupon in order["coupons"]:
        value = coupon["discountValue"]
        percentage = coupon["discountType"] == "percentage"
        yield f"coupon {coupon['code']}", f"{value} %" if percentage else money(value, order["currency"])
    yield "discount", money(order["discountCents"], order["currency"])
    yield "the cart's total", money(order["cartTotalCents"], order["currency"])
    yield "charged", money(order["chargedTotalCents"], order["currency"])


def _events(events: Sequence[Document], currency: str | None) -> Iterator[Sequence[Any]]:
    for each in events:
        fields = {name: value for name, value in each["event"].items() if name in SHOWN_FIELDS}
        unit = each["event"].get("currency", currency)
        shown = ", ".join(
            f"{SHOWN_FIELDS[name]} {money(value, unit) if 'Cents' in name else value}" for name, value in fields.items()
        )
        yield each["version"], each["timestamp"], each["event"]["type"], shown, each["sealedAt"] or "not sealed yet"


def _currency(document: Document) -> str | None:
    known = {entry["currency"] for product in document["products"] for entry in product["priceHistory"]}
    return known.pop() if len(known) == 1 else None


def _rows(rows: Iterator[Sequence[Any]]) -> str:
    return "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"<li>{_text(text)}</li>" for text in texts)


def _text(value: object) -> str:
    return escape(str(value))
