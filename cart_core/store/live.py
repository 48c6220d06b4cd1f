"""States of carts kept in memory: only the events that came since are read and folded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from uuid import UUID

from cart_core.projector import CartFold, CartState
from cart_core.store import catalog
from cart_core.store.catalog import Catalog
from cart_core.store.reader import Reader

KEPT_CARTS = 10_000


class LiveStates:
    """The latest state of recently read carts, never behind the store: each read asks for the cart's version first."""

    def __init__(self, catalog_: Catalog, reader: Reader) -> None:
        self._catalog = catalog_
        self._reader = reader
        self._kept: OrderedDict[bytes, tuple[CartFold, CartState]] = OrderedDict()
        self._users = -1
        self._lock = threading.Lock()

    def get(self, cart_id: bytes) -> CartState:
        """The state of a cart as of the moment of the call."""
        with self._catalog.reading() as db, self._lock:
            self._drop_after_forgetting(catalog.forgotten(db))
            kept = self._kept.get(cart_id)
            head = self._reader.head(db, cart_id)
            if kept is not None and kept[1].version == head:
                self._kept.move_to_end(cart_id)
                return kept[1]
            fold = kept[0] if kept is not None else CartFold(CartState.empty(str(UUID(bytes=cart_id))))
            if head == 0:
                return fold.state()
            for envelope in self._reader.history(db, cart_id, fold.version):
                fold.apply(envelope)
            self._keep(cart_id, fold)
            return self._kept[cart_id][1]

    def _keep(self, cart_id: bytes, fold: CartFold) -> None:
        self._kept[cart_id] = (fold, fold.state())
        self._kept.move_to_end(cart_id)
        while len(self._kept) > KEPT_CARTS:
            self._kept.popitem(last=False)

    def _drop_after_forgetting(self, forgotten: int) -> None:
        if forgotten != self._users:
            self._kept.clear()
            self._users = forgotten
