"""The events table: its columns, how envelopes become rows and rows envelopes, and the rules over whole columns.

One row is one event. ``event_id`` and ``cart_id`` are 16-byte UUIDs, times are microseconds in UTC, money is
integer minor units, ``quantity`` holds quantity or newQuantity, ``price_cents`` pricePerUnitCents or newPriceCents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules
from cart_core.errors import InvalidEvent, Problem, SourceError
from cart_core.events import CLASSES, FIELDS, TYPES, Envelope, Field

UTC_MICROS = pa.timestamp("us", "UTC")
EVENTS = pa.schema(
    [
        ("position", pa.int64()),
        ("event_id", pa.uuid()),
        ("cart_id", pa.uuid()),
        ("version", pa.int32()),
        ("user_id", pa.string()),
        ("timestamp", UTC_MICROS),
        ("recorded_at", UTC_MICROS),
        ("type", pa.string()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("quantity", pa.int32()),
        ("old_quantity", pa.int32()),
        ("price_cents", pa.int64()),
        ("old_price_cents", pa.int64()),
        ("currency", pa.string()),
        ("image_url", pa.string()),
        ("coupon_code", pa.string()),
        ("discount_type", pa.string()),
        ("discount_value", pa.float64()),
        ("reason", pa.string()),
        ("last_activity_at", UTC_MICROS),
        ("order_id", pa.string()),
        ("total_cents", pa.int64()),
        ("metadata", pa.map_(pa.string(), pa.string())),
    ]
)
"""The columns of every table that holds events."""

ENVELOPE_COLUMNS = ("event_id", "cart_id", "version", "user_id", "timestamp", "type")
GIVEN_BY_STORE = ("position", "recorded_at")
PAYLOAD_COLUMNS = tuple(
    name for name in EVENTS.names if name not in (*ENVELOPE_COLUMNS, *GIVEN_BY_STORE, "metadata")
)
JSON_NAMES: dict[str, str] = {
    spec.column: spec.json for fields in reversed(FIELDS.values()) for spec in fields
}
"""The JSON name that a payload column has where its event type does not say otherwise."""

BUCKETS = 64
VIOLATIONS = pa.schema([("row", pa.int64()), ("field", pa.string()), ("value", pa.string()), ("rule", pa.string())])


def bucket(cart_id: bytes) -> int:
    """The bucket of a cart, 0 to 63: the last byte of its id, which is random in every UUID version in use."""
    return cart_id[15] % BUCKETS


def buckets(cart_ids: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bucket of each cart id of a column, as uint8."""
    return id_bytes(cart_ids)[:, 15] % BUCKETS


def id_bytes(ids: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A column of UUIDs without nulls as an (n, 16) array of bytes."""
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    storage = whole.storage if isinstance(whole.type, pa.UuidType) else whole
    raw = np.frombuffer(storage.buffers()[1] or b"", dtype=np.uint8)
    return raw[storage.offset * 16 : (storage.offset + len(storage)) * 16].reshape(-1, 16)


def to_row(envelope: Envelope) -> dict[str, Any]:
    """An envelope as one row of EVENTS: column to value, without the columns that are null."""
    row: dict[str, Any] = {
        "event_id": UUID(envelope.event_id).bytes,
        "cart_id": UUID(envelope.cart_id).bytes,
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
    """One row of EVENTS, as Python values, as an envelope. Raises InvalidEvent where it breaks a rule."""
    event = CLASSES[row["type"]](**{spec.python: row.get(spec.column) for spec in FIELDS[row["type"]]})
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
    """Every row of a table of EVENTS as an envelope, in order."""
    return [from_row(row) for row in table.to_pylist()]


def to_documents(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Every row as the camelCase JSON object of its envelope, in order, valid or not; nulls are left out."""
    for batch in table.to_batches():
        for row in batch.to_pylist():
            yield _document(row)


def conform(table: Any) -> pa.Table:
    """Any table of events (Arrow, Polars, or with text ids) with exactly the columns and types of EVENTS.

    Missing optional columns become null. Raises SourceError where a needed column is missing, a column is unknown,
    or a value does not fit its column's type (the first such value is named).
    """
    if not isinstance(table, pa.Table | pa.RecordBatch):
        table = table.to_arrow() if hasattr(table, "to_arrow") else pa.table(table)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if table.schema.equals(EVENTS):
        return table
    unknown = sorted(set(table.column_names) - set(EVENTS.names))
    missing = [name for name in ENVELOPE_COLUMNS if name not in table.column_names]
    if unknown or missing:
        raise SourceError(
            f"this is no events table: columns missing {missing}, columns unknown {unknown}; "
            f"an events table has {EVENTS.names}"
        )
    columns = [
        _cast(name, table[name], kind) if name in table.column_names else pa.nulls(len(table), kind)
        for name, kind in zip(EVENTS.names, EVENTS.types, strict=True)
    ]
    return pa.table(columns, schema=EVENTS)


def violations(table: pa.Table) -> pa.Table:
    """Every broken rule of a table of EVENTS: columns row (from 0), field (JSON name), value (text), rule.

    It finds what ``Envelope.from_json`` finds for the same rows, column by column. Ordered by row.
    """
    found: list[pa.Table] = []
    for name, rule in _ENVELOPE_RULES:
        found += _broken_cells(table[name], None, _ENVELOPE_JSON[name], rule, required=True)
    for name in ("event_id", "cart_id"):
        found += _report(table[name], None, pc.is_null(table[name]), _ENVELOPE_JSON[name], rules.UUID_WORDING)
    unknown = pc.invert(pc.is_in(table["type"], pa.array(TYPES)))
    found += _report(table["type"], None, unknown, "type", "one of " + ", ".join(TYPES))
    found += _broken_metadata(table["metadata"])
    kinds = table["type"]
    for name in pc.unique(kinds).to_pylist():
        if name in FIELDS:
            found += _broken_payload(table, name, np.flatnonzero(pc.equal(kinds, name).to_numpy(zero_copy_only=False)))
    if not found:
        return VIOLATIONS.empty_table()
    return pa.concat_tables(found).sort_by([("row", "ascending"), ("field", "ascending")])


def check(table: pa.Table) -> None:
    """Raise InvalidEvent with all problems of the first row that breaks a rule; ``row`` counts from 0."""
    broken = violations(table)
    if len(broken):
        row = broken["row"][0].as_py()
        first = broken.filter(pc.equal(broken["row"], row)).to_pylist()
        raise InvalidEvent([Problem(each["field"], each["value"], each["rule"]) for each in first], row)


_ENVELOPE_JSON = {
    "event_id": "eventId",
    "cart_id": "cartId",
    "version": "version",
    "user_id": "userId",
    "timestamp": "timestamp",
    "type": "type",
}
_ENVELOPE_RULES = (
    ("version", rules.Whole(1, rules.INT32_MAX)),
    ("user_id", rules.NAME),
    ("timestamp", rules.Moment()),
)


def _broken_payload(table: pa.Table, name: str, rows: np.ndarray[Any, Any]) -> list[pa.Table]:
    part = table.select(PAYLOAD_COLUMNS).take(pa.array(rows))
    specs = {spec.column: spec for spec in FIELDS[name]}
    found: list[pa.Table] = []
    for column in PAYLOAD_COLUMNS:
        cells = part[column]
        spec = specs.get(column)
        if spec is not None:
            found += _broken_cells(cells, rows, spec.json, spec.rule, required=spec.required)
        elif cells.null_count < len(cells):
            found += _report(cells, rows, pc.is_valid(cells), JSON_NAMES[column], f"absent: {name} has no such field")
    if name == "CouponApplied":
        found += _broken_discounts(part, rows)
    return found


def _broken_cells(
    cells: pa.ChunkedArray, rows: np.ndarray[Any, Any] | None, field: str, rule: rules.Rule, *, required: bool
) -> list[pa.Table]:
    broken = pc.fill_null(pc.invert(allowed(cells, rule)), required)
    return _report(cells, rows, broken, field, rule.wording)


def allowed(cells: pa.ChunkedArray, rule: rules.Rule) -> pa.ChunkedArray:
    """Per cell whether it keeps the rule; null stays null."""
    if isinstance(rule, rules.Whole):
        return _between(cells, rule.low, rule.high)
    if isinstance(rule, rules.OneOf):
        return pc.if_else(pc.is_valid(cells), pc.is_in(cells, pa.array(rule.words)), None)
    if isinstance(rule, rules.Moment):
        return _between(cells.cast(pa.int64()), rules.MIN_TIME_US, rules.MAX_TIME_US)
    if isinstance(rule, rules.Amount):
        return pc.and_(pc.greater(cells, 0.0), pc.less_equal(cells, float(rules.EXACT_FLOAT_MAX)))
    fits = _between(pc.utf8_length(cells), rule.least, rules.TEXT_CHARS)
    fits = pc.and_(fits, pc.invert(pc.match_substring(cells, "\0")))
    if rule.pattern is None:
        return fits
    return pc.and_(fits, pc.match_substring_regex(cells, rf"^(?:{rule.pattern})\z"))


def _between(cells: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.and_(
        pc.greater_equal(cells, pa.scalar(low, cells.type)), pc.less_equal(cells, pa.scalar(high, cells.type))
    )


def _broken_discounts(part: pa.Table, rows: np.ndarray[Any, Any]) -> list[pa.Table]:
    values = part["discount_value"]
    sound = pc.fill_null(
        pc.and_(allowed(values, rules.Amount()), allowed(part["discount_type"], rules.DISCOUNT_TYPE)), False
    ).to_numpy()
    for spec in FIELDS["CouponApplied"]:
        sound &= pc.fill_null(allowed(part[spec.column], spec.rule), False).to_numpy()
    number = pc.fill_null(values, 1.0).to_numpy()
    percentage = pc.fill_null(pc.equal(part["discount_type"], "percentage"), False).to_numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.floor(number * rules.PERCENT_STEPS + 0.5) / rules.PERCENT_STEPS
        bad_percent = sound & percentage & ~((number <= 100) & (steps == number))
        bad_fixed = sound & ~percentage & (np.floor(number) != number)
    return [
        *_report(values, rows, pa.array(bad_percent), "discountValue", rules.PERCENT_WORDING),
        *_report(values, rows, pa.array(bad_fixed), "discountValue", rules.FIXED_WORDING),
    ]


def _broken_metadata(column: pa.ChunkedArray) -> list[pa.Table]:
    """Keys and values one by one only where the flattened texts break a rule somewhere."""
    found = []
    for start, chunk in _chunks(column):
        keys, values = chunk.keys, chunk.items
        sound = [
            pc.all(pc.fill_null(allowed(pa.chunked_array([texts]), rule), False)).as_py()
            for texts, rule in ((keys, rules.NAME), (values, rules.FREE_TEXT))
        ]
        if all(each is not False for each in sound) and not _repeats_a_key(chunk):
            continue
        for row, pairs in enumerate(chunk.to_pylist(), start):
            found += [
                pa.table([[row], [field], [value], [rule]], schema=VIOLATIONS)
                for field, value, rule in _metadata_problems(pairs or [])
            ]
    return found


METADATA_WORDING = "a text key with a text value, each of at most 4096 characters"


def _metadata_problems(pairs: list[tuple[str, str | None]]) -> Iterator[tuple[str, str | None, str]]:
    seen: set[str] = set()
    for key, value in pairs:
        if not (rules.NAME.allows(key) and rules.FREE_TEXT.allows(value)):
            yield f"metadata.{key}", value, METADATA_WORDING
        if key in seen:
            yield f"metadata.{key}", value, "named once"
        seen.add(key)


def _repeats_a_key(chunk: pa.MapArray) -> bool:
    if not len(chunk.keys):
        return False
    lengths = np.diff(chunk.offsets.to_numpy())
    owner = np.repeat(np.arange(len(lengths)), lengths)
    first = chunk.offsets[0].as_py()
    keys = chunk.keys.slice(0, len(owner)) if len(chunk.keys) == len(owner) else chunk.keys.slice(first, len(owner))
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    pairs = owner.astype(np.int64) * (int(codes.max(initial=0)) + 1) + codes
    return len(np.unique(pairs)) < len(pairs)


def _chunks(column: pa.ChunkedArray) -> Iterator[tuple[int, Any]]:
    start = 0
    for chunk in column.chunks:
        yield start, chunk
        start += len(chunk)


def _report(
    cells: pa.ChunkedArray, rows: np.ndarray[Any, Any] | None, broken: Any, field: str, rule: str
) -> list[pa.Table]:
    where = np.flatnonzero(broken.to_numpy(zero_copy_only=False) if isinstance(broken, pa.Array) else broken.to_numpy())
    if not len(where):
        return []
    values = [_shown(value) for value in cells.take(pa.array(where)).to_pylist()]
    numbers = where if rows is None else rows[where]
    return [pa.table([numbers, [field] * len(where), values, [rule] * len(where)], schema=VIOLATIONS)]


def _shown(value: object) -> str | None:
    return None if value is None else str(value)


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
    return rules.format_time(value) if hasattr(value, "tzinfo") else value


def _text_id(value: UUID | bytes | str) -> str:
    return str(UUID(bytes=value)) if isinstance(value, bytes) else str(value)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
    return pa.array(values, kind)


def _cast(name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        if isinstance(kind, pa.UuidType):
            return _cast_ids(column)
        plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        return plain.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SourceError(f"column {name} does not fit {kind}: {error}") from error


def _cast_ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.UuidType):
        return column
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _ids_from_text(column)
    chunks = [pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in column.cast(pa.binary(16)).chunks]
    return pa.chunked_array(chunks, type=pa.uuid())


def _ids_from_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    sound = pc.match_substring_regex(column, rf"^(?:{rules.UUID_TEXT.pattern})\z")
    if not pc.all(pc.fill_null(sound, True)).as_py():
        bad = cast("list[str]", column.filter(pc.invert(sound)).slice(0, 1).to_pylist())
        raise ValueError(f"{bad[0]!r} is not {rules.UUID_WORDING}")
    texts = pc.replace_substring(column, "-", "").to_pylist()
    return pa.chunked_array([pa.array([None if text is None else bytes.fromhex(text) for text in texts], pa.binary(16))])
