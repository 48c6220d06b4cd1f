"""Any table of events as one with exactly the columns and types of EVENTS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules
from cart_core.errors import SourceError, shown
from cart_core.schema.columns import ENVELOPE_COLUMNS, EVENTS

HYPHENS = (8, 13, 18, 23)
HEX_DIGITS = [place for place in range(36) if place not in HYPHENS]
NIBBLES = np.zeros(256, np.uint8)
NIBBLES[np.frombuffer(b"0123456789", np.uint8)] = range(10)
NIBBLES[np.frombuffer(b"abcdef", np.uint8)] = range(10, 16)
NIBBLES[np.frombuffer(b"ABCDEF", np.uint8)] = range(10, 16)


def conform(table: Any) -> pa.Table:
    """Any table of events (Arrow, Polars, or with text ids) with exactly the columns and types of EVENTS.

    Missing optional columns become null; times finer than a microsecond are cut. Raises SourceError where a needed
    column is missing, a column is unknown, a column holds another kind of value (text is no number, a time without
    a zone no moment), or a value does not fit: the first such row is named, from 0.
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


def _cast(name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type.equals(kind):
        return column
    if not (pa.types.is_null(column.type) or _may_become(column.type, kind)):
        raise SourceError(f"column {name} holds {column.type}, but must hold {_wanted(kind)}")
    convert = _ids if isinstance(kind, pa.UuidType) else _moments if pa.types.is_timestamp(kind) else _plain
    try:
        return convert(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row = _first_misfit(column, lambda part: convert(part, kind))
        value = shown(column[row].value if pa.types.is_timestamp(column.type) else column[row].as_py())
        raise SourceError(f"row {row}: {name} is {value}, but must be {_wanted(kind)}") from error


def _may_become(kind: pa.DataType, wanted: pa.DataType) -> bool:
    if isinstance(wanted, pa.UuidType):
        return _is_text(kind) or _is_binary(kind)
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(kind) and kind.tz is not None)
    if pa.types.is_integer(wanted) or pa.types.is_floating(wanted):
        return any(check(kind) for check in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))
    if pa.types.is_map(wanted):
        return bool(pa.types.is_map(kind)) and _is_text(kind.key_type) and _is_text(kind.item_type)
    return _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_binary(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_fixed_size_binary, pa.types.is_binary, pa.types.is_large_binary))


def _wanted(kind: pa.DataType) -> str:
    if isinstance(kind, pa.UuidType):
        return f"{rules.UUID_WORDING}, or its 16 bytes"
    return f"{kind}, with a zone" if pa.types.is_timestamp(kind) else str(kind)


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column.cast(kind)


def _moments(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = pc.floor_temporal(column, unit="microsecond")
    return column.cast(kind)


def _ids(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    parts = _ids_from_text(column) if _is_text(column.type) else column.cast(pa.binary(16))
    return pa.chunked_array([pa.ExtensionArray.from_storage(kind, part) for part in parts.chunks], type=kind)


def _ids_from_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = column.cast(pa.string())
    sound = pc.match_substring_regex(texts, rf"^(?:{rules.UUID_TEXT.pattern})\z")
    if pc.any(pc.invert(sound)).as_py():
        raise pa.ArrowInvalid(rules.UUID_WORDING)
    return pa.chunked_array([_bytes_of(part) for part in texts.chunks], type=pa.binary(16))


def _bytes_of(texts: pa.Array) -> pa.Array:
    """Sixteen bytes for every UUID text of an array, null for null."""
    letters = pc.fill_null(texts, "0" * 36).cast(pa.binary()).cast(pa.binary(36))
    raw = np.frombuffer(letters.buffers()[1] or b"", np.uint8)[letters.offset * 36 :][: len(texts) * 36]
    nibbles = NIBBLES[raw.reshape(-1, 36)[:, HEX_DIGITS]]
    packed = pa.py_buffer(((nibbles[:, ::2] << 4) | nibbles[:, 1::2]).tobytes())
    whole = pa.Array.from_buffers(pa.binary(16), len(texts), [None, packed])
    return pc.if_else(texts.is_valid(), whole, pa.scalar(None, pa.binary(16)))


def _first_misfit(column: pa.ChunkedArray, convert: Any) -> int:
    """The first row that cannot be converted, by halving."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            convert(column.slice(low, middle - low))
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low
