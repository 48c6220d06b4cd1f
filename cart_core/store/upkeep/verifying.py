"""Verification: every file, event and link is what it was when it was sealed or recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from cart_core import ledger
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog, users
from cart_core.store.catalogs.catalog import Batch, Catalog, Segment
from cart_core.store.results import Verified
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.segments.index import IndexCache
from cart_core.store.upkeep.file_checks import UNREADABLE, FileCheck, Versions, event_name, latest


def verify(catalog_: Catalog, folder: SegmentFolder, indexes: IndexCache) -> Verified:
    """Check one moment of the store; every problem names its place.

    Checked are: positions without a gap, each file against its SHA-256 and what the catalog says of it, each batch
    against its Merkle root, the chain of batches, the running hash of the journal, each cart's versions, the names of
    users, and the indexes that readers go by. It reads every event once, one segment at a time.
    """
    with catalog_.reading() as db:
        state = catalog.state(db)
        live = catalog.segments(db)
        batches = catalog.batches(db)
        rows = catalog.journal(db)
        hashes = dict(zip([row[0] for row in rows], catalog.journal_hashes(db), strict=True))
        names = users.problems(db, batches)
        last_user = users.last_key(db)
    problems = [*_position_problems(state.position, live, list(hashes)), *_chain_problems(batches)]
    problems += [*_homeless(batches, live), *names]
    versions, recorded_us, latest_user = Versions(), 0, 0
    for segment in live:
        check = FileCheck(folder, indexes, segment)
        problems += check.problems([each for each in batches if _holds(segment, each)])
        if check.table is not None:
            versions.add(check.table)
            recorded_us = max(recorded_us, latest(check.table))
            latest_user = max(latest_user, pc.max(check.table["user_key"]).as_py() or 0)
    journal, unreadable = _readable(rows)
    problems += [*unreadable, *_journal_problems(journal, hashes, batches, state.running_hash)]
    versions.add(journal)
    if max(latest_user, pc.max(journal["user_key"]).as_py() or 0) > last_user:
        problems.append(f"state: there are events of users after the last number that was given ({last_user})")
    if not problems and max(recorded_us, latest(journal)) != state.recorded_us:
        problems.append(f"state: the last moment of recording is not that of the last event ({state.recorded_us} us)")
    problems += versions.problems(lambda position: _cart_at(position, folder, live, journal))
    head = ledger.chain_head([each.sealed for each in batches]).hex()
    return Verified(state.position, len(live), len(batches), head, problems)


def _position_problems(last: int, live: Sequence[Segment], journal: Sequence[int]) -> Iterator[str]:
    spans = sorted([(each.first_position, each.last_position) for each in live] + [(each, each) for each in journal])
    edges = [(0, 0), *spans, (last + 1, last + 1)]
    for (_, end), (start, _) in pairwise(edges):
        if start > end + 1:
            yield f"positions {end + 1} to {start - 1} are missing"
        elif start <= end:
            yield f"positions {start} to {end} are there twice"


def _chain_problems(batches: Sequence[Batch]) -> Iterator[str]:
    previous = ledger.GENESIS
    for number, batch in enumerate(batches, 1):
        if batch.batch != number:
            yield f"batch {number} is missing from the chain"
            return
        if batch.previous != previous:
            yield f"batch {number}: it does not follow batch {number - 1}"
        if batch.sealed.entry != batch.entry:
            yield f"batch {number}: its entry in the chain is altered"
        previous = batch.entry


def _homeless(batches: Sequence[Batch], live: Sequence[Segment]) -> Iterator[str]:
    for batch in batches:
        if not any(_holds(segment, batch) for segment in live):
            yield f"batch {batch.batch}: no segment holds its events"


def _holds(segment: Segment, batch: Batch) -> bool:
    return segment.first_position <= batch.first_position <= segment.last_position


def _readable(rows: Sequence[tuple[Any, ...]]) -> tuple[pa.Table, list[str]]:
    """The journal as a table of AT_REST without the rows that are no events at all, and what these are."""
    try:
        return at_rest.from_journal(rows), []
    except UNREADABLE:
        good, problems = [], []
    for row in rows:
        try:
            at_rest.from_journal([row])
            good.append(row)
        except UNREADABLE as error:
            problems.append(f"journal, position {row[0]}: this row cannot be read ({error})")
    return at_rest.from_journal(good), problems


def _journal_problems(
    journal: pa.Table, hashes: dict[int, bytes], batches: Sequence[Batch], latest_hash: bytes
) -> Iterator[str]:
    anchors = [each.journal_anchor for each in batches if each.journal_anchor is not None]
    running = anchors[-1] if anchors else ledger.GENESIS
    leaves = dict(zip(journal["position"].to_pylist(), ledger.leaf_hashes(journal, strict=False), strict=True))
    recorded = journal["recorded_at"].cast(pa.int64()).to_pylist()
    for row, (position, leaf) in enumerate(leaves.items()):
        if ledger.running_hash(running, bytes(leaf), position, recorded[row]) != hashes[position]:
            yield f"journal, {event_name(journal, row)}: this event, or one before it, is not what was recorded"
        running = hashes[position]
    if running != latest_hash:
        yield "journal: its last events are missing (the running hash differs)"


def _cart_at(position: int, folder: SegmentFolder, live: Sequence[Segment], journal: pa.Table) -> UUID:
    columns = ["position", "cart_id"]
    inside = [each for each in live if each.first_position <= position <= each.last_position]
    tables = [*(folder.read(each, columns) for each in inside), journal.select(columns)]
    found = [table.filter(pc.equal(table["position"], position)) for table in tables]
    cart: UUID = pa.concat_tables(found)["cart_id"][0].as_py()
    return cart
