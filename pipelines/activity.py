"""The latest event of every cart, kept on disk: which carts changed since a position, and which are young still."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core import schema
from cart_core.errors import StoreNotFound
from cart_core.projector.streaming import in_order
from pipelines import files
from pipelines.keyed import Keyed
from pipelines.shop import History, ids_of

Array = np.ndarray[Any, np.dtype[Any]]

NAME = "activity"
COLUMNS = ("cart_id", "timestamp", "type", "position")
TIME_US = pl.col("timestamp").to_physical()
LATEST = {
    "latest_us": TIME_US.max(),
    "acted_us": TIME_US.filter(pl.col("type") != "CartAbandoned").max().fill_null(-(2**63)),
    "last_position": pl.col("position").max(),
}
AGAIN = {name: pl.col(name).max() for name in LATEST}


@dataclass(frozen=True, slots=True)
class Activity:
    """One entry per cart, in order of (key, id): ``ids`` are (n, 16) bytes.

    ``latest_us`` is the time of the cart's latest event, whichever version that has, ``acted_us`` that of its latest
    but for CartAbandoned, and ``last_position`` is where its last one stands.
    """

    ids: Array
    latest_us: Array
    acted_us: Array
    last_position: Array

    def stale(
        self, position: int, as_of_us: int, horizon_us: int, more: Array | None = None, *, announcements: bool = True
    ) -> Array:
        """Per cart whether an event stands after a position, happens after a moment, or is younger than a horizon then.

        Carts with keys among ``more`` are stale too. With ``announcements`` left out CartAbandoned alone makes none
        young. Carts that share their key are stale together, so that they can be told by it.
        """
        young = (self.latest_us if announcements else self.acted_us) > as_of_us - horizon_us
        found = (self.last_position > position) | (self.latest_us > as_of_us) | young
        keys = schema.cart_keys(self.ids)
        if more is not None and len(more):
            found |= np.isin(keys, more)
        shared = np.flatnonzero(keys[1:] == keys[:-1])
        if len(shared):
            found |= np.isin(keys, keys[shared][found[shared] | found[shared + 1]])
        return np.asarray(found)


def brought_up(history: History, folder: Path) -> Activity:
    """The activity of all carts in a history, from how it was kept in a folder; it is kept for the next time.

    Only events after the position that it was kept at are read; all are, where the store is another one. Where more
    events were known when it was kept, carts may look younger than they are.
    """
    path = folder / f"{NAME}.parquet"
    before = _kept(path, history)
    if before is not None and before[0] >= history.position():
        return _activity(before[1])
    later = _together([*in_order(_latest, history.batches(COLUMNS, after=before[0] if before else 0))])
    whole = later if before is None else _added(before[1], later)
    notes = {"position": str(history.position()), "last_event_id": history.event_id(history.position())}
    files.keep(path, whole, notes)
    return _activity(whole)


def _kept(path: Path, history: History) -> tuple[int, pl.DataFrame] | None:
    with suppress(StoreNotFound):
        notes = files.notes_of(path)
        position = int(notes["position"])
        if position <= history.store.position() and history.event_id(position) == notes["last_event_id"]:
            found = _read(path, path.stat().st_mtime_ns)
            return (position, found) if found.columns == ["cart_id", *LATEST] else None
    return None


@lru_cache(maxsize=1)
def _read(path: Path, _written_ns: int) -> pl.DataFrame:
    """A file as it stands, which the tables of a run ask for one after the other."""
    return pl.read_parquet(path)


def _latest(events: pa.Table) -> pl.DataFrame:
    rows = cast("pl.DataFrame", pl.from_arrow(events))
    return rows.group_by("cart_id").agg(**LATEST)


def _together(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Each cart's latest of all parts, in order of (key, id)."""
    whole = pl.concat(parts)
    if len(parts) > 1:
        whole = whole.group_by("cart_id").agg(**AGAIN)
    return whole[schema.key_order(ids_of(whole["cart_id"]))]


def _added(before: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """``_together`` of two frames in its order: carts that are in the first alone stay as they are."""
    old, keys = Keyed.of(before), Keyed.of(later).keys
    stays = old.rows_without(keys)
    moves = np.delete(np.arange(before.height), stays)
    return old.merged(stays, _together([before[moves], later]))


def _activity(frame: pl.DataFrame) -> Activity:
    return Activity(ids_of(frame["cart_id"]), *(frame[name].to_numpy() for name in LATEST))
