"""Carts for tests: envelopes out of events and commands, one event a minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from cart_core.commands import Decision
from cart_core.events import Envelope, Event
from cart_core.projector import CartState, Line, fold

CART = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: int) -> datetime:
    """The moment of a cart's event of that version."""
    return START + timedelta(minutes=minute)


class History:
    """A cart's envelopes as they grow, one command after another."""

    def __init__(self, cart_id: str = CART) -> None:
        self.cart_id = cart_id
        self.envelopes: list[Envelope] = []
        self.commands = 0

    @property
    def state(self) -> CartState:
        """The cart as it stands."""
        return fold(self.envelopes) if self.envelopes else CartState.empty(self.cart_id)

    def foreign(self, *events: Event) -> History:
        """Append events as another system wrote them: without a command id."""
        return self.write(list(events), {})

    def command(self, decision: Decision) -> Decision:
        """Append what was decided, as one command."""
        self.commands += 1
        for event, metadata in zip(decision.events, decision.metadata, strict=True):
            self._append(event, {**metadata, "command_id": f"c{self.commands}"})
        return decision

    def write(self, events: list[Event], metadata: Mapping[str, str]) -> History:
        """Append events with this metadata and nothing else."""
        for event in events:
            self._append(event, metadata)
        return self

    def _append(self, event: Event, metadata: Mapping[str, str]) -> None:
        version = len(self.envelopes) + 1
        event_id = str(uuid5(UUID(self.cart_id), str(version)))
        self.envelopes.append(Envelope(event_id, self.cart_id, "u1", at(version), version, event, metadata))


def cart_of(*events: Event, cart_id: str = CART) -> CartState:
    """The cart of these events, as another system wrote them."""
    return History(cart_id).foreign(*events).state


def line_of(state: CartState, product_id: str = "soap") -> Line:
    """The product's line, which must be there."""
    line = state.line(product_id)
    assert line is not None
    return line
