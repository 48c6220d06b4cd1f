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
    wanted = schema.cart_keys(ids)
    events = _kept(history, folder / f"{NAME}.parquet", ids, list(dict.fromkeys(("cart_id", *columns))))
    keys = _keys(events)
    place = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    piece = np.where(wanted[place] == keys, place // PIECE_CARTS, -1)
    for number in range(piece.max(initial=-1) + 1):
        yield events.filter(pa.array(piece == number)).select(columns)


def _kept(history: History, path: Path, ids: Ids, columns: list[str]) -> pa.Table:
    """The events of these carts and maybe others, from the kept ones, which are brought up where they are not enough.

    The file is opened once, as another run may put its own in its place at any moment.
    """
    now = _notes(history)
    events = None
    with suppress(FileNotFoundError), pq.ParquetFile(path) as file:
        known = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
        if _adds_to(history, now, known):
            missing = _missing(file, ids)
            if not len(missing) and all(known[name] == value for name, value in now.items()):
                return file.read(columns)
            events = _brought_up(history, file.read(), int(known["position"]), ids, missing)
    if events is None:
        events = pa.concat_tables(history.of(ids, COLUMNS))
    files.keep(path, events, now)
    return events


def _notes(history: History) -> dict[str, str]:
    position = history.position()
    forgotten = str(history.store.forgotten())
    return {"position": str(position), "last_event_id": history.event_id(position), "forgotten": forgotten}


def _adds_to(history: History, now: dict[str, str], known: dict[str, str]) -> bool:
    """Whether the history holds what was known, unchanged, and maybe more."""
    position = int(known["position"])
    same = position <= int(now["position"]) and history.event_id(position) == known["last_event_id"]
    return same and known["forgotten"] == now["forgotten"]


def _missing(file: pq.ParquetFile, ids: Ids) -> Ids:
    """The carts among these that are not kept."""
    return ids[~np.isin(schema.cart_keys(ids), _keys(file.read(["cart_id"])))]


def _brought_up(history: History, kept: pa.Table, position: int, ids: Ids, missing: Ids) -> pa.Table:
    """The kept events and what came in after a position, and the events of the carts that are missing."""
    carts = np.unique(_keys(kept))
    if len(carts) + len(missing) > TIMES * len(ids):
        carts = np.intersect1d(carts, schema.cart_keys(ids))
        kept = _among(kept, carts)
    later = [_among(each, carts) for each in history.batches(COLUMNS, after=position)]
    read = list(history.of(missing, COLUMNS)) if len(missing) else []
    return pa.concat_tables([kept, *later, *read])


def _among(events: pa.Table, keys: Array) -> pa.Table:
    return events.filter(pa.array(np.isin(_keys(events), keys)))


def _keys(events: pa.Table) -> Array:
    return schema.cart_keys(schema.id_bytes(events["cart_id"]))
