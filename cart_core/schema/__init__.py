"""The events table: its columns, how envelopes become rows and rows envelopes, and the rules over whole columns.

One row is one event. ``event_id`` and ``cart_id`` are 16-byte UUIDs, times are microseconds in UTC, money is
integer minor units, ``quantity`` holds quantity or newQuantity, ``price_cents`` pricePerUnitCents or newPriceCents.
"""

from __future__ import annotations

from cart_core.schema.columns import (
    BUCKETS,
    ENVELOPE_COLUMNS,
    EVENTS,
    GIVEN_BY_STORE,
    JSON_NAMES,
    PAYLOAD_COLUMNS,
    UTC_MICROS,
    bucket,
    buckets,
    id_bytes,
)
from cart_core.schema.conforming import conform
from cart_core.schema.keys import (
    KEY_BITS,
    ascending,
    cart_key,
    cart_keys,
    differ,
    distinct,
    id_keys,
    key_order,
    take_ids,
)
from cart_core.schema.rows import from_row, table_of_rows, to_documents, to_envelopes, to_row, to_table
from cart_core.schema.validating import VIOLATIONS, allowed, check, violations

__all__ = [
    "BUCKETS",
    "ENVELOPE_COLUMNS",
    "EVENTS",
    "GIVEN_BY_STORE",
    "JSON_NAMES",
    "KEY_BITS",
    "PAYLOAD_COLUMNS",
    "UTC_MICROS",
    "VIOLATIONS",
    "allowed",
    "ascending",
    "bucket",
    "buckets",
    "cart_key",
    "cart_keys",
    "check",
    "conform",
    "differ",
    "distinct",
    "from_row",
    "id_bytes",
    "id_keys",
    "key_order",
    "table_of_rows",
    "take_ids",
    "to_documents",
    "to_envelopes",
    "to_row",
    "to_table",
    "violations",
]
