"""What a child process does to a store until it is killed, and the steps at which it may kill itself."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cart_core.events import Envelope
from cart_core.store import CartStore

JOURNAL_ROWS = 8
"""Imports of more events than this become segments at once."""

APPEND, GROUP, FEW, IMPORT, SEAL, COMPACT, FORGET = "append", "group", "few", "import", "seal", "compact", "forget"
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Action:
    """One call of the store: ``events`` to write, a ``user`` to forget, the ``grace`` that compaction keeps."""

    kind: str
    events: tuple[Envelope, ...] = ()
    user: str = ""
    grace: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Step:
    """A moment within an action: before or after a function is called for the first time."""

    kind: str
    place: str
    when: str


_JOURNAL_STEPS = {
    "before any row": ("catalogs.catalog:insert", BEFORE),
    "rows written": ("catalogs.catalog:insert", AFTER),
    "position moved, not committed": ("catalogs.catalog:advance", AFTER),
}
_FILE_STEPS = {
    "a row group in the file": ("segments.folder:pq.ParquetWriter.write_table", AFTER),
    "file written, not synced": ("segments.folder:write_parquet", AFTER),
    "file synced, not named": ("segments.folder:Path.rename", BEFORE),
    "file named, folder not synced": ("segments.folder:sync_folder", BEFORE),
    "folder synced": ("segments.folder:sync_folder", AFTER),
}
_STEPS = {
    APPEND: _JOURNAL_STEPS | {"committed, not acknowledged": ("writing.writer:Writer._commit", AFTER)},
    GROUP: _JOURNAL_STEPS | {"committed, not acknowledged": ("writing.writer:Writer.submit_all", AFTER)},
    FEW: _JOURNAL_STEPS | {"committed, not acknowledged": ("writing.bulk:BulkWriter._admit_few", AFTER)},
    IMPORT: {
        "users named": ("writing.bulk:BulkWriter._lay_down", BEFORE),
        **_FILE_STEPS,
        "index written, not named": ("segments.index_files:os.replace", BEFORE),
        "index named": ("segments.index_files:os.replace", AFTER),
        "file in the catalog": ("catalogs.catalog:add_segment", AFTER),
        "batch in the chain": ("catalogs.catalog:add_batch", AFTER),
        "position moved, not committed": ("catalogs.catalog:advance", AFTER),
        "committed, not acknowledged": ("writing.bulk:BulkWriter._commit", AFTER),
    },
    SEAL: {
        **_FILE_STEPS,
        "file in the catalog": ("catalogs.catalog:add_segment", AFTER),
        "batch in the chain": ("catalogs.catalog:add_batch", AFTER),
        "journal cleared, not committed": ("catalogs.catalog:delete_sealed", AFTER),
        "committed": ("writing.sealing:_commit", AFTER),
    },
    COMPACT: {
        **_FILE_STEPS,
        "file in the catalog": ("catalogs.catalog:add_segment", AFTER),
        "old files retired, not committed": ("catalogs.catalog:change_files", AFTER),
        "committed": ("upkeep.compaction:rewrite", AFTER),
        "an old file removed": ("segments.folder:SegmentFolder.remove", AFTER),
        "an old file struck off, not committed": ("catalogs.catalog:drop_segment", AFTER),
        "swept": ("upkeep.compaction:sweep", AFTER),
    },
    FORGET: {
        "link deleted, not committed": ("catalogs.users:forget", AFTER),
        "link deleted, log not emptied": ("catalogs.sqlite:SqliteCatalog.erase", BEFORE),
        "log emptied": ("catalogs.sqlite:SqliteCatalog.erase", AFTER),
        "other files to do": ("upkeep.forgetting:scrub", BEFORE),
        "a file cleaned, not named": ("upkeep.forgetting:os.replace", BEFORE),
        "a file cleaned": ("upkeep.forgetting:os.replace", AFTER),
        "all files cleaned": ("upkeep.forgetting:scrub", AFTER),
    },
}
STEPS = {
    f"{kind}: {name}": Step(kind, place, when)
    for kind, steps in _STEPS.items()
    for name, (place, when) in steps.items()
}


def work(folder: Path, actions: Sequence[Action], step: Step | None, told: Connection) -> None:
    """Carry out actions, telling the number of each when it is done, and wait to be killed.

    With a ``step`` the process kills itself there, within the last action.
    """
    store = CartStore.open(folder, journal_rows=JOURNAL_ROWS)
    for number, action in enumerate(actions):
        if step is not None and number == len(actions) - 1:
            _kill_at(step)
        carry_out(store, action)
        told.send(number)
    while step is None:
        signal.pause()


def carry_out(store: CartStore, action: Action) -> Any:
    """Do what the action says; what the store answers."""
    if action.kind == SEAL:
        return store.seal()
    if action.kind == COMPACT:
        return store.compact(action.grace)
    if action.kind == FORGET:
        return store.forget(action.user)
    if action.kind in (FEW, IMPORT):
        return store.append_many(action.events)
    if action.kind == GROUP:
        return store.append_group([_prepared(store.prepare, (event,)) for event in action.events])
    return _prepared(store.append, action.events)


def _prepared(call: Callable[..., Any], events: Sequence[Envelope]) -> Any:
    first = events[0]
    ids = [each.event_id for each in events]
    bodies = [each.event for each in events]
    return call(first.cart_id, bodies, first.user_id, first.version - 1, ids, first.timestamp)


def _kill_at(step: Step) -> None:
    """Put a function that ends this process in place of the step's, or after it."""
    module, _, path = step.place.partition(":")
    owner: Any = importlib.import_module(f"cart_core.store.{module}")
    *way, name = path.split(".")
    for part in way:
        owner = getattr(owner, part)
    real = getattr(owner, name)

    def ending(*args: Any, **named: Any) -> Any:
        if step.when == AFTER:
            real(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, ending)
