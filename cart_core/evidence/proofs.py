"""Proofs for the events of one cart, read from a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cart_core import ledger
from cart_core.errors import StoreCorrupt
from cart_core.events import Envelope
from cart_core.ledger import Proof
from cart_core.store import CartStore, catalog
from cart_core.store.catalog import Batch, Connection


def proofs_of(store: CartStore, history: Sequence[Envelope]) -> dict[int, Proof]:
    """The proof of each sealed event, by version; events that are not sealed yet have none.

    All lead to one head. Raises StoreCorrupt where the store does not hold an event as it was sealed.
    """
    with store.catalog.reading() as db:
        chain = catalog.batches(db)
        found: dict[int, Proof] = {}
        for batch in chain:
            mine = [each for each in history if batch.first_position <= (each.position or 0) <= batch.last_position]
            if mine:
                found.update(_in_batch(store, db, chain, batch, mine))
    return found


def _in_batch(
    store: CartStore, db: Connection, chain: Sequence[Batch], batch: Batch, events: Sequence[Envelope]
) -> dict[int, Proof]:
    rows = _rows(store, db, batch)
    leaves = ledger.leaf_hashes(rows)
    keys = rows["user_key"].to_pylist()
    sealed = [each.sealed for each in chain]
    proofs: dict[int, Proof] = {}
    for event in events:
        index = (event.position or 0) - batch.first_position
        try:
            canonical = ledger.canonical(event, keys[index])
            proofs[event.version] = ledger.prove(canonical, index, leaves, sealed, batch.batch)
        except (ValueError, IndexError) as error:
            raise StoreCorrupt(f"event {event.event_id} cannot be proved, run cart verify: {error}") from error
    return proofs


def _rows(store: CartStore, db: Connection, batch: Batch) -> pa.Table:
    """All events of a batch, by position, with the number of their user."""
    parts = []
    for segment in store.reader.segments(db):
        if segment.first_position <= batch.last_position and segment.last_position >= batch.first_position:
            part = store.folder.read(segment)
            places = part["position"].to_numpy()
            inside = (places >= batch.first_position) & (places <= batch.last_position)
            parts.append(part.filter(pa.array(inside)))
    whole = pa.concat_tables(parts)
    return whole.take(pa.array(np.argsort(whole["position"].to_numpy())))
