"""Envelopes as rows of the events table, rows as envelopes, and rows as the JSON documents they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pyarrow as pa

from cart_core import rules
from cart_core.errors import InvalidEvent, Problem
from cart_core.events import CLASSES, FIELDS, Envelope, Field
from cart_core.schema.columns import EVENTS, JSON_NAMES, PAYLOAD_COLUMNS, moment_of


def to_row(envelope: Envelope) -> dict[str, Any]:
    """An envelope as one row of EVENTS: column to value, without the columns that are null."""
    row: dict[str, Any] = {
        "event_id": bytes.fromhex(envelope.event_id.replace("-", "")),
        "cart_id": bytes.fromhex(envelope.cart_id.replace("-", "")),
        "version": envelope.version,
        "user_id": envelope.user_id,
        "timestamp": envelope.timestamp,
        "type": envelope.event.type,
    }
    for spec in FIELDS[envelope.event.type]:
        value = getattr(envelope.event, spec.python)
        if value is not None:
            row[spec.column] = value
    if envelope.position is not None:
        row["position"] = envelope.position
    if envelope.recorded_at is not None:
        row["recorded_at"] = envelope.recorded_at
    if envelope.metadata:
        row["metadata"] = sorted(envelope.metadata.items())
    return row


def from_row(row: dict[str, Any]) -> Envelope:
    """One row of EVENTS, as Python values, as an envelope; columns that its type does not have are not looked at.

    Raises InvalidEvent where it breaks a rule.
    """
    name = row["type"]
    if name not in CLASSES:
        raise InvalidEvent([Problem("type", name, rules.NAMED_TYPE_WORDING)])
    event = CLASSES[name](**{spec.python: row.get(spec.column) for spec in FIELDS[name]})
    return Envelope(
        event_id=_text_id(row["event_id"]),
        cart_id=_text_id(row["cart_id"]),
        user_id=row["user_id"],
        timestamp=row["timestamp"],
        version=row["version"],
        event=event,
        metadata=dict(row.get("metadata") or ()),
        recorded_at=row.get("recorded_at"),
        position=row.get("position"),
    )


def to_table(envelopes: Iterable[Envelope]) -> pa.Table:
    """Envelopes as a table with exactly the columns of EVENTS, in the order given."""
    return table_of_rows([to_row(envelope) for envelope in envelopes])


def table_of_rows(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows such as ``to_row`` gives as a table of EVENTS; columns that a row lacks are null."""
    return pa.table(
        [_array([row.get(name) for row in rows], kind) for name, kind in zip(EVENTS.names, EVENTS.types, strict=True)],
        schema=EVENTS,
    )


def to_envelopes(table: pa.Table) -> list[Envelope]:
    """Every row of a table of EVENTS as an envelope, in order. Raises InvalidEvent where one breaks a rule."""
    return [from_row(row) for row in _rows(table)]


def to_documents(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Every row as the camelCase JSON object of its envelope, in order, valid or not; nulls are left out.

    A time outside of the years 1 to 9999, which no text can hold, is shown as its microseconds since 1970.
    """
    return (_document(row) for row in _rows(table))


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        columns = [
            _moments(column) if pa.types.is_timestamp(column.type) else column.to_pylist() for column in batch.columns
        ]
        for values in zip(*columns, strict=True):
            yield dict(zip(batch.schema.names, values, strict=True))


def _moments(column: pa.Array) -> list[datetime | int | None]:
    return [None if micros is None else moment_of(micros) for micros in column.cast(pa.int64()).to_pylist()]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    fields = {spec.column: spec for spec in FIELDS.get(row["type"], ())}
    event: dict[str, Any] = {"type": row["type"]}
    for column in PAYLOAD_COLUMNS:
        if row.get(column) is not None:
            event[_json_name(column, fields)] = _json_value(row[column])
    document = {
        "eventId": _json_value(row["event_id"]),
        "cartId": _json_value(row["cart_id"]),
        "userId": row["user_id"],
        "timestamp": _json_value(row["timestamp"]),
        "version": row["version"],
        "event": event,
    }
    if row.get("recorded_at") is not None:
        document["recordedAt"] = _json_value(row["recorded_at"])
    if row.get("metadata"):
        document["metadata"] = dict(row["metadata"])
    return document


def _json_name(column: str, fields: dict[str, Field]) -> str:
    return fields[column].json if column in fields else JSON_NAMES[column]


def _json_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return rules.format_time(value) if isinstance(value, datetime) else value


def _text_id(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return str(UUID(bytes=value)) if isinstance(value, bytes) else value


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
    return pa.array(values, kind)
