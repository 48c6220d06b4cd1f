"""Envelopes for tests in as few words as possible: ``history(ItemAdded(...), CheckoutStarted())``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from cart_core.events import Envelope, Event

CART = "00000000-0000-4000-8000-00000000000a"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cart_id(number: int) -> str:
    """The id of test cart ``number``: a version 4 UUID whose last byte, and so its bucket, is the number's."""
    return f"00000000-0000-4000-8000-{number:012x}"


def event_id(cart: str, version: int) -> str:
    """The id that the builders give the event of this cart and version."""
    return str(uuid5(UUID(cart), str(version)))


def envelope(
    event: Event,
    version: int = 1,
    *,
    cart: str = CART,
    user: str = "u1",
    at: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Envelope:
    """An event in its envelope; it happened ``version`` minutes after noon where ``at`` is not given."""
    moment = NOON + timedelta(minutes=version) if at is None else at
    return Envelope(event_id(cart, version), cart, user, moment, version, event, metadata or {})


def history(*events: Event, cart: str = CART, user: str = "u1", after: int = 0) -> list[Envelope]:
    """One cart's events, a minute apart, from version ``after + 1`` on."""
    return [envelope(event, version, cart=cart, user=user) for version, event in enumerate(events, after + 1)]
