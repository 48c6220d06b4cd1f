"""Events as they are made from what shoppers did, and the table of EVENTS that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.importers import ids
from cart_core.importers.ids import Bytes
from cart_core.schema import EVENTS

CONTENT = (
    "product_id",
    "quantity",
    "old_quantity",
    "price_cents",
    "old_price_cents",
    "coupon_code",
    "reason",
    "order_id",
    "total_cents",
)
FROM_ACT = {
    "product_name": "ItemAdded",
    "currency": "ItemAdded",
    "image_url": "ItemAdded",
    "discount_type": "CouponApplied",
    "discount_value": "CouponApplied",
}


class Made(NamedTuple):
    """One event: the act it comes from, which event of its source row it is (from 0), and what it says.

    A product's name, currency and image, and a coupon's type and value, are those of the act.
    """

    place: int
    nth: int
    cart_id: bytes
    version: int
    type: str
    product_id: str | None = None
    quantity: int | None = None
    old_quantity: int | None = None
    price_cents: int | None = None
    old_price_cents: int | None = None
    coupon_code: str | None = None
    reason: str | None = None
    order_id: str | None = None
    total_cents: int | None = None


class Note(NamedTuple):
    """A piece of metadata of the ``event``-th event."""

    event: int
    key: str
    value: str


def table_of(made: Sequence[Made], notes: Sequence[Note], acts: pa.Table, row_ids: Bytes, source: str) -> pa.Table:
    """Events as a table of EVENTS, in order; their metadata names the source and the session, and has the notes."""
    if not made:
        return EVENTS.empty_table()
    cells = dict(zip(Made._fields, zip(*made, strict=True), strict=True))
    places = np.array(cells["place"])
    origin = acts.select(["user_id", "at", "session", *FROM_ACT]).take(pa.array(places)).combine_chunks()
    types = pa.array(cells["type"])
    columns: dict[str, Any] = {name: pa.array(cells[name], EVENTS.field(name).type) for name in CONTENT}
    for name, kind in FROM_ACT.items():
        columns[name] = pc.if_else(pc.equal(types, kind), origin[name], pa.scalar(None, origin[name].type))
    columns |= {
        "event_id": ids.uuids(_event_ids(row_ids[places], np.array(cells["nth"]))),
        "cart_id": ids.uuids(ids.joined(cells["cart_id"])),
        "version": pa.array(cells["version"], pa.int32()),
        "user_id": origin["user_id"],
        "timestamp": origin["at"].cast(schema.UTC_MICROS),
        "type": types,
        "metadata": _metadata(origin["session"].combine_chunks(), notes, source),
    }
    nothing = {name: pa.nulls(len(made), EVENTS.field(name).type) for name in EVENTS.names if name not in columns}
    return pa.table([(columns | nothing)[name] for name in EVENTS.names], schema=EVENTS)


def _event_ids(row_ids: Bytes, nth: np.ndarray[Any, Any]) -> Bytes:
    """The first event of a row has the row's id, the others ids derived from it."""
    found = row_ids.copy()
    for place in np.flatnonzero(nth):
        found[place] = np.frombuffer(ids.named(row_ids[place].tobytes(), f"event {nth[place]}"), np.uint8)
    return found


def _metadata(sessions: pa.Array, notes: Sequence[Note], source: str) -> pa.Array:
    """One map for each event, keys in order."""
    events = len(sessions)
    known = np.flatnonzero(sessions.is_valid().to_numpy(zero_copy_only=False))
    owners = np.r_[np.arange(events), known, np.array([note.event for note in notes], np.int64)]
    keys = pa.array(["source"] * events + ["session"] * len(known) + [note.key for note in notes])
    told = pa.array([note.value for note in notes], pa.string())
    items = pa.concat_arrays([pa.array([source] * events), sessions.take(pa.array(known)), told])
    ranks = pc.rank(keys, tiebreaker="dense").to_numpy()
    order = pa.array(np.lexsort((ranks, owners)))
    ends = np.r_[0, np.cumsum(np.bincount(owners, minlength=events))].astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(ends), keys.take(order), items.take(order))
