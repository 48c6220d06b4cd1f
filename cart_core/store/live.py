"""States of carts kept in memory: only the events that came since are read and folded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from cart_core.projector import CartFold, CartState
from cart_core.store import catalog
from cart_core.store.catalog import Catalog, Connection, State
from cart_core.store.reader import Reader
from cart_core.store.requests import Append

KEPT_CARTS = 10_000


@dataclass(slots=True)
class _Kept:
    """A cart as far as it was folded; it is the whole cart if ``seen`` is the present count of surprises."""

    fold: CartFold
    seen: int
    state: CartState | None = None


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

    def head(self, cart_id: bytes, state: State) -> int | None:
        """The version of a cart where the store stands at ``state``; None where it is not known."""
        with self._lock:
            kept = self._kept.get(cart_id)
            known = kept is not None and kept.seen == self._surprises and self._stands == _moment(state)
            return kept.fold.version if known and kept is not None else None

    def follow(self, before: State, position: int, written: Iterable[Append]) -> None:
        """Take in what this process wrote: it found the store at ``before`` and left it at ``position``."""
        with self._lock:
            if self._stands != _moment(before):
                self._surprises += 1
            self._stands = (position, before.generation)
            for append in written:
                kept = self._kept.get(append.cart_id)
                if kept is not None and kept.fold.version == append.expected_version:
                    for envelope in append.envelopes:
                        kept.fold.apply(envelope)
                    kept.seen, kept.state = self._surprises, None

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
            kept = self._kept[cart_id] = _Kept(CartFold(CartState.empty(str(UUID(bytes=cart_id)))), -1)
            if len(self._kept) > KEPT_CARTS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(cart_id)
        if kept.seen != self._surprises:
            self._catch_up(db, state, cart_id, kept)
            kept.seen = self._surprises if newest else -1
        if kept.state is None:
            kept.state = kept.fold.state()
        return kept.state

    def _catch_up(self, db: Connection, state: State, cart_id: bytes, kept: _Kept) -> None:
        if self._reader.head(db, cart_id, state.generation) > kept.fold.version:
            kept.state = None
            for envelope in self._reader.history(db, cart_id, kept.fold.version):
                kept.fold.apply(envelope)


def _moment(state: State) -> tuple[int, int]:
    """What tells one standing of the store from another: its last position and its generation."""
    return state.position, state.generation
