"""The fold of all carts in this process, on all its cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cart_core.projector import kept, streaming
from cart_core.projector.columns import ENCODED
from cart_core.projector.kept import Refreshed
from cart_core.projector.streaming import NOW, Moment, Projected
from cart_core.store import CartStore


def project(
    store: CartStore, out: Path, moment: Moment = NOW, *, tell: Callable[[int], None] | None = None
) -> Projected:
    """Write carts.parquet and lines.parquet, one file each; see ``streaming.project``."""
    batches = store.batches(moment.columns, until=moment.until, encoded=ENCODED)
    return streaming.project(batches, out, moment, tell=tell)


def refresh(store: CartStore, folder: Path, until: int | None = None) -> Refreshed:
    """Bring kept tables up to date; see ``kept.refresh``."""
    return kept.refresh(store, folder, until)
