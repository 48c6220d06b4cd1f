"""Bringing foreign files into a store: every row of them is counted, and none is imported twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from cart_core.errors import Refused
from cart_core.importers import ids
from cart_core.importers.set_aside import SetAsideFiles
from cart_core.importers.sources import ActBatch, Options, Progress, Source
from cart_core.importers.spill import Spill
from cart_core.ingest.acts import ActImport, Keeping
from cart_core.ingest.decided import Decided
from cart_core.ingest.events import EventImport
from cart_core.ingest.report import ImportReport, Tally
from cart_core.store.base import Store
from cart_core.store.views import ViewStage
from cart_core.telemetry import traced

__all__ = ["ImportReport", "import_files"]


@traced("import")
def import_files(  # noqa: PLR0913 - the options of `cart import`, each named where it is given
    store: Store,
    source: str,
    files: Sequence[str | os.PathLike[str]],
    *,
    cart_key: Literal["session", "user"] = "session",
    currency: str = "USD",
    duplicates: Literal["drop", "keep"] = "drop",
    set_aside: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> ImportReport:
    """Import files of one source (see docs/importing.md) and say what became of every row.

    Rows that cannot be taken go to ``set_aside``, by default to a file for each source file in the folder's
    ``set_aside``; ``now`` is noted there. ``folder`` is the shop's folder, by default the store's own.
    ``progress(done, total)`` is called now and then, in bytes of the files.

    Events are appended in chunks, each whole or not at all; views after the last of them. A crash leaves complete
    chunks; importing again does the rest. Raises Refused for an unknown source or option, SourceError where a file
    is not what it was given as, StoreError where the store cannot write.
    """
    names = [os.fspath(file) for file in ([files] if isinstance(files, str | os.PathLike) else files)]
    origin = Source(source, names, Options(cart_key, currency.upper(), duplicates, progress, partial(_heads, store)))
    origin.check()
    home = _home(store, folder)
    tally = Tally()
    with ExitStack() as stack:
        moment = now or datetime.now(UTC)
        aside = SetAsideFiles(home / "set_aside", None if set_aside is None else Path(set_aside), moment)
        stack.callback(aside.close)
        gathered = stack.enter_context(Spill(home / "cache", "key", _size_bytes(names)))
        early = stack.enter_context(Spill(home / "cache", "cart_id", _size_bytes(names)))
        views = stack.enter_context(ViewStage(home / "views", home / "cache"))
        decided = Decided(home / "set_aside" / "decided.sqlite")
        events = EventImport(store, tally, aside, early)
        acts = ActImport(store, origin, tally, Keeping(aside, gathered, decided, views))
        for batch in origin.batches():
            acts.take(batch) if isinstance(batch, ActBatch) else events.take(batch)
        events.finish()
        acts.finish()
    return tally.report(aside.paths[0] if aside.paths else None)


def _home(store: Store, folder: str | os.PathLike[str] | None) -> Path:
    """The shop's folder."""
    home = folder if folder is not None else getattr(store, "path", None)
    if home is None:
        raise Refused("no_folder", "the store has no folder of its own: name one for its views and set-aside rows")
    return Path(home)


def _size_bytes(files: Sequence[str]) -> int:
    return sum(Path(file).stat().st_size for file in files if Path(file).is_file())


def _heads(store: Store, cart_ids: Sequence[str]) -> list[int]:
    """The versions that a store has of carts; 0 for an unknown cart and for what is no cart id."""
    found, sound = ids.from_text(pa.array(cart_ids, pa.string()))
    versions = store.heads(ids.uuids(found))["version"].to_numpy(zero_copy_only=False)
    heads: list[int] = np.where(sound, versions, 0).tolist()
    return heads
