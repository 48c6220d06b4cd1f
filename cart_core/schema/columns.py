"""The columns of the events table, their types, and the bucket of a cart."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import rules
from cart_core.rules import FIELDS

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
PAYLOAD_COLUMNS = tuple(name for name in EVENTS.names if name not in (*ENVELOPE_COLUMNS, *GIVEN_BY_STORE, "metadata"))
JSON_NAMES: dict[str, str] = {spec.column: spec.json for fields in reversed(FIELDS.values()) for spec in fields}
"""The JSON name that a payload column has where its event type does not say otherwise."""

BUCKETS = 64


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


def moment_of(micros: int) -> datetime | int:
    """The moment of a cell of a time column; outside of the years 1 to 9999 the number itself."""
    if rules.MIN_TIME_US <= micros <= rules.MAX_TIME_US:
        return rules.EPOCH + timedelta(microseconds=micros)
    return micros
