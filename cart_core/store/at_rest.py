"""Events as they lie in the catalog and the segments: like EVENTS, with ``user_key`` in place of ``user_id``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules, schema
from cart_core.events import FIELDS, Event, values_getter
from cart_core.schema import EVENTS

FORGOTTEN = "forgotten-"
"""How the user of an event reads after ``forget``: this and the pseudonym's number."""

AT_REST = pa.schema(
    [pa.field("user_key", pa.int64()) if each.name == "user_id" else each for each in EVENTS]
    + [pa.field("bucket", pa.uint8())]
)
JOURNAL_COLUMNS = tuple(name for name in AT_REST.names if name != "bucket")
CONTENT_COLUMNS = tuple(name for name in EVENTS.names if name not in schema.GIVEN_BY_STORE)
TIME_COLUMNS = frozenset(name for name in EVENTS.names if EVENTS.field(name).type == schema.UTC_MICROS)
_POSITION, _EVENT_ID, _CART_ID, _VERSION, _USER_KEY, _TIMESTAMP, _RECORDED_AT, _TYPE, _LAST_ACTIVITY, _METADATA = map(
    JOURNAL_COLUMNS.index,
    (
        *("position", "event_id", "cart_id", "version", "user_key", "timestamp", "recorded_at", "type"),
        *("last_activity_at", "metadata"),
    ),
)
_RUNNING_HASH = len(JOURNAL_COLUMNS)
_BLANK: list[Any] = [None] * (len(JOURNAL_COLUMNS) + 1)
_PAYLOADS = {
    name: (values_getter([each.python for each in specs]), [JOURNAL_COLUMNS.index(each.column) for each in specs])
    for name, specs in FIELDS.items()
}


def to_journal(
    cart_id: bytes, version: int, event_id: str, event: Event, timestamp: datetime, metadata: Mapping[str, str]
) -> list[Any]:
    """The values of one journal row (JOURNAL_COLUMNS and the running hash); what the commit gives is None."""
    values = _BLANK.copy()
    getter, places = _PAYLOADS[event.type]
    for place, value in zip(places, getter(event), strict=True):
        values[place] = value
    if values[_LAST_ACTIVITY] is not None:
        values[_LAST_ACTIVITY] = rules.to_micros(values[_LAST_ACTIVITY])
    values[_EVENT_ID], values[_CART_ID] = bytes.fromhex(event_id.replace("-", "")), cart_id
    values[_VERSION], values[_TIMESTAMP], values[_TYPE] = version, rules.to_micros(timestamp), event.type
    if metadata:
        values[_METADATA] = _metadata_text(sorted(metadata.items()))
    return values


def complete(row: list[Any], position: int, user_key: int, recorded_us: int, running_hash: bytes) -> None:
    """Put into a journal row what its commit gives."""
    row[_POSITION], row[_USER_KEY], row[_RECORDED_AT], row[_RUNNING_HASH] = (
        position,
        user_key,
        recorded_us,
        running_hash,
    )


def journal_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """A table with the columns of AT_REST as values of journal rows."""
    columns = []
    for name in JOURNAL_COLUMNS:
        column = table[name]
        if name in TIME_COLUMNS:
            column = column.cast(pa.int64())
        values = column.to_pylist()
        if name in ("event_id", "cart_id"):
            values = [value.bytes for value in values]
        elif name == "metadata":
            values = [_metadata_text(value) for value in values]
        columns.append(values)
    return list(zip(*columns, strict=True))


def from_journal_row(row: Sequence[Any]) -> dict[str, Any]:
    """One row of the journal as ``schema.from_row`` takes it, with user_key."""
    values = dict(zip(JOURNAL_COLUMNS, row, strict=True))
    for name in TIME_COLUMNS:
        if values[name] is not None:
            values[name] = rules.EPOCH + timedelta(microseconds=values[name])
    values["event_id"], values["cart_id"] = bytes(values["event_id"]), bytes(values["cart_id"])
    values["metadata"] = _metadata_pairs(values["metadata"])
    return values


def from_journal(rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows of the journal as a table of AT_REST, in order."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(JOURNAL_COLUMNS)
    arrays = []
    for name, values in zip(JOURNAL_COLUMNS, columns, strict=True):
        kind = AT_REST.field(name).type
        if name in ("event_id", "cart_id"):
            arrays.append(pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16))))
        elif name == "metadata":
            arrays.append(pa.array([_metadata_pairs(value) for value in values], kind))
        else:
            arrays.append(pa.array(values, kind))
    ids = np.frombuffer(b"".join(columns[2]), np.uint8).reshape(-1, 16)
    return pa.table([*arrays, pa.array(ids[:, 15] % schema.BUCKETS)], schema=AT_REST)


def with_keys(
    table: pa.Table, keys: dict[str, int], positions: np.ndarray[Any, Any], recorded_us: int | None
) -> pa.Table:
    """A table of EVENTS as AT_REST: users by their key, with positions and the moment of recording."""
    users = table["user_id"].combine_chunks().dictionary_encode()
    lookup = pa.array([keys[name] for name in users.dictionary.to_pylist()], pa.int64())
    recorded = pa.array(np.full(len(table), recorded_us or 0, np.int64), mask=None).cast(schema.UTC_MICROS)
    given = {
        "position": pa.array(positions, pa.int64()),
        "user_key": lookup.take(users.indices),
        "recorded_at": recorded if recorded_us is not None else pa.nulls(len(table), schema.UTC_MICROS),
        "bucket": pa.array(schema.buckets(table["cart_id"])),
    }
    return pa.table([given.get(name) if name in given else table[name] for name in AT_REST.names], schema=AT_REST)


def with_names(table: pa.Table, names: dict[int, str]) -> pa.Table:
    """A table of AT_REST, or of some of its columns, as EVENTS: a forgotten user reads as the pseudonym's number."""
    found = {name: table[name] for name in table.column_names if name in EVENTS.names}
    if "user_key" in table.column_names:
        users = table["user_key"].combine_chunks().dictionary_encode()
        texts = pa.array([names.get(key, f"{FORGOTTEN}{key}") for key in users.dictionary.to_pylist()], pa.string())
        found["user_id"] = texts.take(users.indices)
    fields = [each for each in EVENTS if each.name in found]
    return pa.table([found[each.name] for each in fields], schema=pa.schema(fields))


def same_content(left: pa.Table, right: pa.Table, columns: Iterable[str] = CONTENT_COLUMNS) -> np.ndarray[Any, Any]:
    """Row by row whether two tables of EVENTS of one length hold the same, null equal to null."""
    same = np.ones(len(left), bool)
    for name in columns:
        if name == "metadata":
            same &= _same_maps(left[name], right[name])
        elif isinstance(EVENTS.field(name).type, pa.UuidType):
            same &= (schema.id_bytes(left[name]) == schema.id_bytes(right[name])).all(axis=1)
        else:
            same &= _same_cells(left[name], right[name])
    return same


def _same_cells(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return np.asarray(pc.or_(pc.fill_null(pc.equal(left, right), False), both_null).to_numpy())


def _same_maps(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    same = np.ones(len(left), bool)
    if left.null_count == len(left) and right.null_count == len(right):
        return same
    for row, (one, other) in enumerate(zip(left.to_pylist(), right.to_pylist(), strict=True)):
        same[row] = dict(one or ()) == dict(other or ())
    return same


def _metadata_text(pairs: Iterable[tuple[str, str]] | None) -> str | None:
    return json.dumps(dict(pairs), ensure_ascii=False, separators=(",", ":")) if pairs else None


def _metadata_pairs(text: str | None) -> list[tuple[str, str]] | None:
    return sorted(json.loads(text).items()) if text else None
