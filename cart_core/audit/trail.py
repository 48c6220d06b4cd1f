"""The events of a period as they lie in a store, batch by batch, each with what leads it to the ledger's head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import ledger
from cart_core.audit.period import Moments, Period, micros_of
from cart_core.errors import StoreCorrupt
from cart_core.store import CartStore, at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Batch, Segment

SURVEYED = ("position", "timestamp", "recorded_at")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a store: its last position, its sealed batches and files by position, and its journal."""

    store_id: str
    position: int
    batches: list[Batch]
    segments: list[Segment]
    journal: pa.Table
    running: bytes

    @classmethod
    def of(cls, store: CartStore) -> Snapshot:
        """The store as it is now."""
        with store.catalog.reading() as db:
            state = catalog.state(db)
            return cls(
                catalog.meta(db, "store_id") or "",
                state.position,
                catalog.batches(db),
                catalog.segments(db),
                at_rest.from_journal(catalog.journal(db)),
                state.running_hash,
            )

    def within(self, segment: Segment) -> list[Batch]:
        """The batches whose events a segment holds, by position."""
        first, last = segment.first_position, segment.last_position
        mine = [each for each in self.batches if first <= each.first_position <= last]
        return sorted(mine, key=lambda each: each.first_position)


@dataclass(frozen=True, slots=True)
class Part:
    """Chosen rows of one batch, by position, and what leads them to its root: ``path`` is None for the journal."""

    rows: pa.Table
    batch: int | None
    path: dict[str, Any] | None


def parts(store: CartStore, seen: Snapshot, period: Period) -> Iterator[Part]:
    """Every event of the period: of each batch that shows one, or shows that there is none, then of the journal.

    One segment is held in memory at a time. Raises StoreCorrupt where a batch is not what was sealed.
    """
    wanted = _wanted(store, seen, period)
    for segment in seen.segments:
        mine = [each for each in seen.within(segment) if each.batch in wanted]
        if mine:
            whole = _by_position(store.folder.read(segment))
            for batch in mine:
                yield _part(whole.slice(batch.first_position - segment.first_position, batch.rows), batch, period)
    yield Part(_filtered(seen.journal, period.chosen(seen.journal)), None, None)


def journal_document(seen: Snapshot) -> dict[str, Any]:
    """The events that no batch holds yet, as the running hash knows them: position, moment of recording, leaf."""
    anchors = [each.journal_anchor for each in seen.batches if each.journal_anchor is not None]
    leaves = ledger.leaf_hashes(seen.journal)
    rows = zip(
        seen.journal["position"].to_pylist(), micros_of(seen.journal["recorded_at"]).tolist(), leaves, strict=True
    )
    return {
        "previous": (anchors[-1] if anchors else ledger.GENESIS).hex(),
        "rows": [[position, moment, bytes(leaf).hex()] for position, moment, leaf in rows],
        "running": seen.running.hex(),
    }


def _part(rows: pa.Table, batch: Batch, period: Period) -> Part:
    leaves = ledger.leaf_hashes(rows, strict=False)
    recorded = micros_of(rows["recorded_at"])
    if ledger.merkle_root(leaves) != batch.root or ledger.recorded_hash(recorded) != batch.recorded:
        raise StoreCorrupt(f"batch {batch.batch} is not what was sealed: run cart verify, which names the place")
    chosen = period.chosen(rows)
    others = {
        str(depth): {str(place): each.hex() for place, each in beside.items()}
        for depth, beside in ledger.hashes_beside(leaves, chosen).items()
        if beside
    }
    return Part(_filtered(rows, chosen), batch.batch, {"others": others, "recorded": _runs(recorded)})


def _wanted(store: CartStore, seen: Snapshot, period: Period) -> set[int]:
    """The batches with an event of the period, and the one on each side of it, which shows where it ends."""
    found: set[int] = set()
    before: list[int] = []
    behind: list[int] = []
    for segment in seen.segments:
        rows = _by_position(store.folder.read(segment, SURVEYED))
        for batch in seen.within(segment):
            part = rows.slice(batch.first_position - segment.first_position, batch.rows)
            side = period.side(micros_of(part["recorded_at"]))
            if side == 0 or period.chosen(part).any():
                found.add(batch.batch)
            elif side < 0:
                before = [batch.batch]
            elif not behind:
                behind = [batch.batch]
    return found.union(before, behind)


def _by_position(rows: pa.Table) -> pa.Table:
    return rows.take(pa.array(np.argsort(rows["position"].to_numpy())))


def _filtered(rows: pa.Table, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Table:
    return rows.filter(pa.array(chosen))


def _runs(recorded: Moments) -> list[list[int]]:
    """The runs of equal moments of recording: moment and rows."""
    starts = np.flatnonzero(np.r_[True, recorded[1:] != recorded[:-1]])
    return [
        [int(recorded[start]), int(rows)]
        for start, rows in zip(starts, np.diff(starts, append=len(recorded)), strict=True)
    ]
