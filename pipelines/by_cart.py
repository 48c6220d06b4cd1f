"""Tables whose rows belong to one cart each, carried on from how they stand: only stale carts are derived again.

Where the rows of a cart follow from its own events, the moment and the parameters, the table on disk and its notes are
all the state there is. A cart is stale where one of its events came in after the table's position, however late it
happened, or where time alone changes its rows: its latest event was younger than ``horizon`` at the table's moment, or
one of its rows has come of age since (``ripens``). The rows of all other carts are kept as they stand. An asset says
how its rows come about::

    plan = ByCart("overcharges", columns, partial(overcharges_of, as_of=as_of), horizon=timedelta(0))
    return carried(shop, plan, as_of)                  # pipelines.defs.deriving: a Derived, its notes included

and what is no table of its own, but needed night after night, is kept under ``cache/by_cart`` in the same way::

    begun = kept(shop, ByCart("starts", columns, partial(starts, as_of=as_of), horizon=timedelta(0)), as_of).frame

What comes back is equal, row for row and in order, to deriving all carts. All carts are derived where there is no table
yet, where the parameters, the code or the table's columns are others than when it was made, where the moment or the
position goes back, after a user was forgotten, where the store is another one, and where most carts are stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from inspect import getsourcefile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import cart_core.projector
import pipelines.derive
import pipelines.tables
from cart_core import rules, schema
from cart_core.errors import StoreNotFound
from cart_core.projector.streaming import in_order
from pipelines import files, recent
from pipelines.activity import brought_up
from pipelines.keyed import Keyed
from pipelines.shop import History, ShopFolder, ids_of

Array = np.ndarray[Any, np.dtype[Any]]

MOSTLY = 0.5
MICROSECOND = timedelta(microseconds=1)
FOLDER = Path("cache") / "by_cart"
CODE = (cart_core.projector, pipelines.derive, pipelines.tables)


@dataclass(frozen=True, slots=True)
class ByCart:
    """How the rows of a table come from the events of their carts.

    ``derive`` gives the rows of all carts whose events, with ``columns`` of EVENTS, it is handed whole; each row has
    its cart's id in ``cart_id``, as text or 16 bytes. It may rest on nothing but those events, the moment and
    ``terms``, which name every parameter with its value. ``horizon`` is how long after a cart's latest event its rows
    can still change because time passes; where they do so only because an event of the future has come to pass it
    is 0. What changes later than that does so once, at the moment in the column that ``ripens`` names and so long after
    it. Without ``announcements`` no time that passes after a CartAbandoned changes any. Rows stand in order of
    ``sort``, whose values must be unique, else by the keys of their carts, and within one as ``derive`` gives them.
    """

    name: str
    columns: Sequence[str]
    derive: Callable[[pa.Table], pl.DataFrame]
    horizon: timedelta
    terms: Mapping[str, Any] = field(default_factory=dict)
    ripens: tuple[str, timedelta] | None = None
    sort: Sequence[str] = ()
    announcements: bool = True


@dataclass(frozen=True, slots=True)
class Carried:
    """A table as of a moment, and how it came to be.

    ``fresh`` are the rows derived now, in ``frame`` too; ``carts_read`` of ``carts`` were; ``whole_because`` says why
    all were, None where they were not. ``notes`` must be written with the table: it is carried on from them.
    """

    frame: pl.DataFrame
    fresh: pl.DataFrame
    carts: int
    carts_read: int
    rows_kept: int
    whole_because: str | None
    notes: dict[str, str]

    @property
    def told(self) -> dict[str, Any]:
        """What a run says about it."""
        why = f", whole: {self.whole_because}" if self.whole_because else f"; {self.rows_kept:,} rows kept"
        return {
            "recomputed": f"{self.carts_read:,} of {self.carts:,} carts{why}",
            "carts_read": self.carts_read,
            "rows_kept": self.rows_kept,
        }


def carried_on(shop: ShopFolder, plan: ByCart, as_of: datetime) -> Carried:
    """The derived table of the plan's name as of a moment, from how it stands; nothing is written."""
    standing = partial(shop.table, plan.name)
    return _carried(shop, plan, as_of, shop.notes(plan.name) if shop.has_table(plan.name) else None, standing)


def kept(shop: ShopFolder, plan: ByCart, as_of: datetime, *, anew: bool = False) -> Carried:
    """A table that is no table of its own as of a moment, from how it was kept last; it is kept for the next time.

    It stands in ``cache/by_cart`` of the shop's folder, is replaced in one step, and may be removed at any time. All
    carts are derived where ``anew`` asks for it.
    """
    path = shop.folder / FOLDER / f"{plan.name}.parquet"
    notes: dict[str, str] | None = None
    with suppress(StoreNotFound):
        notes = None if anew else files.notes_of(path)
    done = _carried(shop, plan, as_of, notes, partial(pl.read_parquet, path))
    if notes != done.notes:
        files.keep(path, done.frame, done.notes)
    return done


def _carried(
    shop: ShopFolder,
    plan: ByCart,
    as_of: datetime,
    notes: Mapping[str, str] | None,
    standing: Callable[[], pl.DataFrame],
) -> Carried:
    with shop.history() as history:
        now = _notes(history, plan, as_of)
        place = shop.folder / FOLDER
        activity = brought_up(history, place)
        why = _why_whole(history, notes, now)
        held = stale = None
        if why is None and notes is not None:
            held, then = Keyed.of(standing()), rules.parse_time(notes["as_of"])
            horizon_us, ripe = plan.horizon // MICROSECOND, _ripe(held, plan.ripens, then, as_of)
            stale = activity.stale(
                int(notes["position"]), rules.to_micros(then), horizon_us, ripe, announcements=plan.announcements
            )
            why = "most carts are stale" if stale.sum() > MOSTLY * len(stale) else None
        if why is not None or held is None or stale is None:
            frame = _in_order(plan, list(in_order(plan.derive, history.batches(plan.columns))))
            return Carried(frame, frame, len(activity.ids), len(activity.ids), 0, why, now)
        ids = activity.ids[stale]
        fresh = _in_order(plan, list(in_order(plan.derive, recent.events_of(history, place, ids, plan.columns))))
    rows = held.rows_without(schema.cart_keys(ids))
    frame = pl.concat([held.frame[rows], fresh]).sort(plan.sort) if plan.sort else held.merged(rows, fresh)
    return Carried(frame, fresh, len(activity.ids), len(ids), len(rows), None, now)


def _ripe(held: Keyed, ripens: tuple[str, timedelta] | None, then: datetime, now: datetime) -> Array:
    """The keys of the carts that have a row which came of age after one moment and by the other."""
    if ripens is None:
        return held.keys[:0]
    column, after = ripens
    came = pl.col(column).is_between(then - after, now - after, closed="right").fill_null(value=False)
    return np.asarray(held.keys[held.frame.select(came).to_series().to_numpy()])


def _notes(history: History, plan: ByCart, as_of: datetime) -> dict[str, str]:
    position = history.position()
    basis: dict[str, Any] = {"terms": dict(plan.terms), "horizon": str(plan.horizon), "ripens": plan.ripens}
    basis |= {"columns": list(plan.columns), "code": code(), "derive": _source(plan.derive)}
    return {
        "as_of": rules.format_time(as_of),
        "position": str(position),
        "last_event_id": history.event_id(position),
        "forgotten": str(history.store.forgotten()),
        "basis": hashlib.sha256(json.dumps(basis, sort_keys=True, default=str).encode()).hexdigest(),
    }


def _why_whole(history: History, notes: Mapping[str, str] | None, now: Mapping[str, str]) -> str | None:
    if notes is None:
        return "it was never made"
    reasons: dict[str, Callable[[], bool]] = {
        "it does not say what it was made of": lambda: any(name not in notes for name in now),
        "parameters or code are others": lambda: notes["basis"] != now["basis"],
        "a user was forgotten": lambda: notes["forgotten"] != now["forgotten"],
        "its moment is later": lambda: rules.parse_time(notes["as_of"]) > rules.parse_time(now["as_of"]),
        "it has events after those read": lambda: int(notes["position"]) > int(now["position"]),
        "the store is another one": lambda: history.event_id(int(notes["position"])) != notes["last_event_id"],
    }
    return next((reason for reason, holds in reasons.items() if holds()), None)


@cache
def code() -> str:
    """A digest of the code that rows come from, so that rows of two versions of it never stand in one table."""
    found = hashlib.sha256()
    for package in CODE:
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def _source(derive: Callable[..., Any]) -> str:
    """The text of the module that a function stands in."""
    function: Any = derive
    while isinstance(function, partial):
        function = function.func
    return Path(str(getsourcefile(function))).read_text("utf-8")


def _in_order(plan: ByCart, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    whole = pl.concat(parts)
    if plan.sort:
        return whole.sort(plan.sort)
    order = schema.key_order(ids_of(whole["cart_id"]))
    return whole if (order[1:] > order[:-1]).all() else whole[order]
