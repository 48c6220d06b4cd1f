"""What callers may ask of the service, on whose behalf, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cart_core.commands import Command, Strategy

KEY_DIGITS = 32
KEY_NOTE = "idempotency_key"
REQUEST_NOTE = "request"


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: a user by the shop's id; ``any_cart`` for the shop's own services, ``may_read`` for its support."""

    user_id: str
    any_cart: bool = False
    may_read: bool = False


SHOP = Who("shop", any_cart=True)
"""The shop itself: price changes, expiries."""


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back the shopper's last command."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Carry out again what was taken back last."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One command for one cart.

    ``if_version`` refuses it where the cart is not at that version. ``key`` makes a repeated ask give the first
    answer, for ever and whichever process gets it; it is kept on the command's last event, as a hash.
    ``timestamp`` is when it happened; None is now.
    """

    cart_id: str
    what: Command | Undo | Redo
    who: Who
    if_version: int | None = None
    key: str | None = None
    timestamp: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cart_id", self.cart_id.lower())


@dataclass(frozen=True, slots=True)
class MergeAsk:
    """Bring the cart ``from_cart_id`` into ``cart_id``; ``guest`` is who owns the former, if it is not ``who``."""

    cart_id: str
    from_cart_id: str
    strategy: Strategy
    who: Who
    guest: Who | None = None
    if_version: int | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cart_id", self.cart_id.lower())
        object.__setattr__(self, "from_cart_id", self.from_cart_id.lower())


@dataclass(frozen=True, slots=True)
class Answer:
    """The cart's version after the command, and the metadata of the command's last event."""

    version: int
    notes: Mapping[str, str] = field(default_factory=dict)


REFUSALS: dict[str, str] = {
    "unknown_cart": "there is no such cart, or it is somebody else's",
    "stale_version": "the cart is not at the version that the request expects",
    "idempotency_key_reused": "the idempotency key was used for another request on this cart",
    "price_mismatch": "the price is not the one in the shop's catalogue",
    "not_in_catalogue": "the shop's catalogue has no price for the product",
}
"""Every refusal of the service beside those of the commands: its code and what it says."""


def key_mark(key: str) -> str:
    """What is kept of an idempotency key: a hash, since a key might name a person."""
    return sha256(key.encode()).hexdigest()[:KEY_DIGITS]


def request_mark(ask: Ask | MergeAsk) -> str:
    """A hash of what was asked, to tell a retry from another request under the same key."""
    what = (ask.from_cart_id, ask.strategy) if isinstance(ask, MergeAsk) else ask.what
    return sha256(repr(what).encode()).hexdigest()[:KEY_DIGITS]
