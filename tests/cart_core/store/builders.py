"""Small carts and batches to put into stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from cart_core.events import CouponApplied, Envelope, Event, ItemAdded, ItemRemoved, QuantityChanged

SPACE = UUID("00000000-0000-4000-8000-000000000000")
START = datetime(2026, 1, 1, tzinfo=UTC)
MUG = ItemAdded("mug", "Mug", 2, 2900, "USD")
POT = ItemAdded("pot", "Pot", 1, 4500, "USD")
MORE_MUGS = QuantityChanged("mug", 2, 5)
NO_MUG = ItemRemoved("mug")
TEN_OFF = CouponApplied("TEN", "percentage", 10)
LIFE: tuple[Event, ...] = (MUG, POT, MORE_MUGS, TEN_OFF, NO_MUG)


def named(name: str) -> str:
    """The UUID of a name: the same in every run."""
    return str(uuid5(SPACE, name))


def envelope(
    cart: str = "cart",
    version: int = 1,
    event: Event = MUG,
    *,
    minutes: int = 0,
    event_id: str | None = None,
    **more: object,
) -> Envelope:
    """An envelope of a named cart, its id made of cart and version."""
    return Envelope(
        event_id=event_id or named(f"{cart} {version}"),
        cart_id=named(cart),
        user_id=str(more.get("user", "ann")),
        timestamp=START + timedelta(minutes=minutes),
        version=version,
        event=event,
        metadata=more.get("metadata", {}),  # type: ignore[arg-type]
    )


def life(cart: str = "cart", user: str = "ann") -> list[Envelope]:
    """Five events of one cart, a minute apart."""
    return [envelope(cart, place, event, minutes=place, user=user) for place, event in enumerate(LIFE, 1)]


def versions(envelopes: list[Envelope]) -> list[int]:
    """The versions of envelopes, in order."""
    return [each.version for each in envelopes]
