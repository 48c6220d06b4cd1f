"""Rows that tell what shoppers did: known again by their own ids, decided key by key, appended part by part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cart_core.errors import ConcurrencyError, EventIdConflict, Problem, StoreBusy, VersionGap
from cart_core.importers import acts as act
from cart_core.importers import ids
from cart_core.importers.carts import CartIds, short
from cart_core.importers.derive import Derived, Refusal, derive
from cart_core.importers.ids import Bytes, Flags, Whole
from cart_core.importers.set_aside import SetAside, SetAsideFiles
from cart_core.importers.sources import ActBatch, Source
from cart_core.importers.spill import Spill
from cart_core.ingest.decided import Decided
from cart_core.ingest.keys import KnownKeys
from cart_core.ingest.report import Tally
from cart_core.schema import UTC_MICROS, id_bytes
from cart_core.store.base import Store
from cart_core.store.views import STAGED, ViewStage

TRIES = 10
DUPLICATE = Problem("row", None, "unlike every earlier row of the file (--duplicates keep takes it)")
AGAIN = Problem("row", None, "what it was when the row was imported first: it was set aside then")


@dataclass(frozen=True, slots=True)
class Rows:
    """The source rows of a part: ``first`` is the place of each one's first act, ``of_act`` the row of each act."""

    acts: pa.Table
    first: Whole
    of_act: Whole
    ids: Bytes
    is_view: Flags


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rows come to: events, how many were ``known``, and (row, why) of those set aside before or now."""

    derived: Derived
    known: int
    again: list[tuple[int, str]]
    refused: list[tuple[int, Refusal]]


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where an import keeps what is no event: rows set aside, rows gathered, rows decided, views."""

    aside: SetAsideFiles
    gathered: Spill
    decided: Decided
    views: ViewStage


class ActImport:
    """Brings what shoppers did into a store, as events and views.

    All rows are gathered first, divided by key; every part is then written whole or not at all. What a crash leaves
    undone, importing again does, with the outcome of an import that was not interrupted.
    """

    def __init__(self, store: Store, source: Source, tally: Tally, keeping: Keeping) -> None:
        self._store = store
        self._source = source
        self._tally = tally
        self._keeping = keeping
        self._view_rows = 0
        self._cart_ids = CartIds(source.name, source.options.cart_key)

    def take(self, batch: ActBatch) -> None:
        """Take a batch."""
        self._tally.rows += batch.rows
        self._set_aside(batch.set_aside)
        self._keeping.gathered.add(batch.acts)

    def finish(self) -> None:
        """Decide and write everything, part by part; views come last."""
        for part in self._keeping.gathered.parts():
            self._take_part(part)
            del part  # or it would stand beside the next one
            pa.default_memory_pool().release_unused()
        fresh = self._keeping.views.commit()
        self._tally.views += fresh
        self._tally.already_known += self._view_rows - fresh

    def _take_part(self, part: pa.Table) -> None:
        rows, occurrence = rows_of(part)
        repeated = occurrence > 1
        if self._source.options.duplicates == "drop":
            copies = [(int(row), "duplicate", DUPLICATE) for row in np.flatnonzero(repeated)]
            self._set_aside(self._described(rows, copies))
            fresh = ~repeated
        else:
            for row in np.flatnonzero(repeated):
                again = ids.named(rows.ids[row].tobytes(), str(occurrence[row]))
                rows.ids[row] = np.frombuffer(again, np.uint8)
            fresh = np.ones(len(rows.ids), bool)
        first = _earlier(rows.ids, np.zeros(len(rows.ids), np.int64)) == 0
        self._tally.already_known += int((fresh & ~first).sum())
        self._stage_views(rows, fresh & first & rows.is_view)
        self._take_events(rows, np.flatnonzero(fresh & first & ~rows.is_view))

    def _stage_views(self, rows: Rows, chosen: Flags) -> None:
        places = np.flatnonzero(chosen[rows.of_act])
        acts = rows.acts.take(pa.array(places))
        part = acts["part"].to_numpy()
        view_ids = rows.ids[rows.of_act[places]].copy()
        for place in np.flatnonzero(part):
            view_ids[place] = np.frombuffer(ids.named(view_ids[place].tobytes(), f"view {part[place]}"), np.uint8)
        columns = [ids.to_text(view_ids), acts["product_id"], acts["user_id"], acts["session"]]
        columns += [acts["at"].cast(UTC_MICROS), pa.array(part == 0)]
        self._keeping.views.add(pa.table(columns, schema=STAGED))
        self._view_rows += int(chosen.sum())

    def _take_events(self, rows: Rows, open_rows: Whole) -> None:
        """Derive the events of rows and append them; where somebody else wrote meanwhile, once more."""
        for _ in range(TRIES):
            if not len(open_rows):
                return
            verdict = self._decide(rows, open_rows)
            self._keeping.decided.add((rows.ids[row].tobytes(), refused.reason) for row, refused in verdict.refused)
            try:
                self._store.append_many(verdict.derived.events)
            except (ConcurrencyError, VersionGap, EventIdConflict):
                continue
            self._count(rows, verdict)
            return
        raise StoreBusy(f"others kept writing to the carts of this import; tried {TRIES} times: try again")

    def _decide(self, rows: Rows, open_rows: Whole) -> Verdict:
        known = self._store.known_ids(ids.uuids(rows.ids[open_rows]))
        unknown = open_rows[~known]
        reasons = self._keeping.decided.reasons(rows.ids[unknown])
        again = [(int(row), reasons[name]) for row in unknown if (name := rows.ids[row].tobytes()) in reasons]
        unknown = np.setdiff1d(unknown, np.array([row for row, _ in again], np.int64))
        store_has = KnownKeys(self._store, self._cart_ids, _keys(rows, unknown))
        bought = _in_a_checkout(rows, unknown, store_has.purchases())
        undecided = unknown[~bought]
        chosen = np.zeros(len(rows.ids), bool)
        chosen[undecided] = True
        places = np.flatnonzero(chosen[rows.of_act])
        acts = rows.acts.take(pa.array(places))
        keys = store_has.states(_keys(rows, undecided))
        derived = derive(self._source.name, acts, rows.ids[rows.of_act[places]], self._cart_ids, keys)
        refused = [(int(rows.of_act[places[each.place]]), each) for each in derived.refused]
        return Verdict(derived, int(known.sum() + bought.sum()), again, refused)

    def _count(self, rows: Rows, verdict: Verdict) -> None:
        derived = verdict.derived
        self._tally.event_rows += derived.rows
        self._tally.events += len(derived.events)
        self._tally.already_known += verdict.known
        if len(derived.events):
            self._tally.touched(id_bytes(derived.events["cart_id"]))
        refused = [(row, reason, AGAIN) for row, reason in verdict.again]
        refused += [(row, each.reason, each.problem) for row, each in verdict.refused]
        self._set_aside(self._described(rows, refused))

    def _described(self, rows: Rows, refused: list[tuple[int, str, Problem]]) -> list[SetAside]:
        """Rows with the file, number and text that each has in its source."""
        places = pa.array([int(rows.first[row]) for row, _, _ in refused], pa.int64())
        origins = rows.acts.select(["file", "row", "raw"]).take(places).to_pydict()
        return [
            SetAside(self._source.files[file], row, reason, [problem], raw)
            for file, row, raw, (_, reason, problem) in zip(*origins.values(), refused, strict=True)
        ]

    def _set_aside(self, rows: list[SetAside]) -> None:
        self._tally.set_aside.update(each.reason for each in rows)
        self._keeping.aside.add(rows)


def rows_of(part: pa.Table) -> tuple[Rows, Whole]:
    """Acts key by key and by time with their source rows, and which copy of itself each row is.

    Acts of one time keep their order (file, row, part). Copies are counted from 1 in each file by itself, so that
    files that overlap tell the same rows alike.
    """
    keys = part["key"].combine_chunks().dictionary_encode().indices.to_numpy()
    acts = part.take(pa.array(np.lexsort((part["at"].to_numpy(), keys))))
    begins = acts["part"].to_numpy() == 0
    first = np.flatnonzero(begins)
    heads = acts.select(["file", "row_id", "act"]).take(pa.array(first))
    row_ids = id_bytes(heads["row_id"]).copy()
    rows = Rows(acts, first, np.cumsum(begins) - 1, row_ids, heads["act"].to_numpy() == act.VIEW)
    return rows, 1 + _earlier(row_ids, heads["file"].to_numpy())


def _earlier(row_ids: Bytes, file: Whole) -> Whole:
    """For each row, how many rows of the same file and id stand before it."""
    words = row_ids.view("<u8").reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0], file))
    words, file = words[order], file[order]
    same = (words[1:] == words[:-1]).all(axis=1) & (file[1:] == file[:-1])
    places = np.arange(len(order))
    starts = np.maximum.accumulate(np.where(np.r_[False, same], 0, places))
    earlier = np.empty(len(order), np.int64)
    earlier[order] = places - starts
    return earlier


def _keys(rows: Rows, chosen: Whole) -> list[str]:
    """The keys of some rows, each once."""
    names: list[str] = rows.acts["key"].take(pa.array(rows.first[chosen])).unique().to_pylist()
    return names


def _in_a_checkout(rows: Rows, chosen: Whole, purchases: set[tuple[str, str]]) -> Flags:
    """Which rows are purchases that a checkout in the store names."""
    bought = np.zeros(len(chosen), bool)
    if purchases:
        acts = rows.acts.select(["key", "act"]).take(pa.array(rows.first[chosen]))
        keys = acts["key"].to_pylist()
        for place in np.flatnonzero(acts["act"].to_numpy() == act.PURCHASE):
            bought[place] = (keys[place], short(rows.ids[chosen[place]].tobytes())) in purchases
    return bought
