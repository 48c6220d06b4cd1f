"""Carts and lines of one moment, kept under the store's cache folder until others were asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from cart_core import rules
from cart_core.projector import kept, streaming
from cart_core.projector.columns import ENCODED
from cart_core.projector.streaming import NOW, Moment
from cart_core.store.catalogs import catalog

if TYPE_CHECKING:
    from cart_core.store.store import CartStore

TABLES = ("carts", "lines")
KEPT = 4
STANDING = "now"


def current(store: CartStore, moment: Moment = NOW) -> dict[str, tuple[Path, ...]]:
    """The Parquet files of carts and lines of a moment, in order.

    Those of the last position are kept up to date, so that new events cost what they touch; those of any other moment
    are folded where they are not kept from before. The last few stay, so that who reads one while others ask for
    another still has it.
    """
    with store.catalog.reading() as db:
        state = catalog.state(db)
    until = state.position if moment.until is None else min(moment.until, state.position)
    home = store.path / "cache" / "projection"
    standing = _standing(store, home / STANDING, until) if moment.at is None and moment.known_at is None else None
    if standing is not None:
        return {"carts": standing.carts, "lines": standing.lines}
    moment = replace(moment, until=until)
    folder = home / _name(moment, state.generation, kept.event_id(store, until))
    if not folder.exists():
        _fold(store, folder, moment)
        _drop_old(home)
    return {name: (folder / f"{name}.parquet",) for name in TABLES}


def _standing(store: CartStore, folder: Path, until: int) -> kept.Kept | None:
    """The kept tables, brought up to a position; None where they are ahead of it already."""
    kept.refresh(store, folder, until, backwards=False)
    standing = kept.current(folder)
    return standing if standing is not None and standing.position == until else None


def _name(moment: Moment, generation: int, last_event_id: str) -> str:
    """Under its last event, as an earlier catalog that was put back may give the position to another one."""
    bounds = {"at": moment.at, "known": moment.known_at}
    told = (f"{name}{rules.to_micros(bound)}" for name, bound in bounds.items() if bound is not None)
    return "-".join((str(moment.until), str(generation), last_event_id, *told))


def _fold(store: CartStore, folder: Path, moment: Moment) -> None:
    trial = folder.with_name(f"{folder.name}-{uuid4().hex[:8]}")
    streaming.project(store.batches(moment.columns, until=moment.until, encoded=ENCODED), trial, moment)
    try:
        trial.rename(folder)
    except OSError:
        shutil.rmtree(trial, ignore_errors=True)


def _drop_old(home: Path) -> None:
    folded = [each for each in home.iterdir() if each.name != STANDING]
    for folder in sorted(folded, key=lambda each: -each.stat().st_mtime_ns)[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
