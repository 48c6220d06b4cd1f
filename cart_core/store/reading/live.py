"""States of carts kept in memory: only the events that came since are read and folded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cart_core.events import Envelope
from cart_core.projector import CartFold, CartState
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog, Connection, State
from cart_core.store.reading.reader import Reader
from cart_core.store.requests import Append

KEPT_CARTS = 10_000
UNFOLDED_EVENTS = 50


@dataclass(slots=True)
class _Kept:
    """A cart up to a version; it is the whole cart if ``seen`` is the present count of surprises."""

    fold: CartFold
    version: int
    seen: int
    unfolded: list[Envelope] = field(default_factory=list)
    state: CartState | None = None

    def take(self, envelopes: Iterable[Envelope]) -> None:
        """Take in the next events; they are folded when somebody asks for the state, or when they are many."""
        self.unfolded.extend(envelopes)
        self.version, self.state = self.unfolded[-1].version, None
        if len(self.unfolded) > UNFOLDED_EVENTS:
            self._fold()

    def shown(self) -> CartState:
        """The state at that version."""
        if self.state is None:
            self._fold()
            self.state = self.fold.state()
        return self.state

    def _fold(self) -> None:
        for envelope in self.unfolded:
            self.fold.apply(envelope)
        self.unfolded.clear()


class LiveStates:
    """The latest state of recently read carts, never behind the store.

    Each read asks where the store stands. As long as it stands where it was left, nobody else has written, and what
    this process wrote was taken in: carts are answered from memory. Else each is first asked for its version.
    """

    def __init__(self, catalog_: Catalog, reader: Reader) -> None:
        self._catalog = catalog_
        self._reader = reader
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._stands = (0, 0)
        self._surprises = 0
        self._users = -1
        self._lock = threading.Lock()

    def get(self, cart_id: bytes) -> CartState:
        """The state of a cart as of the moment of the call, or a later one."""
        return self.get_many([cart_id])[0]

    def get_many(self, cart_ids: Sequence[bytes]) -> list[CartState]:
        """The states of carts as of the moment of the call, or a later one."""
        with self._catalog.reading() as db, self._lock:
            state = catalog.state(db)
            newest = self._stand_at(state)
            return [self._current(db, state, cart_id, newest=newest) for cart_id in cart_ids]

    def heads(self, cart_ids: Iterable[bytes], state: State) -> dict[bytes, int]:
        """The versions of those carts that are known where the store stands at ``state``."""
        with self._lock:
            if self._stands != _moment(state):
                return {}
            found = ((cart_id, self._kept.get(cart_id)) for cart_id in cart_ids)
            return {cart_id: kept.version for cart_id, kept in found if kept and kept.seen == self._surprises}

    def follow(self, before: State, position: int, written: Iterable[Append]) -> None:
        """Take in what this process wrote: it found the store at ``before`` and left it at ``position``."""
        with self._lock:
            if self._stands != _moment(before):
                self._surprises += 1
            self._stands = (position, before.generation)
            for append in written:
                kept = self._kept.get(append.cart_id)
                if kept is not None and kept.version == append.expected_version:
                    kept.take(append.envelopes)
                    kept.seen = self._surprises

    def _stand_at(self, state: State) -> bool:
        """Note where the store stands; False where this process has seen it further on already."""
        if state.forgotten > self._users:
            self._kept.clear()
            self._users = state.forgotten
        moment = _moment(state)
        if moment[0] < self._stands[0] or moment[1] < self._stands[1]:
            return False
        if moment != self._stands:
            self._stands = moment
            self._surprises += 1
        return True

    def _current(self, db: Connection, state: State, cart_id: bytes, *, newest: bool) -> CartState:
        kept = self._kept.get(cart_id)
        if kept is None:
            empty = CartState.empty(str(UUID(bytes=cart_id)))
            kept = self._kept[cart_id] = _Kept(CartFold(empty), 0, -1, state=empty)
            if len(self._kept) > KEPT_CARTS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(cart_id)
        if kept.seen != self._surprises:
            self._catch_up(db, state, cart_id, kept)
            kept.seen = self._surprises if newest else -1
        return kept.shown()

    def _catch_up(self, db: Connection, state: State, cart_id: bytes, kept: _Kept) -> None:
        if self._reader.head(db, cart_id, state.generation) > kept.version:
            kept.take(self._reader.history(db, cart_id, kept.version))


def _moment(state: State) -> tuple[int, int]:
    """What tells one standing of the store from another: its last position and its generation."""
    return state.position, state.generation
