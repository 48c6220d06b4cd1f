"""What an import knows of carts while it reads what shoppers did: their ids, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import numpy as np
import pyarrow as pa

from cart_core import rules
from cart_core.importers import ids
from cart_core.importers.ids import Bytes
from cart_core.projector import CartState

SECOND_US = 1_000_000
ROW_CHARS = 16
ROWS_IN_A_TEXT = rules.TEXT_CHARS // (ROW_CHARS + 1)
ROWS = "rows"
"""The metadata of a CheckoutCompleted that names the purchase rows in it, besides its first."""

Order = str | int
"""What holds purchase rows together: the order's id, or the second."""


@dataclass(slots=True)
class Line:
    """A product in a basket."""

    quantity: int
    price_cents: int
    currency: str | None


@dataclass(slots=True)
class Basket:
    """One cart while its rows are read: its version, what is in it, and the order that closed it, if any."""

    cart_id: bytes
    version: int = 0
    lines: dict[str, Line] = field(default_factory=dict)
    coupons: dict[str, tuple[str, float]] = field(default_factory=dict)
    in_checkout: bool = False
    order_id: str = ""
    total_cents: int = 0

    @classmethod
    def of(cls, cart_id: bytes, state: CartState) -> Basket:
        """The basket of a cart as the store has it."""
        return cls(
            cart_id,
            state.version,
            {each.product_id: Line(each.quantity, each.price_cents, each.currency) for each in state.lines},
            {each.code: (each.discount_type, each.discount_value) for each in state.coupons},
            state.checkout_started_at is not None and state.checkout_started_at == state.last_activity_at,
            state.order_id or "",
            state.charged_total_cents or 0,
        )

    @property
    def default_order_id(self) -> str:
        """The id of an order that the source gives none: UUIDv5(cart, "order")."""
        return str(UUID(bytes=ids.named(self.cart_id, "order")))


@dataclass(slots=True)
class Key:
    """Everything known of one key: its open basket, if any, and its baskets closed by an order.

    ``baskets`` counts both; ``at`` is the last activity in any of them, in microseconds.
    """

    open: Basket | None = None
    closed: dict[Order, Basket] = field(default_factory=dict)
    baskets: int = 0
    at: int | None = None

    def take_up(self, cart_id: bytes, state: CartState, completed: Iterable[tuple[str, datetime]]) -> None:
        """Add the next basket of the key, as the store has it: its state, and the orders completed in it."""
        basket = Basket.of(cart_id, state)
        self.baskets += 1
        if state.last_activity_at is not None:
            self.at = max(self.at or 0, rules.to_micros(state.last_activity_at))
        self.open = None if state.status == "checked_out" else basket
        for order_id, at in completed:
            self.closed[order_id] = self.closed[rules.to_micros(at) // SECOND_US] = basket


class CartIds:
    """The ids of a key's carts: the first is the key itself where that is a UUID, all others are derived."""

    def __init__(self, source: str, cart_key: str) -> None:
        self._space = ids.namespace(source)
        self._cart_key = cart_key

    def first(self, keys: Sequence[str]) -> Bytes:
        """The first cart of every key, as (n, 16) bytes."""
        found, sound = ids.from_text(pa.array(keys, pa.string()))
        if self._cart_key == "user":
            sound[:] = False
        places = np.flatnonzero(~sound).tolist()
        found[places] = ids.named_all(self._space, [self._name(keys[place], 1) for place in places])
        return found

    def later(self, key: str, ordinal: int) -> bytes:
        """The ``ordinal``-th cart of a key, from 2."""
        return ids.named(self._space, self._name(key, ordinal).decode())

    def _name(self, key: str, ordinal: int) -> bytes:
        return f"{self._cart_key}:{key}/{ordinal}".encode()


def order_of(order_id: str | None, at: int) -> Order:
    """What holds a purchase row to the others of its order."""
    return order_id if order_id is not None else at // SECOND_US


def short(row_id: bytes) -> str:
    """A row's id as the metadata of a checkout names it."""
    return row_id.hex()[:ROW_CHARS]


def rows_in(metadata: Iterable[tuple[str, str]] | None) -> list[str]:
    """The further purchase rows that a checkout's metadata names."""
    return [row for key, value in metadata or () if key.partition(".")[0] == ROWS for row in value.split()]
