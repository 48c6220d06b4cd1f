"""Tables at rest, batches and a small ledger for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from cart_core import ledger, schema
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.rules import to_micros
from tests.builders import NOON, envelope

EVERY_TYPE: tuple[Event, ...] = (
    ItemAdded("p-0123", 'Mug "XL"\n', 2, 2900, "USD", "https://shop.example/mug.png"),
    ItemAdded("p-0124", "", 1, 2**63 - 1, "JPY"),
    ItemRemoved("p-0123"),
    QuantityChanged("Späti-🛒", -(2**31), 5),
    CouponApplied("SAVE", "percentage", 33.3333),
    CouponApplied("SAVE", "fixed", 500),
    CouponRemoved("SAVE"),
    CouponRemoved("SAVE", "expired"),
    PriceUpdated("p-0123", 0, 2500, ""),
    CartAbandoned(NOON - timedelta(days=800_000 // 400, microseconds=1)),
    CheckoutStarted(),
    CheckoutCompleted("o-1", -(2**63)),
)


def at_rest(envelopes: Sequence[Envelope], user_keys: Sequence[int]) -> pa.Table:
    """Envelopes as a table with ``user_key`` in place of ``user_id``."""
    table = schema.to_table(envelopes)
    place = table.schema.get_field_index("user_id")
    return table.set_column(place, "user_key", pa.array(user_keys, pa.int64()))


def every_type(metadata: dict[str, str] | None = None) -> list[Envelope]:
    """One cart with an event of every type, and of every optional field with and without it."""
    known = {"source": "web", "session": "s-1"} if metadata is None else metadata
    return [envelope(event, version, metadata=known) for version, event in enumerate(EVERY_TYPE, 1)]


def chained(*batches: ledger.SealedBatch) -> list[ledger.SealedBatch]:
    """The batches with their numbers, each linked to the one before it."""
    linked: list[ledger.SealedBatch] = []
    for number, batch in enumerate(batches, 1):
        previous = linked[-1].entry if linked else ledger.GENESIS
        linked.append(replace(batch, batch=number, previous=previous))
    return linked


def sealed(leaves: np.ndarray, first_position: int) -> ledger.SealedBatch:
    """A batch over these leaves, recorded and sealed at noon."""
    noon_us = to_micros(NOON)
    recorded = ledger.recorded_hash(np.full(len(leaves), noon_us))
    return ledger.SealedBatch(1, first_position, len(leaves), ledger.merkle_root(leaves), recorded, noon_us)


def small_ledger(sizes: Sequence[int]) -> tuple[list[Envelope], list[np.ndarray], list[ledger.SealedBatch]]:
    """Events, leaves by batch, and the chain of batches of these sizes; the user's key is 7."""
    envelopes = [envelope(EVERY_TYPE[place % len(EVERY_TYPE)], place + 1) for place in range(sum(sizes))]
    leaves, batches, start = [], [], 0
    for size in sizes:
        part = envelopes[start : start + size]
        leaves.append(ledger.leaf_hashes(at_rest(part, [7] * size)))
        batches.append(sealed(leaves[-1], start + 1))
        start += size
    return envelopes, leaves, chained(*batches)
