"""Verification: every file, event and link is what it was when it was sealed or recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import ledger, schema
from cart_core.errors import StoreCorrupt
from cart_core.store import at_rest, catalog
from cart_core.store.catalog import Batch, Catalog, Segment
from cart_core.store.results import Verified
from cart_core.store.segments import SegmentFolder


def verify(catalog_: Catalog, folder: SegmentFolder) -> Verified:
    """Check one moment of the store; every problem names its place.

    Checked are: positions without a gap, each file against its SHA-256, each batch against its Merkle root, the
    chain of batches, the running hash of the journal, and each cart's versions. It reads every event once, one
    segment at a time.
    """
    with catalog_.reading() as db:
        state = catalog.state(db)
        live = catalog.segments(db)
        batches = catalog.batches(db)
        rows = catalog.journal(db)
        hashes = catalog.journal_hashes(db)
    problems = [*_position_problems(state.position, live, [row[0] for row in rows]), *_chain_problems(batches)]
    versions = _Versions()
    covered: set[int] = set()
    for segment in live:
        mine = [each for each in batches if segment.first_position <= each.first_position <= segment.last_position]
        covered.update(each.batch for each in mine)
        problems += _segment_problems(folder, segment, mine, versions)
    problems += [f"batch {each.batch}: no segment holds its events" for each in batches if each.batch not in covered]
    journal = at_rest.from_journal(rows)
    problems += _journal_problems(journal, hashes, batches, state.running_hash)
    versions.add(journal)
    problems += versions.problems()
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


def _segment_problems(
    folder: SegmentFolder, segment: Segment, batches: Sequence[Batch], versions: _Versions
) -> Iterator[str]:
    name = f"segment {segment.file} (positions {segment.first_position} to {segment.last_position})"
    try:
        if folder.digest(segment.file) != segment.sha256:
            yield f"{name}: its bytes are not those that were written"
        table = folder.read(segment)
    except (StoreCorrupt, OSError) as error:
        yield f"{name}: {error}"
        return
    places = table["position"].to_numpy()
    order = np.argsort(places)
    if not np.array_equal(places[order], np.arange(segment.first_position, segment.last_position + 1)):
        yield f"{name}: its events have not the positions {segment.first_position} to {segment.last_position}"
        return
    leaves = ledger.leaf_hashes(table, strict=False)[order]
    recorded = table["recorded_at"].cast(pa.int64()).to_numpy()[order]
    for batch in batches:
        span = slice(batch.first_position - segment.first_position, batch.last_position - segment.first_position + 1)
        if ledger.merkle_root(leaves[span]) != batch.root:
            yield f"{name}: an event of batch {batch.batch} is not what was sealed (the Merkle root differs)"
        if ledger.recorded_hash(recorded[span]) != batch.recorded:
            yield f"{name}: a moment of recording in batch {batch.batch} is not what was sealed"
    versions.add(table)


def _journal_problems(
    journal: pa.Table, hashes: Sequence[bytes], batches: Sequence[Batch], latest: bytes
) -> Iterator[str]:
    anchors = [each.journal_anchor for each in batches if each.journal_anchor is not None]
    running = anchors[-1] if anchors else ledger.GENESIS
    leaves = ledger.leaf_hashes(journal, strict=False)
    recorded = journal["recorded_at"].cast(pa.int64()).to_pylist()
    for place, (position, stored) in enumerate(zip(journal["position"].to_pylist(), hashes, strict=True)):
        wanted = ledger.running_hash(running, bytes(leaves[place]), position, recorded[place])
        if wanted != stored:
            yield f"journal, position {position}: this event, or one before it, is not what was recorded"
        running = stored
    if running != latest:
        yield "journal: its last events are missing (the running hash differs)"


class _Versions:
    """The versions of every cart, to tell that they are 1, 2, 3 ... without gaps."""

    def __init__(self) -> None:
        self._keys: list[np.ndarray[Any, Any]] = []
        self._versions: list[np.ndarray[Any, Any]] = []

    def add(self, table: pa.Table) -> None:
        self._keys.append(schema.cart_keys(schema.id_bytes(table["cart_id"])))
        self._versions.append(table["version"].to_numpy().astype(np.int32))

    def problems(self) -> Iterator[str]:
        keys, versions = np.concatenate(self._keys), np.concatenate(self._versions)
        order = np.lexsort((versions, keys))
        keys, versions = keys[order], versions[order]
        first = np.r_[True, keys[1:] != keys[:-1]][: len(keys)]
        starts = np.flatnonzero(first)
        rank = np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)])) + 1
        wrong = np.flatnonzero(versions != rank)
        if len(wrong):
            carts = len(np.unique(keys[wrong]))
            yield f"{carts} carts have versions that are missing or doubled, e.g. version {rank[wrong[0]]}"
