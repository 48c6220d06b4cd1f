"""Carts and lines of one moment, kept under the store's cache folder until the store moves on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from cart_core.projector import streaming
from cart_core.projector.columns import ENCODED
from cart_core.store import catalog

if TYPE_CHECKING:
    from cart_core.store.store import CartStore

TABLES = ("carts", "lines")


def current(store: CartStore) -> dict[str, Path]:
    """The Parquet files of carts and lines as they stand now, folded again only where events have come since."""
    with store.catalog.reading() as db:
        state = catalog.state(db)
    home = store.path / "cache" / "projection"
    folder = home / f"{state.position}-{state.generation}"
    if not folder.exists():
        _fold(store, folder, state.position)
        for other in home.iterdir():
            if other.name != folder.name:
                shutil.rmtree(other, ignore_errors=True)
    return {name: folder / f"{name}.parquet" for name in TABLES}


def _fold(store: CartStore, folder: Path, position: int) -> None:
    trial = folder.with_name(f"{folder.name}-{uuid4().hex[:8]}")
    moment = streaming.Moment(until=position)
    streaming.project(store.batches(moment.columns, until=position, encoded=ENCODED), trial, moment)
    try:
        trial.rename(folder)
    except OSError:
        shutil.rmtree(trial, ignore_errors=True)
