"""Checking one segment: its bytes, what the catalog says of it, its events, and the index made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import ledger, schema
from cart_core.errors import StoreError
from cart_core.store.catalogs.catalog import Batch, Segment
from cart_core.store.segments import layout
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.segments.index import IndexCache

UNREADABLE = (StoreError, OSError, pa.ArrowException, ValueError, KeyError, TypeError)
"""What a damaged file makes its reader raise."""
Array = np.ndarray[Any, np.dtype[Any]]


class FileCheck:
    """One segment under check; ``table`` is None where the file cannot be read as what it should be."""

    def __init__(self, folder: SegmentFolder, indexes: IndexCache, segment: Segment) -> None:
        self._folder = folder
        self._indexes = indexes
        self._segment = segment
        self._name = f"segment {segment.file} (positions {segment.first_position} to {segment.last_position})"
        self.table: pa.Table | None = None

    def problems(self, batches: Sequence[Batch]) -> Iterator[str]:
        """What is wrong with the segment, which holds the events of these batches; each names its place."""
        yield from (f"{self._name}: {each}" for each in [*self._coverage_problems(batches), *self._file_problems()])
        if self.table is not None:
            yield from (f"{self._name}: {each}" for each in self._content_problems(self.table, batches))

    def _coverage_problems(self, batches: Sequence[Batch]) -> Iterator[str]:
        """Every position of the segment must be in one batch of the chain."""
        reached = self._segment.first_position - 1
        for batch in sorted(batches, key=lambda each: each.first_position):
            if batch.first_position != reached + 1:
                yield f"positions {reached + 1} to {batch.first_position - 1} are not those of one batch of the chain"
            reached = batch.last_position
        if reached != self._segment.last_position:
            yield f"positions {reached + 1} to {self._segment.last_position} are not those of one batch of the chain"

    def _file_problems(self) -> Iterator[str]:
        segment = self._segment
        try:
            whole = self._folder.digest(segment.file) == segment.sha256
            if not whole:
                yield "its bytes are not those that were written"
                yield from self._damage()
            system, base = self._folder.files()
            size = system.get_file_info(f"{base}/{segment.file}").size
            if size != segment.size_bytes:
                yield f"the catalog says it has {segment.size_bytes} bytes, but it has {size}"
            self.table = self._folder.read(segment)
            if whole and (index := self._indexes.differs(segment, self.table)):
                yield f"its index {index} is not made of it: remove the index, it will be made anew"
        except UNREADABLE as error:
            yield f"it cannot be read ({error})"

    def _damage(self) -> Iterator[str]:
        """Which row groups of a file do not read as they were written, by the checksums of their pages."""
        start = 0
        with self._folder.checked(self._segment) as opened:
            for group in range(opened.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                try:
                    opened.read_row_group(group)
                except UNREADABLE as error:
                    yield f"row group {group} (rows {start} to {start + rows - 1} of the file) is damaged ({error})"
                start += rows

    def _content_problems(self, table: pa.Table, batches: Sequence[Batch]) -> Iterator[str]:
        segment = self._segment
        places = table["position"].to_numpy()
        order = np.argsort(places)
        if not np.array_equal(places[order], np.arange(segment.first_position, segment.last_position + 1)):
            yield f"its {len(table)} events have not the positions {segment.first_position} to {segment.last_position}"
            return
        yield from self._catalog_problems(table)
        leaves = ledger.leaf_hashes(table, strict=False)[order]
        for place in np.flatnonzero(~leaves.any(axis=1)):
            yield f"{event_name(table, int(order[place]))} is no event"
        recorded = table["recorded_at"].cast(pa.int64()).to_numpy()[order]
        for batch in batches:
            span = slice(
                batch.first_position - segment.first_position, batch.last_position + 1 - segment.first_position
            )
            if ledger.merkle_root(leaves[span]) != batch.root:
                yield f"an event of {_batch(batch)} is not what was sealed (the Merkle root differs)"
            if ledger.recorded_hash(recorded[span]) != batch.recorded:
                yield f"a moment of recording in {_batch(batch)} is not what was sealed"

    def _catalog_problems(self, table: pa.Table) -> Iterator[str]:
        """What readers take from the catalog, or from the order of the file, without looking at the events."""
        times = pc.min_max(table["timestamp"].cast(pa.int64())).as_py()
        said = {"min": self._segment.min_timestamp, "max": self._segment.max_timestamp}
        if said != times:
            yield f"the catalog says its timestamps are {said}, but they are {times} (us since 1970)"
        if len(table) != self._segment.rows:
            yield f"the catalog says it has {self._segment.rows} rows, but it has {len(table)}"
        ids = schema.id_bytes(table["cart_id"])
        if not np.array_equal(table["bucket"].to_numpy(), schema.buckets(table["cart_id"])):
            yield "events lie in other buckets than those of their carts"
        moved = np.flatnonzero(layout.cart_order(ids, table["version"].to_numpy()) != np.arange(len(table)))
        if len(moved):
            yield f"{event_name(table, int(moved[0]))} is out of order in the file"


class Versions:
    """The versions of every cart, to tell that they are 1, 2, 3 ... without gaps."""

    NAMED = 3

    def __init__(self) -> None:
        self._keys: list[Array] = []
        self._versions: list[Array] = []
        self._positions: list[Array] = []

    def add(self, table: pa.Table) -> None:
        """Take the events of a table in."""
        self._keys.append(schema.cart_keys(schema.id_bytes(table["cart_id"])))
        self._versions.append(table["version"].to_numpy().astype(np.int32))
        self._positions.append(table["position"].to_numpy())

    def problems(self, cart_at: Callable[[int], UUID]) -> Iterator[str]:
        """Where versions are missing or doubled; ``cart_at`` says which cart has the event at a position."""
        keys, versions = np.concatenate(self._keys), np.concatenate(self._versions)
        order = np.lexsort((versions, keys))
        keys, versions = keys[order], versions[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
        rank = np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)])) + 1
        wrong = np.flatnonzero(versions != rank)
        _, firsts = np.unique(keys[wrong], return_index=True)
        for row in wrong[firsts[: self.NAMED]]:
            position = int(np.concatenate(self._positions)[order[row]])
            found, due = int(versions[row]), int(rank[row])
            what = f"version {due} is missing" if found > due else f"version {found} is there twice"
            yield f"cart {cart_at(position)}: {what} (position {position} has version {found})"
        if len(firsts) > self.NAMED:
            yield f"{len(firsts) - self.NAMED} more carts have versions that are missing or doubled"


def latest(table: pa.Table) -> int:
    """The latest moment of recording in a table, in microseconds; 0 where it is empty."""
    return pc.max(table["recorded_at"].cast(pa.int64())).as_py() or 0


def event_name(table: pa.Table, row: int) -> str:
    """The event in a row of a table, by its position, cart and version."""
    position, cart, version = (table[name][row].as_py() for name in ("position", "cart_id", "version"))
    return f"position {position} (cart {cart}, version {version})"


def _batch(batch: Batch) -> str:
    return f"batch {batch.batch} (positions {batch.first_position} to {batch.last_position})"
