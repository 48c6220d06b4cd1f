"""The events of the carts that were looked at last, kept on disk: a night's tables look at the same carts in turn.

Where some carts are looked up among many, most row groups of a store are read, however few carts they are. So what was
read once is kept under ``cache/by_cart``, with what has come in since, until other carts are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import schema
from cart_core.errors import StoreNotFound
from pipelines import files
from pipelines.shop import PIECE_CARTS, History, Ids

Array = np.ndarray[Any, np.dtype[Any]]

NAME = "recent"
LEFT_OUT = (*("event_id", "position", "recorded_at", "product_name", "image_url", "old_quantity", "old_price_cents"),)
COLUMNS = tuple(name for name in schema.EVENTS.names if name not in LEFT_OUT)
MOST_CARTS = 250_000
"""More carts than these are read in pieces and never held at once."""
TIMES = 2
"""The kept carts are as many times those asked for, at most; else only these are kept on."""


def events_of(history: History, folder: Path, ids: Ids, columns: Sequence[str]) -> Iterator[pa.Table]:
    """``History.of`` for carts, given as (n, 16) bytes, in order of their keys; carts that share one come together."""
    if not 0 < len(ids) <= MOST_CARTS or not set(columns) <= set(COLUMNS):
        yield from history.of(ids, columns)
        return
    path = folder / f"{NAME}.parquet"
    notes = _notes(history)
    if _known(path, history) != notes or len(_missing(path, ids)):
        files.keep(path, _brought_up(path, history, ids), notes)
    wanted = schema.cart_keys(ids)
    events = pq.read_table(path, columns=list(dict.fromkeys(("cart_id", *columns))))
    keys = _keys(events)
    place = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    piece = np.where(wanted[place] == keys, place // PIECE_CARTS, -1)
    for number in range(piece.max(initial=-1) + 1):
        yield events.filter(pa.array(piece == number)).select(columns)


def _notes(history: History) -> dict[str, str]:
    position = history.position()
    forgotten = str(history.store.forgotten())
    return {"position": str(position), "last_event_id": history.event_id(position), "forgotten": forgotten}


def _known(path: Path, history: History) -> dict[str, str] | None:
    """What the kept events were read of; None where there are none that these of the history only add to."""
    with suppress(StoreNotFound):
        notes = {name: value for name, value in files.notes_of(path).items() if name in _notes(history)}
        position = int(notes["position"])
        same = history.event_id(position) == notes["last_event_id"]
        if position <= history.position() and same and notes["forgotten"] == str(history.store.forgotten()):
            return notes
    return None


def _missing(path: Path, ids: Ids) -> Ids:
    """The carts among these that are not kept."""
    kept = np.unique(_keys(pq.read_table(path, columns=["cart_id"])))
    return ids[~np.isin(schema.cart_keys(ids), kept)]


def _brought_up(path: Path, history: History, ids: Ids) -> pa.Table:
    """The kept events and what came in since, and the events of these carts where they are not kept."""
    notes = _known(path, history)
    if notes is None:
        return pa.concat_tables(history.of(ids, COLUMNS))
    kept = pq.read_table(path)
    carts = np.unique(_keys(kept))
    missing = _missing(path, ids)
    if len(carts) + len(missing) > TIMES * len(ids):
        carts = np.intersect1d(carts, schema.cart_keys(ids))
        kept = _among(kept, carts)
    later = [_among(each, carts) for each in history.batches(COLUMNS, after=int(notes["position"]))]
    read = list(history.of(missing, COLUMNS)) if len(missing) else []
    return pa.concat_tables([kept, *later, *read])


def _among(events: pa.Table, keys: Array) -> pa.Table:
    return events.filter(pa.array(np.isin(_keys(events), keys)))


def _keys(events: pa.Table) -> Array:
    return schema.cart_keys(schema.id_bytes(events["cart_id"]))
