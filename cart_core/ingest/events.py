"""Rows that are events already: admitted chunk by chunk, with the early ones kept until their predecessors are in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.errors import Problem
from cart_core.importers.set_aside import SetAside, SetAsideFiles, reason_of
from cart_core.importers.sources import EventBatch
from cart_core.importers.spill import Spill
from cart_core.ingest.report import Tally
from cart_core.store import Admission
from cart_core.store.base import Store

CHUNK_ROWS = 2**18
WAITS = "version_gap"
PROBLEMS = {
    "version_gap": ("version", "version", "one above the version before it, which is missing or set aside"),
    "version_conflict": ("version", "version", "a version that no other event of the cart has"),
    "event_id_conflict": ("eventId", "event_id", "a new id, or one that is known with the same content"),
}
SOURCE = pa.schema([("source_file", pa.string()), ("source_row", pa.int64()), ("source_raw", pa.binary())])

Places = np.ndarray[Any, np.dtype[np.int64]]


class EventImport:
    """Brings batches of events into a store. Every chunk is written whole or not at all."""

    def __init__(self, store: Store, tally: Tally, aside: SetAsideFiles, early: Spill) -> None:
        self._store = store
        self._tally = tally
        self._aside = aside
        self._early = early
        self._batches: list[EventBatch] = []
        self._waiting = False

    def take(self, batch: EventBatch) -> None:
        """Take a batch; a chunk is admitted once there are enough rows for one."""
        self._tally.rows += len(batch.events) + len(batch.set_aside)
        self._set_aside(batch.set_aside)
        self._batches.append(batch)
        if sum(len(each.events) for each in self._batches) >= CHUNK_ROWS:
            self._admit_chunk()

    def finish(self) -> None:
        """Admit what is left: the last chunk, then the rows that came before their predecessors."""
        self._admit_chunk()
        if not self._waiting:
            return
        for part in self._early.parts():
            events = part.select(schema.EVENTS.names)
            admission = self._admit(events)
            refused = admission.refused.to_pylist()
            problems = _problems(events, refused)
            self._set_aside([_late(part, each, found) for each, found in zip(refused, problems, strict=True)])

    def _admit_chunk(self) -> None:
        batches, self._batches = [batch for batch in self._batches if len(batch.events)], []
        if not batches:
            return
        ends = np.cumsum([len(batch.events) for batch in batches])
        events = pa.concat_tables([batch.events for batch in batches])
        admission = self._admit(events)
        refused = admission.refused.to_pylist()
        early = [each["row"] for each in refused if each["reason"] == WAITS]
        if early:
            self._waiting = True
            self._early.add(_with_source(events, np.array(early, np.int64), batches, ends))
        final = [each for each in refused if each["reason"] != WAITS]
        rows = []
        for each, problems in zip(final, _problems(events, final), strict=True):
            batch, place = _origin(each["row"], batches, ends)
            reason = reason_of(problems) if each["reason"] == "invalid" else each["reason"]
            rows.append(SetAside(batch.file, int(batch.rows[place]), reason, problems, batch.raw(place)))
        self._set_aside(rows)

    def _admit(self, events: pa.Table) -> Admission:
        admission = self._store.admit(events)
        accepted = ~admission.already_known
        accepted[admission.refused["row"].to_numpy()] = False
        self._tally.events += admission.appended
        self._tally.event_rows += admission.appended
        self._tally.already_known += int(admission.already_known.sum())
        if admission.appended:
            self._tally.touched(schema.id_bytes(events["cart_id"])[accepted])
        return admission

    def _set_aside(self, rows: list[SetAside]) -> None:
        self._tally.set_aside.update(each.reason for each in rows)
        self._aside.add(rows)


def _origin(row: int, batches: list[EventBatch], ends: Places) -> tuple[EventBatch, int]:
    """The batch that a row of a chunk is from, and its place there."""
    number = int(np.searchsorted(ends, row, side="right"))
    return batches[number], row - int(ends[number]) + len(batches[number].events)


def _with_source(events: pa.Table, rows: Places, batches: list[EventBatch], ends: Places) -> pa.Table:
    """Rows of a chunk with the file, the row number and the text that each is from."""
    origins = [_origin(int(row), batches, ends) for row in rows]
    columns = [
        [batch.file for batch, _ in origins],
        [int(batch.rows[place]) for batch, place in origins],
        [batch.raw(place) for batch, place in origins],
    ]
    table = events.take(pa.array(rows))
    for field, values in zip(SOURCE, columns, strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    return table


def _late(part: pa.Table, refused: dict[str, Any], problems: list[Problem]) -> SetAside:
    file, row, raw = (part[name][refused["row"]].as_py() for name in SOURCE.names)
    return SetAside(file, row, refused["reason"], problems, raw)


def _problems(events: pa.Table, refused: list[dict[str, Any]]) -> list[list[Problem]]:
    """What is wrong with each refused row: every broken rule of an invalid one, the store's reason for another."""
    invalid = [each["row"] for each in refused if each["reason"] == "invalid"]
    broken: dict[int, list[Problem]] = {}
    if invalid:
        for each in schema.violations(events.take(pa.array(invalid))).to_pylist():
            broken.setdefault(invalid[each["row"]], []).append(Problem(each["field"], each["value"], each["rule"]))
    found = []
    for each in refused:
        if each["reason"] == "invalid":
            found.append(broken[each["row"]])
        else:
            field, column, rule = PROBLEMS[each["reason"]]
            value = events[column][each["row"]].as_py()
            found.append([Problem(field, value if column == "version" else str(value), rule)])
    return found
