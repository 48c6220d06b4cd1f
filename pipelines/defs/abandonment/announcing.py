"""Telling carts that they are abandoned: CartAbandoned events, each under the version that was decided on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import polars as pl
import pyarrow as pa

from cart_core.errors import StoreError
from cart_core.schema import EVENTS
from cart_core.store.at_rest import FORGOTTEN
from cart_core.store.base import Store
from pipelines.derive.abandonment import COLUMNS, due

GROUP, LARGE_GROUP = 1_000, 200_000
MANY = 20_000
"""More carts than an hour's are told in large groups, which become segments at once and never lie in the journal."""
METADATA = {"source": "abandonment"}


@dataclass(frozen=True, slots=True)
class Announced:
    """``appended`` carts were told; ``skipped`` ones changed in the meantime, so that their shoppers win."""

    appended: int
    skipped: int


def announce(store: Store, as_of: datetime, idle: timedelta) -> Announced:
    """Append CartAbandoned to every cart that is due at a moment, unless its shopper acts first.

    Each event expects the version that was decided on; whoever wrote in between has won, and the cart is left alone.
    So are the carts of shoppers who were forgotten. Groups of events are written whole or not at all, so a crash
    leaves carts told or untold, and the next run tells the rest: a cart that was told is not due. Raises what the
    store raises.
    """
    told = [announce_to(store, due(events, as_of, idle), as_of) for events in store.batches(COLUMNS)]
    return Announced(sum(each.appended for each in told), sum(each.skipped for each in told))


def announce_to(store: Store, carts: pl.DataFrame, as_of: datetime) -> Announced:
    """``announce`` for carts that were found to be due, some of which may have changed since."""
    known = carts.filter(~pl.col("user_id").str.starts_with(FORGOTTEN))
    rows = GROUP if known.height <= MANY else LARGE_GROUP
    told = [_told(store, group, as_of) for group in known.iter_slices(rows)]
    return Announced(sum(each.appended for each in told), sum(each.skipped for each in told))


def _told(store: Store, carts: pl.DataFrame, as_of: datetime) -> Announced:
    """One group. Raises StoreError where anything but a lost race kept an event out, naming the cart."""
    answer = store.admit(_events(carts, as_of))
    for refused in answer.refused.to_pylist():
        if refused["reason"] != "version_conflict":
            cart = carts["cart_id"][refused["row"]]
            raise StoreError(f"cart {cart} could not be told that it is abandoned: {refused['detail']}")
    return Announced(answer.appended, len(answer.refused))


def _events(carts: pl.DataFrame, as_of: datetime) -> pa.Table:
    """One CartAbandoned for each cart, under the version after the one that was decided on; columns of EVENTS."""
    rows = carts.height
    cells = {
        "event_id": pa.array([uuid4().bytes for _ in range(rows)], pa.uuid()),
        "cart_id": carts["cart_id"].to_arrow(),
        "version": (carts["version"] + 1).to_arrow(),
        "user_id": carts["user_id"].to_arrow(),
        "timestamp": pa.array([as_of] * rows, EVENTS.field("timestamp").type),
        "type": pa.array(["CartAbandoned"] * rows),
        "last_activity_at": carts["last_activity_at"].to_arrow(),
        "metadata": pa.array([METADATA] * rows, EVENTS.field("metadata").type),
    }
    return pa.table({each.name: cells.get(each.name, pa.nulls(rows, each.type)) for each in EVENTS})
