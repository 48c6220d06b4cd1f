"""What a product cost in a cart, and when: the price history of a line, and its price at a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from cart_core import rules
from cart_core.events import Envelope, ItemAdded, ItemRemoved, PriceUpdated
from cart_core.projector.one import CartFold


def price_history(envelopes: Iterable[Envelope], product_id: str) -> dict[str, Any]:
    """Every price that a product had while it stood in a cart, from the cart's events in any order.

    The document of ``cart price-history``: ``{"productId", "priceHistory": [{"type", "timestamp", "priceCents",
    "currency", "version", "eventId"}]}`` in version order. An ItemAdded and a PriceUpdated of a standing line set the
    price; an ItemRemoved of one ends it and names the price that the line had when it left. Events of the product
    while it was not in the cart changed nothing and are left out. A product never added has an empty history.
    """
    entries = [
        {
            "type": envelope.event.type,
            "timestamp": rules.format_time(envelope.timestamp),
            "priceCents": price_cents,
            "currency": currency,
            "version": envelope.version,
            "eventId": envelope.event_id,
        }
        for envelope, price_cents, currency in _moments(envelopes, product_id)
    ]
    return {"productId": product_id, "priceHistory": entries}


def was_price_at(envelopes: Iterable[Envelope], product_id: str, at: datetime) -> int | None:
    """The price per unit in minor units that a product had in a cart at a moment, or None where it was not in it.

    ``at`` is inclusive and carries a zone. What happened later counts for nothing, whatever its version.
    """
    folded = CartFold()
    for envelope in sorted(envelopes, key=lambda each: each.version):
        if envelope.timestamp <= at:
            folded.apply(envelope)
    line = folded.state().line(product_id)
    return None if line is None else line.price_cents


def _moments(envelopes: Iterable[Envelope], product_id: str) -> Iterator[tuple[Envelope, int, str]]:
    """Each event that touched the product's price, with the price and currency that it left or took away."""
    price: tuple[int, str] | None = None
    for envelope in sorted(envelopes, key=lambda each: each.version):
        event = envelope.event
        if getattr(event, "product_id", None) != product_id:
            continue
        if isinstance(event, ItemAdded):
            price = (event.price_per_unit_cents, event.currency)
        elif isinstance(event, PriceUpdated) and price is not None:
            price = (event.new_price_cents, price[1])
        elif not (isinstance(event, ItemRemoved) and price is not None):
            continue
        yield envelope, *price
        if isinstance(event, ItemRemoved):
            price = None
