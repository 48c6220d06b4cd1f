"""Tables of events as the arrays that the compiled fold reads, without copying what need not be copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules, schema
from cart_core.errors import InvalidEvent, Problem
from cart_core.events import TYPES
from cart_core.projector import kernel
from cart_core.projector.kernel import Array, Columns, Texts
from cart_core.projector.one import ADDED_AT_KEY

NEEDED = (
    "cart_id",
    "version",
    "user_id",
    "timestamp",
    "type",
    "product_id",
    "product_name",
    "quantity",
    "price_cents",
    "currency",
    "coupon_code",
    "discount_type",
    "discount_value",
    "reason",
    "order_id",
    "total_cents",
    "metadata",
)
"""The columns of EVENTS that a fold reads."""

ENCODED = ("type", "user_id")
"""Those of them that may come as dictionaries, and are folded sooner then."""

QUIET_REASONS = pa.array(["expired", "invalid"])
CANONICAL_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"


@dataclass(frozen=True, slots=True)
class Rows:
    """Events ready to be folded: what the kernel reads, and the columns that its answers point into.

    ``original_cents`` is what a line that a row adds keeps as its first price.
    """

    id_bytes: Array
    versions: Array
    time_us: Array
    original_cents: Array
    columns: Columns
    table: dict[str, pa.Array]

    def cells(self, name: str, rows: Array) -> pa.Array:
        """A column's values at these rows, null where a row is below 0."""
        taken = self.table[name].take(pa.array(rows, mask=rows < 0))
        return taken.dictionary_decode() if isinstance(taken, pa.DictionaryArray) else taken

    def times(self, rows: Array) -> pa.Array:
        """The times of these rows, null where a row is below 0."""
        return pa.array(self.time_us[rows], mask=rows < 0).cast(schema.UTC_MICROS)


def rows_of(table: pa.Table) -> Rows:
    """A table with the columns ``NEEDED`` as rows to fold. Raises InvalidEvent where a type is unknown."""
    arrays = {name: one_piece(table[name]) for name in NEEDED}
    kind = _kinds(arrays["type"], arrays["reason"])
    time_us = numbers(arrays["timestamp"], np.int64)
    price = numbers(arrays["price_cents"], np.int64)
    return Rows(
        id_bytes=schema.id_bytes(arrays["cart_id"]),
        versions=numbers(arrays["version"], np.int32),
        time_us=time_us,
        original_cents=price,
        columns=Columns(
            kind=kind,
            quantity=numbers(arrays["quantity"], np.int32),
            price=price,
            added_us=_added_us(arrays["metadata"], kind, time_us),
            product=texts(arrays["product_id"]),
            currency=texts(arrays["currency"]),
            coupon=texts(arrays["coupon_code"]),
            percentage=_flags(pc.equal(arrays["discount_type"], "percentage")),
            discount=numbers(arrays["discount_value"], np.float64),
        ),
        table=arrays,
    )


def one_piece(column: pa.ChunkedArray) -> Any:
    """A column as one array."""
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def numbers(column: pa.Array, kind: Any) -> Array:
    """A fixed-width column as it lies in memory; what stands where it is null means nothing."""
    data = column.buffers()[1]
    if data is None:
        return only_read(np.zeros(len(column), kind))
    return only_read(np.frombuffer(data, kind)[column.offset : column.offset + len(column)])


def texts(column: pa.Array) -> Texts:
    """A text column as offsets and bytes."""
    _, offsets, data = column.buffers()
    if offsets is None:
        return Texts(only_read(np.zeros(len(column) + 1, np.int32)), only_read(np.zeros(0, np.uint8)))
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return Texts(only_read(ends), only_read(np.frombuffer(data or b"", np.uint8)))


def only_read(values: Array) -> Array:
    """The same memory, of the one kind that the kernel was compiled for."""
    values.flags.writeable = False
    return values


def _kinds(types: pa.Array, reasons: pa.Array) -> Array:
    named = types if isinstance(types, pa.DictionaryArray) else types.dictionary_encode()
    known = pc.fill_null(pc.index_in(named.dictionary, pa.array(TYPES)), len(TYPES)).to_numpy().astype(np.int8)
    kinds = np.append(known, np.int8(len(TYPES)))[pc.fill_null(named.indices, len(known)).to_numpy()]
    unknown = np.flatnonzero(kinds == len(TYPES))
    if len(unknown):
        row = int(unknown[0])
        raise InvalidEvent([Problem("type", types[row].as_py(), "one of " + ", ".join(TYPES))], row)
    quiet = np.flatnonzero(kinds == kernel.COUPON_REMOVED)
    quiet = quiet[_flags(pc.is_in(reasons.take(pa.array(quiet)), QUIET_REASONS))]
    kinds[quiet] = kernel.QUIET_REMOVAL
    return only_read(kinds)


def _flags(values: pa.BooleanArray) -> Array:
    return only_read(pc.fill_null(values, False).to_numpy(zero_copy_only=False))


def _added_us(metadata: pa.MapArray, kinds: Array, time_us: Array) -> Array:
    """When the line of each row counts as added: what its metadata says, where that is a time; else its own time."""
    if metadata.null_count == len(metadata):
        return time_us
    ends = numbers_of_offsets(metadata)
    keys = metadata.keys.slice(int(ends[0]), int(ends[-1] - ends[0]))
    pairs = np.flatnonzero(_flags(pc.equal(keys, ADDED_AT_KEY)))
    rows = np.searchsorted(ends, pairs + ends[0], side="right") - 1
    adds = kinds[rows] == kernel.ITEM_ADDED
    if not adds.any():
        return time_us
    told = metadata.items.slice(int(ends[0])).take(pa.array(pairs[adds]))
    added_us = time_us.copy()
    added_us[rows[adds]] = _parsed_us(told, time_us[rows[adds]])
    return only_read(added_us)


def numbers_of_offsets(column: Any) -> Array:
    """The offsets of a list or map column: entry ``i`` holds items offsets[i] to offsets[i + 1]."""
    offsets = column.buffers()[1]
    return np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]


def _parsed_us(told: pa.StringArray, otherwise_us: Array) -> Array:
    """Texts as microseconds. All at once where all are written as we write them, else one by one."""
    if pc.all(pc.match_substring_regex(told, CANONICAL_TIME)).as_py():
        try:
            return np.asarray(told.cast(schema.UTC_MICROS).cast(pa.int64()).to_numpy())
        except pa.ArrowInvalid:
            pass
    texts_and_others = zip(told.to_pylist(), otherwise_us, strict=True)
    return np.array([_micros(text, other) for text, other in texts_and_others], np.int64)


def _micros(text: str, otherwise_us: int) -> int:
    try:
        return rules.to_micros(rules.parse_time(text))
    except ValueError:
        return otherwise_us
