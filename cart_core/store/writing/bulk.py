"""Bulk admission: a batch is planned against a snapshot, laid down as segments, and committed in one short step."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import ledger, rules, schema
from cart_core.errors import StoreBusy
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog, users
from cart_core.store.catalogs.catalog import Catalog, Connection, Segment, State
from cart_core.store.reading.reader import Reader, share_an_id
from cart_core.store.results import Admission
from cart_core.store.segments import layout
from cart_core.store.writing import admission, sealing
from cart_core.store.writing.admission import Plan

JOURNAL_ROWS = 10_000
SEGMENT_ROWS = 2_000_000
TRIES = 20
GIVEN = ["position", "user_key", "recorded_at", "bucket"]
"""What rows get only when their place is known."""
CONTENT = [name for name in at_rest.AT_REST.names if name not in GIVEN]
Array = np.ndarray[Any, np.dtype[Any]]


class BulkWriter:
    """Admits tables of events: few rows through the journal, many as segments of their own."""

    def __init__(
        self, catalog_: Catalog, reader: Reader, clock: Callable[[], datetime], journal_rows: int = JOURNAL_ROWS
    ) -> None:
        self._catalog = catalog_
        self._reader = reader
        self._clock = clock
        self._journal_rows = journal_rows

    def admit(self, table: pa.Table, *, whole: bool) -> Admission:
        """Write what may enter; with ``whole``, nothing where any row is refused."""
        if len(table) <= self._journal_rows:
            return self._admit_few(table, whole=whole)
        for _ in range(TRIES):
            with self._catalog.reading() as db:
                base = catalog.state(db)
                plan = self._plan(db, table)
            if not len(plan.accepted) or (whole and len(plan.refused)):
                return _answer(plan, 0, base.position)
            position = self._write(layout.taken(table, plan.accepted), plan.by_cart, base)
            if position is not None:
                return _answer(plan, len(plan.accepted), position)
        raise StoreBusy(f"others kept writing to the carts of this batch; tried {TRIES} times: try again")

    def _plan(self, db: Connection, table: pa.Table) -> Plan:
        def known(ids: Array) -> tuple[Array, pa.Table]:
            rows, stored = self._reader.events(db, ids)
            return rows, self._reader.named(db, stored)

        return admission.plan(table, known, lambda ids: self._reader.heads(db, ids))

    def _admit_few(self, table: pa.Table, *, whole: bool) -> Admission:
        with self._catalog.writing() as db:
            state = catalog.state(db)
            plan = self._plan(db, table)
            if not len(plan.accepted) or (whole and len(plan.refused)):
                return _answer(plan, 0, state.position)
            accepted = layout.taken(table, plan.accepted)
            recorded_us = max(rules.to_micros(self._clock()), state.recorded_us)
            stored = self._keyed(db, accepted, state.position, recorded_us)
            running = state.running_hash
            rows = []
            for row, leaf in zip(at_rest.journal_rows(stored), ledger.leaf_hashes(stored), strict=True):
                running = ledger.running_hash(running, bytes(leaf), row[0], recorded_us)
                rows.append((*row, running))
            catalog.insert(db, rows)
            position = state.position + len(accepted)
            catalog.advance(db, position, recorded_us, running)
        return _answer(plan, len(plan.accepted), position)

    def _write(self, accepted: pa.Table, by_cart: Array, base: State) -> int | None:
        """Lay accepted rows down behind ``base``; None where somebody wrote to their carts meanwhile."""
        parts = [
            (start, by_cart[by_cart // SEGMENT_ROWS == start // SEGMENT_ROWS] - start) for start in _starts(accepted)
        ]
        with ThreadPoolExecutor(1) as beside:
            content = beside.submit(_content, accepted, *parts[0])
            with self._catalog.writing() as db:
                stored = self._keyed(db, accepted, base.position, None)
            first = content.result()
        written: list[tuple[Segment, bytes]] = []
        try:
            for start, order in parts:
                content = first if start == 0 else _content(accepted, start, order)
                written.append(self._lay_down(stored.slice(start, SEGMENT_ROWS), order, content))
            position = self._commit(accepted, written, base)
        except BaseException:
            self._remove(written)
            raise
        if position is None:
            self._remove(written)
        return position

    def _lay_down(self, part: pa.Table, order: Array, content: pa.Table) -> tuple[Segment, bytes]:
        """Write rows as a segment with its index, while they are hashed beside it; the segment and the root.

        ``order`` is that of the file, in which ``content``, what the rows were sent with, already stands.
        """
        with ThreadPoolExecutor(1) as beside:
            root = beside.submit(lambda: ledger.merkle_root(ledger.leaf_hashes(part)))
            given = layout.taken(part.select(GIVEN), order)
            columns = [(given if name in GIVEN else content)[name] for name in at_rest.AT_REST.names]
            laid_out = pa.table(columns, schema=at_rest.AT_REST)
            segment = self._reader.folder.write_laid_out(laid_out)
            self._reader.indexes.keep(segment, laid_out)
            return segment, root.result()

    def _commit(self, accepted: pa.Table, written: list[tuple[Segment, bytes]], base: State) -> int | None:
        with self._catalog.writing() as db:
            now = catalog.state(db)
            if now != base and self._collides(db, accepted, base):
                return None
            recorded_us = max(rules.to_micros(self._clock()), now.recorded_us)
            shift = now.position - base.position
            for segment, root in written:
                sealing.commit_bulk(db, self._reader.folder, segment, root, shift, recorded_us)
            position = now.position + len(accepted)
            catalog.advance(db, position, recorded_us)
            catalog.change_files(db)
        return position

    def _collides(self, db: Connection, accepted: pa.Table, base: State) -> bool:
        """Whether anything written since ``base`` touches the carts, ids or users of these rows."""
        named = accepted["user_id"].unique().to_pylist()
        if any(catalog.find_user(db, user) is None for user in named):
            return True
        columns = ["position", "cart_id", "event_id"]
        newer = [at_rest.from_journal(catalog.journal(db, base.position)).select(columns)]
        for segment in catalog.segments(db):
            if segment.last_position > base.position:
                part = self._reader.folder.read(segment, columns)
                newer.append(part.filter(pa.array(part["position"].to_numpy() > base.position)))
        theirs = pa.concat_tables(newer)
        return any(
            share_an_id(schema.id_bytes(accepted[column]), schema.id_bytes(theirs[column]))
            for column in ("cart_id", "event_id")
        )

    def _keyed(self, db: Connection, accepted: pa.Table, position: int, recorded_us: int | None) -> pa.Table:
        keys = users.keys(db, accepted["user_id"].unique().to_pylist())
        positions = np.arange(position + 1, position + 1 + len(accepted))
        return at_rest.with_keys(accepted, keys, positions, recorded_us)

    def _remove(self, written: list[tuple[Segment, bytes]]) -> None:
        for segment, _ in written:
            self._reader.folder.remove(segment.file)
            self._reader.indexes.forget(segment.file)


def _starts(accepted: pa.Table) -> range:
    """Where the segments begin that rows are laid down in."""
    return range(0, len(accepted), SEGMENT_ROWS)


def _content(accepted: pa.Table, start: int, order: Array) -> pa.Table:
    """What the rows of a segment were sent with, in the order of its file."""
    part = accepted.select(CONTENT).slice(start, SEGMENT_ROWS)
    return layout.taken(part, order)


def _answer(plan: Plan, appended: int, position: int) -> Admission:
    return Admission(
        appended=appended,
        carts=plan.carts if appended else 0,
        already_known=plan.already_known,
        refused=plan.refused,
        position=position,
    )
