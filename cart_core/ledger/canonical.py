"""Canonical JSON (RFC 8785): of any JSON value, of one envelope, and of one row.

Keys are sorted by UTF-16 code units, and numbers print as ECMAScript prints them, save that integers keep all their
digits also beyond 2**53, where RFC 8785 has no form for them.
"""

from __future__ import annotations

import json.encoder
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from cart_core import rules, schema
from cart_core.events import FIELDS, Envelope, Event, Field, values_getter

quoted: Callable[[str], str] = json.encoder.encode_basestring
"""Text as JSON with exactly the escapes of RFC 8785; everything else stands as it is."""


def canonical_json(value: object) -> bytes:
    """The RFC 8785 form of a JSON value, as UTF-8.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot hold.
    """
    return _text(value).encode()


def canonical(envelope: Envelope, user_key: int) -> bytes:
    """The canonical JSON of one event: what its leaf hash is over.

    It is the envelope's JSON with ``userKey``, the store's number for the user, in place of ``userId``, and without
    ``recordedAt`` and ``position``: forgetting a user changes no hash, and an event's hash is known before its place.
    """
    before, after = canonical_parts(
        envelope.cart_id, envelope.event, envelope.event_id, envelope.metadata, envelope.timestamp, envelope.version
    )
    return b"%b%d%b" % (before, user_key, after)


def canonical_parts(
    cart_id: str, event: Event, event_id: str, metadata: Mapping[str, str], timestamp: datetime, version: int
) -> tuple[bytes, bytes]:
    """What stands before and after the user's key in the canonical JSON of an event."""
    notes = _texts(metadata.items()) if metadata else ""
    return _around_key(cart_id, event_text(event), event_id, notes, rules.format_time(timestamp), version)


def event_text(event: Event) -> str:
    """An event's own fields in canonical JSON, without the braces."""
    values = _VALUES[event.type](event)
    fields = [
        prefix + render(value)
        for (prefix, render), value in zip(_WRITTEN[event.type], values, strict=True)
        if value is not None
    ]
    fields.append(f'"type":"{event.type}"')
    return ",".join(fields)


def canonical_row(row: Mapping[str, Any]) -> bytes | None:
    """The canonical JSON of one row at rest, or None where it is no event: a column too many, too few, or no time.

    ``row`` holds the columns of EVENTS, ``user_key`` in place of ``user_id``, that are not null; ids as 16 bytes,
    times as microseconds.
    """
    cells = _CELLS.get(row.get("type", ""))
    if cells is None or not _ENVELOPE.issubset(row) or not _sound_payload(row, cells):
        return None
    metadata = row.get("metadata") or ()
    if any(value is None for _, value in metadata):
        return None
    try:
        shown = {name: value if name not in _TIMES else _moment(value) for name, value in row.items()}
        fields = "".join(cell.prefix + cell.render(shown[cell.column]) + "," for cell in cells if cell.column in row)
    except (OverflowError, ValueError):
        return None
    before, after = _around_key(
        UUID(bytes=row["cart_id"]),
        fields + f'"type":"{row["type"]}"',
        UUID(bytes=row["event_id"]),
        _texts(metadata),
        rules.format_time(shown["timestamp"]),
        row["version"],
    )
    return b"%b%d%b" % (before, row["user_key"], after)


def number(value: float) -> str:
    """A double as ECMAScript prints it. Raises ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    if value == 0:
        return "0"
    shortest = repr(float(value))
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(shortest), "f").removesuffix(".0")
    mantissa, exponent = shortest.split("e")
    return f"{mantissa}e{int(exponent):+d}"


def sort_key(key: str) -> bytes:
    """What RFC 8785 sorts an object's keys by: their UTF-16 code units."""
    return key.encode("utf-16-be")


def _around_key(
    cart_id: object, event: str, event_id: object, metadata: str, timestamp: str, version: int
) -> tuple[bytes, bytes]:
    before = (
        f'{{"cartId":"{cart_id}","event":{{{event}}},"eventId":"{event_id}",{metadata}'
        f'"timestamp":"{timestamp}","userKey":'
    )
    return before.encode(), b',"version":%d}' % version


def _texts(metadata: Iterable[tuple[str, str]]) -> str:
    if not metadata:
        return ""
    pairs = sorted(metadata, key=_FIRST)
    if not all(key.isascii() for key, _ in pairs):
        pairs.sort(key=lambda pair: sort_key(pair[0]))
    return '"metadata":{' + ",".join([f"{quoted(key)}:{quoted(value)}" for key, value in pairs]) + "},"


def _sound_payload(row: Mapping[str, Any], cells: list[_Cell]) -> bool:
    columns = {cell.column for cell in cells}
    required = {cell.column for cell in cells if cell.required}
    return required <= row.keys() & schema.PAYLOAD_COLUMNS <= columns


def _moment(micros: int) -> Any:
    return rules.EPOCH + timedelta(microseconds=micros)


def _text(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: sort_key(pair[0]))
        return "{" + ",".join(f"{quoted(key)}:{_text(each)}" for key, each in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form")


class _Cell(NamedTuple):
    """One field of an event as it is written: what stands before it, where it is, and how it is rendered."""

    prefix: str
    python: str
    column: str
    required: bool
    render: Callable[[Any], str]


def _cells(specs: tuple[Field, ...]) -> list[_Cell]:
    """The fields in canonical order; ``type`` sorts behind those of every event type."""
    return [
        _Cell(f'"{spec.json}":', spec.python, spec.column, spec.required, _RENDER[type(spec.rule)])
        for spec in sorted(specs, key=lambda spec: sort_key(spec.json))
    ]


_RENDER: dict[type[Any], Callable[[Any], str]] = {
    rules.Whole: str,
    rules.Text: quoted,
    rules.OneOf: quoted,
    rules.Moment: lambda value: f'"{rules.format_time(value)}"',
    rules.Amount: number,
}
_CELLS = {name: _cells(specs) for name, specs in FIELDS.items()}
_WRITTEN = {name: [(cell.prefix, cell.render) for cell in cells] for name, cells in _CELLS.items()}
_VALUES = {name: values_getter([cell.python for cell in cells]) for name, cells in _CELLS.items()}
_ENVELOPE = frozenset(("event_id", "cart_id", "version", "user_key", "timestamp"))
_FIRST = itemgetter(0)
_TIMES = frozenset(("timestamp", "last_activity_at"))
