"""Leaf hashes of whole tables: the canonical JSON of every row is written and hashed by one compiled loop.

It gives the bytes of ``canonical.canonical``, which a property test holds it to.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules, schema
from cart_core.events import FIELDS, TYPES
from cart_core.ledger.canonical import number, sort_key
from cart_core.ledger.kernel import ID, METADATA, NOTHING, RAW, TEXT, TIME, WHOLE, Cells, Programs, hash_rows

SLICE_ROWS = 1 << 15
"""Few enough that a slice's buffers are reused, not mapped anew, and stay near the processor."""

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

IDS = ("event_id", "cart_id")
TIMES = ("timestamp", "last_activity_at")
NUMBERS = ("version", "user_key", "quantity", "old_quantity", "price_cents", "old_price_cents", "total_cents", *TIMES)
TEXTS = tuple(name for name in schema.PAYLOAD_COLUMNS if name not in NUMBERS)
COLUMNS = (*IDS, *NUMBERS, *TEXTS, "metadata", "metadata_value")
"""The columns by the numbers that programs know them by; metadata stands for its keys."""
BITS = {name: 1 << place for place, name in enumerate(COLUMNS[:-1])}
"""The bit that tells whether a row has a value in a column."""


def hash_slices(events: pa.Table, out: Bytes) -> None:
    """Write the leaf hash of each row into ``out`` (n, 32), on all cores; rows that are no event stay as they are.

    Besides the table it holds one slice a core in memory.
    """
    cores = os.cpu_count() or 1
    rows = min(SLICE_ROWS, max(1, -(-len(events) // cores)))
    with ThreadPoolExecutor(cores) as pool:
        parts = [
            pool.submit(_hash_slice, events.slice(start, rows), out[start : start + rows])
            for start in range(0, len(events), rows)
        ]
        for part in parts:
            part.result()


def _hash_slice(part: pa.Table, out: Bytes) -> None:
    columns = {name: _plain(part[name]) for name in (*BITS, "type")}
    columns["discount_value"] = _discount_texts(columns["discount_value"])
    pairs, keys, values = _metadata(columns["metadata"])
    buffers: dict[str, tuple[Any, Any]] = {name: _text(columns[name]) for name in TEXTS}
    buffers |= {"metadata": _text(keys), "metadata_value": _text(values)}
    buffers |= {name: (_numbers(columns[name]), None) for name in NUMBERS}
    buffers |= {name: (schema.id_bytes(columns[name]), None) for name in IDS}
    cells = Cells(
        kinds=_kinds(columns["type"], pairs, values),
        present=_presence(columns),
        data=np.array([buffers[name][0].ctypes.data for name in COLUMNS], np.int64),
        offsets=np.array([_address(buffers[name][1]) for name in COLUMNS], np.int64),
        pairs=pairs,
    )
    hash_rows(PROGRAMS, cells, out)


def _address(array: Numbers | None) -> int:
    return 0 if array is None else array.ctypes.data


def _plain(column: pa.ChunkedArray) -> pa.Array:
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _discount_texts(values: pa.Array) -> pa.Array:
    """Doubles as canonical JSON; null where they have none."""
    coded = values.dictionary_encode()
    finite = pc.is_finite(coded.dictionary)
    numbers = coded.dictionary.filter(finite)
    texts = pa.array([number(value) for value in numbers.to_pylist()], pa.string())
    return texts.take(pc.index_in(values, numbers))


def _metadata(column: pa.MapArray) -> tuple[Numbers, pa.Array, pa.Array]:
    """Where each row's pairs begin, and the keys and values of this slice alone."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    return offsets - first, column.keys.slice(first, count), column.items.slice(first, count)


_OFFSETS = {pa.string(): np.int32, pa.large_string(): np.int64}


def _text(column: pa.Array) -> tuple[Bytes, Numbers]:
    """The bytes of a text column, and the offsets of its texts."""
    plain = column if column.type in _OFFSETS else column.cast(pa.large_string())
    _, offsets, data = plain.buffers()
    window = slice(plain.offset, plain.offset + len(plain) + 1)
    ends = np.frombuffer(offsets, _OFFSETS[plain.type])[window] if offsets else np.zeros(1)
    return np.frombuffer(data or b"", np.uint8), ends.astype(np.int64, copy=False)


def _numbers(column: pa.Array) -> Numbers:
    """Integers or times as int64; where a row has none, anything may stand."""
    data = column.buffers()[1]
    if not data:
        return np.zeros(len(column), np.int64)
    values = np.frombuffer(data, f"i{column.type.bit_width // 8}")[column.offset : column.offset + len(column)]
    return values.astype(np.int64, copy=False)


def _kinds(names: pa.Array, pairs: Numbers, values: pa.Array) -> Numbers:
    """The number of each row's event type; -1 where it has none, or where a metadata value is null."""
    found = pc.index_in(names, pa.array(TYPES, names.type)).fill_null(-1)
    kinds: Numbers = found.to_numpy(zero_copy_only=False).astype(np.int64)
    if values.null_count:
        absent = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
        kinds[np.searchsorted(pairs, absent, side="right") - 1] = -1
    return kinds


def _presence(columns: dict[str, pa.Array]) -> Numbers:
    rows = len(columns["type"])
    present = np.full(rows, sum(bit for name, bit in BITS.items() if not columns[name].null_count), np.int64)
    for name, bit in BITS.items():
        column = columns[name]
        if 0 < column.null_count < rows:
            bitmap = np.frombuffer(column.buffers()[0], np.uint8)
            valid = np.unpackbits(bitmap, count=column.offset + rows, bitorder="little")[column.offset :]
            present |= valid * np.int64(bit)
    filled = np.diff(columns["metadata"].offsets.to_numpy()) > 0
    return present & np.where(filled, -1, ~np.int64(BITS["metadata"]))


Step: TypeAlias = tuple[str, int, str, str]
"""The literal before a cell, what to write, its column, and the byte behind it."""

_HEAD: tuple[Step, ...] = (('{"cartId":', ID, "cart_id", ","), ('"event":', NOTHING, "cart_id", "{"))
_TAIL: tuple[Step, ...] = (
    ('"eventId":', ID, "event_id", ","),
    ('"metadata":', METADATA, "metadata", ","),
    ('"timestamp":', TIME, "timestamp", ","),
    ('"userKey":', WHOLE, "user_key", ","),
    ('"version":', WHOLE, "version", "}"),
)
_WRITES: dict[type[Any], int] = {
    rules.Whole: WHOLE,
    rules.Text: TEXT,
    rules.OneOf: TEXT,
    rules.Moment: TIME,
    rules.Amount: RAW,
}


def _steps(kind: str) -> list[Step]:
    fields = sorted(FIELDS[kind], key=lambda spec: sort_key(spec.json))
    cells = [(f'"{spec.json}":', _WRITES[type(spec.rule)], spec.column, ",") for spec in fields]
    return [*_HEAD, *cells, (f'"type":"{kind}"}}', NOTHING, "cart_id", ","), *_TAIL]


def _programs() -> Programs:
    literals, steps, bounds, required, allowed = bytearray(), [], [0], [], []
    for kind in TYPES:
        for literal, write, column, behind in _steps(kind):
            steps.append((len(literals), len(literal), write, COLUMNS.index(column), BITS[column], ord(behind)))
            literals += literal.encode()
        bounds.append(len(steps))
        columns = {column for _, _, column, _ in _steps(kind)}
        optional = {"metadata", *(spec.column for spec in FIELDS[kind] if not spec.required)}
        allowed.append(sum(BITS[name] for name in columns))
        required.append(sum(BITS[name] for name in columns - optional))
    return Programs(
        steps=np.array(steps, np.int64),
        bounds=np.array(bounds, np.int64),
        literals=np.frombuffer(bytes(literals), np.uint8),
        required=np.array(required, np.int64),
        allowed=np.array(allowed, np.int64),
    )


PROGRAMS = _programs()
