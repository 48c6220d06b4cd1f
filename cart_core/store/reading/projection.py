"""Carts and lines of one moment, kept under the store's cache folder until others were asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from cart_core import rules
from cart_core.projector import generations, kept, streaming
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
    are folded where they are not kept from before. The last few stay, and those of now however many others are asked
    for, so that who reads one meanwhile still has it.
    """
    with store.catalog.reading() as db:
        state = catalog.state(db)
    until = state.position if moment.until is None else min(moment.until, state.position)
    home = store.path / "cache" / "projection"
    moment = replace(moment, until=until)
    folder = home / _name(moment, state.generation, kept.event_id(store, until))
    if not folder.exists():
        standing = _standing(store, home / STANDING, until) if moment.at is None and moment.known_at is None else None
        with _made(folder) as trial:
            if standing is not None:
                _share(standing, trial)
            else:
                batches = store.batches(moment.columns, until=until, encoded=ENCODED)
                streaming.project(batches, trial, moment)
        now = Moment(until=state.position)
        _drop_old(home, _name(now, state.generation, kept.event_id(store, state.position)))
    return {name: tuple(sorted(folder.glob(f"{name}*.parquet"))) for name in TABLES}


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


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name when it is full, unless another has that name by then."""
    trial = folder.with_name(f"{folder.name}-{uuid4().hex[:8]}")
    trial.mkdir(parents=True)
    try:
        yield trial
        with suppress(OSError):
            trial.rename(folder)
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _share(standing: kept.Kept, folder: Path) -> None:
    """The kept files under names of their own, which stay when those are gone."""
    for name, paths in (("carts", standing.carts), ("lines", standing.lines)):
        for number, path in enumerate(paths):
            generations.share_file(path, folder / f"{name}-{number:05d}.parquet")


def _drop_old(home: Path, present: str) -> None:
    folded = [each for each in home.iterdir() if each.name not in (STANDING, present)]
    for folder in sorted(folded, key=lambda each: -each.stat().st_mtime_ns)[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
