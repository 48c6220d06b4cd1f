"""What a store knows of the keys of a click stream: their carts so far, and the purchases counted in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

import numpy as np

from cart_core import schema
from cart_core.events import CheckoutCompleted, Envelope
from cart_core.importers import ids
from cart_core.importers.carts import CartIds, Key, rows_in
from cart_core.projector import fold
from cart_core.store.base import Store


@dataclass(frozen=True, slots=True)
class Known:
    """``keys`` that the store has carts of, and ``purchases``: the (key, row) that its checkouts name."""

    keys: dict[str, Key] = field(default_factory=dict)
    purchases: set[tuple[str, str]] = field(default_factory=set)


def known_keys(store: Store, cart_ids: CartIds, names: Sequence[str]) -> Known:
    """Everything that a store knows of keys, for rows to be decided on top of."""
    carts = dict(_carts(store, cart_ids, names))
    known = Known()
    if not carts:
        return known
    histories = _histories(store, [cart for found in carts.values() for cart in found])
    for name, found in carts.items():
        key = known.keys[name] = Key()
        for cart in found:
            history = histories[cart]
            checkouts = [each for each in history if isinstance(each.event, CheckoutCompleted)]
            key.take_up(cart, fold(history), [(each.event.order_id, each.timestamp) for each in checkouts])
            known.purchases.update((name, row) for each in checkouts for row in rows_in(each.metadata.items()))
    return known


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
        tried = np.frombuffer(b"".join(cart_ids.later(name, ordinal) for name in asked), np.uint8).reshape(-1, ids.ID_BYTES)
    yield from found.items()


def _histories(store: Store, carts: Sequence[bytes]) -> dict[bytes, list[Envelope]]:
    """The events of carts, each cart's by version."""
    events = store.read_many(ids.uuids(np.frombuffer(b"".join(carts), np.uint8).reshape(-1, ids.ID_BYTES)))
    ordered = sorted(schema.to_envelopes(events), key=lambda each: (each.cart_id, each.version))
    return {UUID(cart).bytes: list(history) for cart, history in groupby(ordered, lambda each: each.cart_id)}

