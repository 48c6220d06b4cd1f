"""One cart's life as listings: its state at a moment, its events with what undid what, and its prices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

import polars as pl

from cart_core import rules
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.prices import price_history
from cart_core.projector import CartState, Line
from pipelines.dashboard import detail_listings, page, words
from pipelines.dashboard.listings import Column, listed, listing, number
from pipelines.tables.contract import COUNT, MOMENT, SMALL, TEXT

STATUS = {"active": "active", "abandoned": "abandoned", "checked_out": "checked out"}
MARKS = {"undoes": "undo", "redoes": "redo"}


def lead(state: CartState, history: Sequence[Envelope]) -> str:
    """Whose cart it is, what became of it, and when."""
    began, ended = history[0].timestamp, max(each.timestamp for each in history)
    return (
        f"{state.user_id or 'A shopper who was forgotten'}; {STATUS[state.status]}; {words.moment(began)} to "
        f"{words.moment(ended)}."
    )


def told(history: Sequence[Envelope], version: int) -> str:
    """What the event of a version did."""
    event = next(each for each in history if each.version == version)
    return (
        f'<p class="verdict"><b>{escape(kind(event))}</b> {escape(detail(event, names_of(history)))} '
        f'<span class="aside">event {version}, {words.moment(event.timestamp)}</span></p>'
    )


def kind(envelope: Envelope) -> str:
    """An event's type as words: ItemAdded is Item added; what an undo or a redo wrote says so."""
    name = re.sub(r"(?<=[a-z])([A-Z])", lambda found: " " + found.group(1).lower(), envelope.event.type)
    marks = [word for mark, word in MARKS.items() if mark in (envelope.metadata or {})]
    return name + "".join(f" ({word})" for word in marks)


def detail(envelope: Envelope, names: Mapping[str, str]) -> str:
    """What an event says, in words; ``names`` are those of the cart's products."""
    told = ""
    match envelope.event:
        case ItemAdded() as added:
            price = words.money(added.price_per_unit_cents, added.currency)
            told = f"{added.quantity} {words.TIMES} {added.product_name} at {price}"
        case ItemRemoved() as removed:
            told = _name(names, removed.product_id)
        case QuantityChanged() as changed:
            told = f"{_name(names, changed.product_id)} from {changed.old_quantity} to {changed.new_quantity}"
        case PriceUpdated() as updated:
            old, new = words.money(updated.old_price_cents), words.money(updated.new_price_cents)
            told = f"{_name(names, updated.product_id)} from {old} to {new} ({updated.reason})"
        case CouponApplied() as applied:
            told = f"{applied.coupon_code}: {taken_off(applied.discount_type, applied.discount_value)}"
        case CouponRemoved() as gone:
            told = gone.coupon_code + (f" ({gone.reason})" if gone.reason else "")
        case CheckoutCompleted() as completed:
            told = f"order {completed.order_id}, charged {words.money(completed.total_cents)}"
        case CartAbandoned() as silent:
            told = f"nothing since {words.moment(silent.last_activity_at)}"
    return told


def taken_off(kind_of: str, value: float) -> str:
    """What a coupon takes off, in words."""
    return f"{value:g} % off" if kind_of == "percentage" else f"{words.money(value)} off"


def names_of(history: Sequence[Envelope]) -> dict[str, str]:
    """The latest name of every product that was ever in the cart, by its id."""
    return {each.event.product_id: each.event.product_name for each in history if isinstance(each.event, ItemAdded)}


def _name(names: Mapping[str, str], product_id: str) -> str:
    return names.get(product_id, product_id)


def state(cart: CartState) -> str:
    """A cart's lines, coupons and totals."""
    if not cart.lines:
        return page.empty("The cart is empty at this moment.")
    rows = [_line(line) for line in cart.lines]
    labels = {"product": "Product", "quantity": "Pieces", "price": "Price now", "when": "When added", "sum": "Sum"}
    numbers = ("quantity", "price", "when", "sum")
    coupons = "".join(
        f' <span class="pill good">{escape(each.code)}: {taken_off(each.discount_type, each.discount_value)}</span>'
        for each in cart.coupons
    )
    amounts = (cart.subtotal_cents, cart.discount_cents, cart.total_cents)
    subtotal, discount, total = (words.money(each, cart.currency) for each in amounts)
    totals = f"<p>Subtotal {subtotal}, discount {discount}, <b>total {total}</b>{coupons}</p>"
    return listing(rows, labels, name="What is in the cart", numbers=numbers) + totals


def _line(line: Line) -> dict[str, str]:
    changed = line.price_cents - line.original_price_cents
    news = ""
    if changed:
        kind_of, word = ("good", "cheaper") if changed < 0 else ("warn", "dearer")
        news = f' <span class="pill {kind_of}">{words.money(abs(changed), line.currency)} {word}</span>'
    return {
        "product": f'<b>{escape(line.product_name)}</b>{news}<span class="aside">{escape(line.product_id)}, added '
        f"{words.moment(line.added_at)}</span>",
        "quantity": words.count(line.quantity),
        "price": words.money(line.price_cents, line.currency),
        "when": words.money(line.original_price_cents, line.currency),
        "sum": words.money(line.price_cents * line.quantity, line.currency),
    }


def events(history: Sequence[Envelope], version: int) -> str:
    """Every event of a cart; what was written by an undo or a redo is marked, and so is the one looked at."""
    names = names_of(history)
    return listed(
        "Events",
        history,
        {
            "version": number("#", lambda each: f"{each.version}{' ◂' if each.version == version else ''}"),
            "at": Column("Happened", lambda each: words.moment(each.timestamp)),
            "kind": Column("Event", _marked),
            "detail": Column("What", lambda each: escape(detail(each, names)) or words.NOTHING),
            "look": Column("Look", lambda each: detail_listings.cart_link(each.cart_id, each.version, "look")),
        },
    )


def _marked(envelope: Envelope) -> str:
    marks = [f'<span class="pill warn">{word}</span>' for mark, word in MARKS.items() if mark in envelope.metadata]
    return f"<b>{escape(kind(envelope).split(' (')[0])}</b> {' '.join(marks)}"


def event_rows(history: Sequence[Envelope]) -> pl.DataFrame:
    """The events as rows for a file: version, timestamp, type, what, undoes, redoes, event_id."""
    names = names_of(history)
    rows = [
        {
            "version": each.version,
            "timestamp": rules.format_time(each.timestamp),
            "type": each.event.type,
            "what": detail(each, names),
            **{mark: each.metadata.get(mark) for mark in MARKS},
            "event_id": each.event_id,
        }
        for each in history
    ]
    texts = dict.fromkeys(("timestamp", "type", "what", *MARKS, "event_id"), TEXT)
    return pl.DataFrame(rows, schema={"version": SMALL, **texts})


def price_points(history: Sequence[Envelope]) -> pl.DataFrame:
    """What each product cost and since when: product, at, price (major units), price_cents, currency, type, version."""
    names = names_of(history)
    rows = [
        {
            "product": names[product],
            "at": rules.parse_time(entry["timestamp"]),
            "price": entry["priceCents"] / 10 ** words.places(entry["currency"]),
            "price_cents": entry["priceCents"],
            "currency": entry["currency"],
            "type": entry["type"],
            "version": entry["version"],
        }
        for product in names
        for entry in price_history(history, product)["priceHistory"]
    ]
    schema = {"product": TEXT, "at": MOMENT, "price": pl.Float64(), "price_cents": COUNT, "currency": TEXT}
    return pl.DataFrame(rows, schema={**schema, "type": TEXT, "version": SMALL})


def until_now(points: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The same with a last point for each product that lay in the cart to the end, so that its price is a line."""
    last = points.sort("product", "version").unique("product", keep="last", maintain_order=True)
    still = last.filter(pl.col("type") != "ItemRemoved").with_columns(at=pl.lit(at, MOMENT))
    return pl.concat([points, still])


def prices_lead(points: pl.DataFrame) -> str:
    """How many products there were, and how many prices changed while they stood in the cart."""
    changes = points.filter(pl.col("type") == "PriceUpdated").height
    products = points["product"].n_unique()
    times = "once" if changes == 1 else f"{changes} times"
    return f"{products} {'product' if products == 1 else 'products'}; " + (
        f"the shop changed a price {times} while it lay here." if changes else "no price changed while it lay here."
    )


def price_table(points: pl.DataFrame) -> str:
    """The price history of every product."""
    words_of = {"ItemAdded": "added", "PriceUpdated": "price changed", "ItemRemoved": "removed"}
    return listed(
        "Price history",
        points.sort("product", "version").iter_rows(named=True),
        {
            "product": Column("Product", lambda row: f"<b>{escape(row['product'])}</b>"),
            "at": Column("Since", lambda row: words.moment(row["at"])),
            "what": Column("By", lambda row: words_of.get(row["type"], row["type"])),
            "price": number("Price of one", lambda row: words.money(row["price_cents"], row["currency"])),
            "version": number("Event", lambda row: str(row["version"])),
        },
    )


def carts(frame: pl.DataFrame) -> str:
    """Carts to choose from."""
    return listed(
        "Carts",
        frame.iter_rows(named=True),
        {
            "cart": Column("Cart", lambda row: detail_listings.cart_link(row["cart_id"], text=row["cart_id"])),
            "user": Column("Shopper", lambda row: escape(row["user_id"] or "forgotten")),
            "status": Column("State", lambda row: escape(_status(row))),
            "last": Column("Last event", lambda row: words.moment(row["last_event_at"])),
            "events": number("Events", lambda row: words.count(row["version"])),
            "total": number("Total", lambda row: words.money(row["total_cents"], row["currency"])),
        },
    )


def _status(row: Mapping[str, Any]) -> str:
    return f"order {row['order_id']}" if row["order_id"] else STATUS[row["status"]]
