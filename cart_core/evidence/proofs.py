"""Proofs for the events of one cart, read from a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cart_core import ledger
from cart_core.errors import StoreCorrupt
from cart_core.events import Envelope
from cart_core.ledger import Proof, SealedBatch
from cart_core.store import CartStore
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Batch, Segment


def proofs_of(store: CartStore, history: Sequence[Envelope]) -> dict[int, Proof]:
    """The proof of each sealed event, by version; events that are not sealed yet have none.

    All lead to one head. Raises StoreCorrupt where the store does not hold an event as it was sealed.
    """
    with store.catalog.reading() as db:
        chain, live = catalog.batches(db), store.reader.segments(db)
    sealed = [each.sealed for each in chain]
    found: dict[int, Proof] = {}
    for segment in live:
        mine = {batch: _within(history, batch) for batch in chain if _holds(segment, batch)}
        if any(mine.values()):
            rows = _by_position(store.folder.read(segment))
            for batch, events in mine.items():
                if events:
                    part = rows.slice(batch.first_position - segment.first_position, batch.rows)
                    found.update(_in_batch(part, sealed, batch, events))
    return found


def unproved(store: CartStore, history: Sequence[Envelope]) -> list[int]:
    """The versions of the events that no batch holds yet: only sealing proves them."""
    with store.catalog.reading() as db:
        chain = catalog.batches(db)
    return [
        each.version
        for each in history
        if not any(batch.first_position <= (each.position or 0) <= batch.last_position for batch in chain)
    ]


def _holds(segment: Segment, batch: Batch) -> bool:
    """A batch lies in one segment: compaction joins whole ones."""
    return segment.first_position <= batch.first_position <= segment.last_position


def _within(history: Sequence[Envelope], batch: Batch) -> list[Envelope]:
    return [each for each in history if batch.first_position <= (each.position or 0) <= batch.last_position]


def _in_batch(
    rows: pa.Table, chain: Sequence[SealedBatch], batch: Batch, events: Sequence[Envelope]
) -> dict[int, Proof]:
    leaves = ledger.leaf_hashes(rows)
    keys = rows["user_key"].to_pylist()
    proofs: dict[int, Proof] = {}
    for event in events:
        index = (event.position or 0) - batch.first_position
        try:
            canonical = ledger.canonical(event, keys[index])
            proofs[event.version] = ledger.prove(canonical, index, leaves, chain, batch.batch)
        except (ValueError, IndexError) as error:
            raise StoreCorrupt(f"event {event.event_id} cannot be proved, run cart verify: {error}") from error
    return proofs


def _by_position(rows: pa.Table) -> pa.Table:
    return rows.take(pa.array(np.argsort(rows["position"].to_numpy())))
