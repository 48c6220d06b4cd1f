"""What a store knows of the keys of a click stream: their carts so far, and the purchases counted in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.events import CheckoutCompleted, Envelope
from cart_core.importers import ids
from cart_core.importers.carts import CartIds, Key, rows_in
from cart_core.projector import fold
from cart_core.store.base import Store


class KnownKeys:
    """The carts that a store has of some keys, read in one go."""

    def __init__(self, store: Store, cart_ids: CartIds, names: Sequence[str]) -> None:
        self._carts = dict(_carts(store, cart_ids, names))
        ids_of_all = [cart for found in self._carts.values() for cart in found]
        self._events = _read(store, ids_of_all) if ids_of_all else schema.EVENTS.empty_table()

    def purchases(self) -> set[tuple[str, str]]:
        """The (key, row) of every purchase row that a checkout names besides its first."""
        completed = pc.equal(self._events["type"], CheckoutCompleted.type)
        bought = self._events.select(["cart_id", "metadata"]).filter(completed)
        owners = {cart: name for name, found in self._carts.items() for cart in found}
        return {
            (owners[cart.tobytes()], row)
            for cart, metadata in zip(schema.id_bytes(bought["cart_id"]), bought["metadata"].to_pylist(), strict=True)
            for row in rows_in(metadata)
        }

    def states(self, names: Sequence[str]) -> dict[str, Key]:
        """Some of the keys, as their carts are now; those without carts are left out."""
        wanted = {name: self._carts[name] for name in names if name in self._carts}
        if not wanted:
            return {}
        carts = pa.array([cart for found in wanted.values() for cart in found], pa.binary(ids.ID_BYTES))
        mine = pc.is_in(self._events["cart_id"].combine_chunks().storage, carts)
        histories = _histories(self._events.filter(mine))
        return {name: _key(found, histories) for name, found in wanted.items()}


def _key(carts: Sequence[bytes], histories: dict[bytes, list[Envelope]]) -> Key:
    key = Key()
    for cart in carts:
        history = histories[cart]
        checkouts = [(each.event, each.timestamp) for each in history if isinstance(each.event, CheckoutCompleted)]
        key.take_up(cart, fold(history), [(event.order_id, at) for event, at in checkouts])
    return key


def _carts(store: Store, cart_ids: CartIds, names: Sequence[str]) -> Iterator[tuple[str, list[bytes]]]:
    """The keys that have carts, each with its carts in order: they are numbered without gaps."""
    asked = list(names)
    tried = cart_ids.first(asked)
    found: dict[str, list[bytes]] = {}
    ordinal = 1
    while asked:
        versions = store.heads(ids.uuids(tried))["version"].to_pylist()
        hits = [place for place, version in enumerate(versions) if version]
        for place in hits:
            found.setdefault(asked[place], []).append(tried[place].tobytes())
        ordinal += 1
        asked = [asked[place] for place in hits]
        tried = ids.joined([cart_ids.later(name, ordinal) for name in asked])
    yield from found.items()


def _read(store: Store, carts: Sequence[bytes]) -> pa.Table:
    return store.read_many(ids.uuids(ids.joined(carts)))


def _histories(events: pa.Table) -> dict[bytes, list[Envelope]]:
    """The events of each cart, by version."""
    ordered = sorted(schema.to_envelopes(events), key=lambda each: (each.cart_id, each.version))
    return {UUID(cart).bytes: list(history) for cart, history in groupby(ordered, lambda each: each.cart_id)}
