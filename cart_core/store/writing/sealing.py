"""Sealing: events go from the journal into segments, and every sealed run becomes a link of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow.fs import FileType

from cart_core import ledger, rules
from cart_core.errors import StoreBusy
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog, users
from cart_core.store.catalogs.catalog import Batch, Catalog, Connection, Segment
from cart_core.store.results import Sealed
from cart_core.store.segments.folder import SegmentFolder


def seal(catalog_: Catalog, folder: SegmentFolder, clock: Callable[[], datetime]) -> Sealed:
    """Move the journal into segments, one file for each run of positions without a gap.

    Files are complete and synced before the catalog names them, in the transaction that clears the journal.
    """
    with catalog_.reading() as db:
        rows = catalog.journal(db)
    sealed = files = 0
    for run in _runs(rows):
        table = at_rest.from_journal(run)
        segment = folder.write(table)
        root = ledger.merkle_root(ledger.leaf_hashes(table))
        if not _commit(catalog_, folder, segment, root, table, rules.to_micros(clock())):
            folder.remove(segment.file)
            break  # whoever sealed this run seals the later ones; the running hash goes on from the last sealed row
        sealed, files = sealed + len(run), files + 1
    return Sealed(sealed, files)


def check_file(folder: SegmentFolder, segment: Segment) -> None:
    """Raise StoreBusy where a file to be named in this transaction is there no more.

    Sweeps hold the catalog, too, while they remove what nobody named: a file that is here now stays.
    """
    system, base = folder.files()
    if system.get_file_info(f"{base}/{segment.file}").type == FileType.NotFound:
        raise StoreBusy(f"{base}/{segment.file} was swept away before it was done; nothing was written: try again")


def commit_bulk(
    db: Connection, folder: SegmentFolder, segment: Segment, root: bytes, shift: int, recorded_us: int
) -> None:
    """Name a file of rows that never were in the journal, and link it to the chain."""
    check_file(folder, segment)
    placed = replace(
        segment,
        first_position=segment.first_position + shift,
        last_position=segment.last_position + shift,
        position_shift=shift,
        recorded_us=recorded_us,
    )
    catalog.add_segment(db, placed)
    recorded = ledger.recorded_hash(np.full(placed.rows, recorded_us, np.int64))
    _link(db, placed, root, recorded, recorded_us, None)


def _commit(
    catalog_: Catalog, folder: SegmentFolder, segment: Segment, root: bytes, table: pa.Table, now_us: int
) -> bool:
    """Swap the journal's rows for their file; False where another process has sealed them already."""
    with catalog_.writing() as db:
        if catalog.journal_count(db, segment.first_position, segment.last_position) != segment.rows:
            return False
        check_file(folder, segment)
        anchor = catalog.journal_hash(db, segment.last_position)
        catalog.add_segment(db, segment)
        recorded = ledger.recorded_hash(table["recorded_at"].cast(pa.int64()).to_numpy())
        _link(db, segment, root, recorded, now_us, anchor)
        catalog.delete_sealed(db, segment.first_position, segment.last_position)
        catalog.change_files(db)
        return True


def _link(db: Connection, segment: Segment, root: bytes, recorded: bytes, now_us: int, anchor: bytes | None) -> None:
    last = catalog.last_batch(db)
    named, user_key = last.user_key if last else 0, users.last_key(db)
    sealed = ledger.SealedBatch(
        batch=last.batch + 1 if last else 1,
        first_position=segment.first_position,
        rows=segment.rows,
        root=root,
        recorded=recorded,
        sealed_us=max(now_us, last.sealed_us) if last else now_us,
        previous=last.entry if last else ledger.GENESIS,
        names=users.sealed_names(db, named, user_key) if user_key > named else None,
    )
    catalog.add_batch(
        db,
        Batch(
            batch=sealed.batch,
            first_position=sealed.first_position,
            last_position=segment.last_position,
            rows=sealed.rows,
            root=root,
            recorded=recorded,
            sealed_us=sealed.sealed_us,
            previous=sealed.previous,
            entry=sealed.entry,
            journal_anchor=anchor,
            user_key=user_key,
            names=sealed.names,
        ),
    )


def _runs(rows: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The journal's rows in runs of positions without a gap."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place][0] != rows[place - 1][0] + 1:
            yield rows[start:place]
            start = place
