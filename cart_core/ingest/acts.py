"""Rows that tell what shoppers did: known again by their own ids, decided key by key, appended part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core.errors import ConcurrencyError, EventIdConflict, Problem, StoreBusy, VersionGap
from cart_core.importers import acts as act
from cart_core.importers import ids
from cart_core.importers.carts import CartIds, short
from cart_core.importers.derive import Derived, Refusal, derive
from cart_core.importers.ids import Bytes, Flags, Whole
from cart_core.importers.set_aside import SetAside, SetAsideFiles
from cart_core.importers.sources import ActBatch, Options
from cart_core.importers.spill import Spill
from cart_core.ingest.decided import Decided
from cart_core.ingest.keys import known_keys
from cart_core.ingest.report import Tally
from cart_core.schema import UTC_MICROS, id_bytes
from cart_core.store.base import Store
from cart_core.store.views import STAGED, ViewStage

TRIES = 10
IN_ORDER = ("key", "at", "file", "row", "part")
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


class ActImport:
    """Brings what shoppers did into a store, as events and views.

    All rows are gathered first, divided by key; every part is then written whole or not at all. What a crash leaves
    undone, importing again does, with the outcome of an import that was not interrupted.
    """

    def __init__(
        self,
        store: Store,
        source: str,
        files: Sequence[str],
        options: Options,
        tally: Tally,
        aside: SetAsideFiles,
        gathered: Spill,
        decided: Decided,
        views: ViewStage,
    ) -> None:
        self._store = store
        self._source = source
        self._files = files
        self._options = options
        self._tally = tally
        self._aside = aside
        self._gathered = gathered
        self._decided = decided
        self._views = views
        self._view_rows = 0
        self._cart_ids = CartIds(source, options.cart_key)

    def take(self, batch: ActBatch) -> None:
        """Take a batch."""
        self._tally.rows += batch.rows
        self._set_aside(batch.set_aside)
        self._gathered.add(batch.acts)

    def finish(self) -> None:
        """Decide and write everything, part by part; views come last."""
        for part in self._gathered.parts():
            self._take_part(part)
        fresh = self._views.commit()
        self._tally.views += fresh
        self._tally.already_known += self._view_rows - fresh

    def _take_part(self, part: pa.Table) -> None:
        rows, occurrence = rows_of(part)
        repeated = occurrence > 1
        if self._options.duplicates == "drop":
            self._set_aside([self._row(rows, int(row), "duplicate", DUPLICATE) for row in np.flatnonzero(repeated)])
            fresh = ~repeated
        else:
            for row in np.flatnonzero(repeated):
                again = ids.named(rows.ids[row].tobytes(), str(occurrence[row]))
                rows.ids[row] = np.frombuffer(again, np.uint8)
            fresh = np.ones(len(rows.ids), bool)
        first = _first_of_its_id(rows.ids)
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
        self._views.add(pa.table(columns, schema=STAGED))
        self._view_rows += int(chosen.sum())

    def _take_events(self, rows: Rows, open_rows: Whole) -> None:
        """Derive the events of rows and append them; where somebody else wrote meanwhile, once more."""
        for _ in range(TRIES):
            if not len(open_rows):
                return
            verdict = self._decide(rows, open_rows)
            self._decided.add((rows.ids[row].tobytes(), refused.reason) for row, refused in verdict.refused)
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
        reasons = self._decided.reasons(rows.ids[unknown])
        again = [(int(row), reasons[name]) for row in unknown if (name := rows.ids[row].tobytes()) in reasons]
        undecided = np.setdiff1d(unknown, np.array([row for row, _ in again], np.int64))
        names = rows.acts["key"].take(pa.array(rows.first[undecided])).unique().to_pylist()
        store_has = known_keys(self._store, self._cart_ids, names)
        bought = self._in_a_checkout(rows, undecided, store_has.purchases)
        undecided = undecided[~bought]
        chosen = np.zeros(len(rows.ids), bool)
        chosen[undecided] = True
        places = np.flatnonzero(chosen[rows.of_act])
        acts = rows.acts.take(pa.array(places))
        derived = derive(self._source, acts, rows.ids[rows.of_act[places]], self._cart_ids, store_has.keys)
        refused = [(int(rows.of_act[places[each.place]]), each) for each in derived.refused]
        return Verdict(derived, int(known.sum() + bought.sum()), again, refused)

    def _in_a_checkout(self, rows: Rows, undecided: Whole, purchases: set[tuple[str, str]]) -> Flags:
        """Which rows are purchases that a checkout in the store names."""
        bought = np.zeros(len(undecided), bool)
        if purchases:
            acts = rows.acts.select(["key", "act"]).take(pa.array(rows.first[undecided]))
            keys = acts["key"].to_pylist()
            for place in np.flatnonzero(acts["act"].to_numpy() == act.PURCHASE):
                bought[place] = (keys[place], short(rows.ids[undecided[place]].tobytes())) in purchases
        return bought

    def _count(self, rows: Rows, verdict: Verdict) -> None:
        derived = verdict.derived
        self._tally.event_rows += derived.rows
        self._tally.events += len(derived.events)
        self._tally.already_known += verdict.known
        if len(derived.events):
            self._tally.touched(id_bytes(derived.events["cart_id"]))
        self._set_aside([self._row(rows, row, reason, AGAIN) for row, reason in verdict.again])
        self._set_aside([self._row(rows, row, each.reason, each.problem) for row, each in verdict.refused])

    def _row(self, rows: Rows, row: int, reason: str, problem: Problem) -> SetAside:
        file, number, raw = (rows.acts[name][int(rows.first[row])].as_py() for name in ("file", "row", "raw"))
        return SetAside(self._files[file], number, reason, [problem], raw)

    def _set_aside(self, rows: list[SetAside]) -> None:
        self._tally.set_aside.update(each.reason for each in rows)
        self._aside.add(rows)


def rows_of(part: pa.Table) -> tuple[Rows, Whole]:
    """Acts in order (by key, time, file, row and part) with their source rows, and which copy of itself each row is.

    Copies are counted from 1 in each file by itself, so that files that overlap tell the same rows alike.
    """
    frame = pl.DataFrame(part.select([*IN_ORDER, "row_id", "act"]))
    order = frame.with_row_index("place").sort(IN_ORDER)
    first = np.flatnonzero((order["part"] == 0).to_numpy())
    heads = order.gather_every(1) if len(first) == len(order) else order.filter(pl.col("part") == 0)
    copy = heads.select(pl.int_range(1, pl.len() + 1).over("file", "row_id")).to_series()
    acts = part.take(pa.array(order["place"].to_numpy()))
    of_act = np.cumsum((order["part"] == 0).to_numpy()) - 1
    row_ids = np.frombuffer(b"".join(heads["row_id"].to_list()), np.uint8).reshape(-1, ids.ID_BYTES).copy()
    return Rows(acts, first, of_act, row_ids, (heads["act"] == act.VIEW).to_numpy()), copy.to_numpy()


def _first_of_its_id(row_ids: Bytes) -> Flags:
    return pl.Series(ids.column(row_ids).cast(pa.binary())).is_first_distinct().to_numpy()
