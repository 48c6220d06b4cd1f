"""The leaf hash of one event, and of every row of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.errors import InvalidEvent, Problem
from cart_core.events import Envelope
from cart_core.ledger.canonical import canonical, canonical_row
from cart_core.ledger.tree import HASH_BYTES, Hashes, leaf

COMPILED_ROWS = 20_000
"""From how many rows on the compiled loop is worth its start, which takes about two seconds in a new process."""

COLUMNS = ("event_id", "cart_id", "version", "user_key", "timestamp", "type", *schema.PAYLOAD_COLUMNS, "metadata")


def leaf_hash(envelope: Envelope, user_key: int) -> bytes:
    """The leaf of one event: the hash of its canonical JSON."""
    return leaf(canonical(envelope, user_key))


def leaf_hashes(events: pa.Table, *, strict: bool = True) -> Hashes:
    """The leaf of every row, in order, as an (n, 32) array of bytes.

    ``events`` has the columns of EVENTS with ``user_key`` (int64) in place of or beside ``user_id``; other columns are
    passed over. A row that is no event (an unknown type, a field too many or too few, a time out of range) raises
    InvalidEvent; where not ``strict`` its leaf is 32 zero bytes, which no event has.
    """
    out = np.zeros((len(events), HASH_BYTES), np.uint8)
    if len(events) >= COMPILED_ROWS or not _hash_plainly(events, out):
        from cart_core.ledger.bulk import hash_slices  # noqa: PLC0415 - numba takes a second to load

        hash_slices(events, out)
    if strict and not out.any(axis=1).all():
        _refuse(events, int(np.flatnonzero(~out.any(axis=1))[0]))
    return out


def canonical_rows(events: pa.Table) -> Iterator[bytes | None]:
    """The canonical JSON of every row of such a table, in order; None for a row that is no event."""
    columns = [_values(events[name]) for name in COLUMNS]
    for values in zip(*columns, strict=True):
        yield canonical_row({name: value for name, value in zip(COLUMNS, values, strict=True) if value is not None})


def _hash_plainly(events: pa.Table, out: Hashes) -> bool:
    """Hash row by row; whether that was possible: text that is no UTF-8, as in a damaged file, has no Python form."""
    try:
        for place, text in enumerate(canonical_rows(events)):
            if text is not None:
                out[place] = np.frombuffer(leaf(text), np.uint8)
    except UnicodeDecodeError:
        return False
    return True


def _values(column: pa.ChunkedArray) -> list[Any]:
    if isinstance(column.type, pa.UuidType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], pa.binary(16))
    return list((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


def _refuse(events: pa.Table, row: int) -> None:
    part = events.slice(row, 1)
    named = {name: part[name] for name in schema.EVENTS.names if name in part.column_names}
    try:
        schema.check(schema.conform(pa.table({**named, "user_id": ["-"]})))
    except InvalidEvent as error:
        raise InvalidEvent(error.problems, row) from None
    raise InvalidEvent([Problem("event", part["type"][0].as_py(), "one with all of its fields and no others")], row)
