"""The two tables that a fold of all carts gives: their columns, types and order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.projector.one import CartState
from cart_core.schema import UTC_MICROS

COUPON = pa.struct([("code", pa.string()), ("discount_type", pa.string()), ("discount_value", pa.float64())])
CARTS = pa.schema(
    [
        ("cart_id", pa.uuid()),
        ("user_id", pa.string()),
        ("status", pa.string()),
        ("version", pa.int32()),
        ("first_event_at", UTC_MICROS),
        ("last_event_at", UTC_MICROS),
        ("last_activity_at", UTC_MICROS),
        ("checkout_started_at", UTC_MICROS),
        ("order_id", pa.string()),
        ("charged_total_cents", pa.int64()),
        ("currency", pa.string()),
        ("line_count", pa.int32()),
        ("unit_count", pa.int64()),
        ("subtotal_cents", pa.int64()),
        ("discount_cents", pa.int64()),
        ("total_cents", pa.int64()),
        ("coupons", pa.list_(COUPON)),
    ]
)
"""One row per cart, money in minor units; see ``CartState`` for each column's meaning and absence."""

LINES = pa.schema(
    [
        ("cart_id", pa.uuid()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("quantity", pa.int32()),
        ("price_cents", pa.int64()),
        ("original_price_cents", pa.int64()),
        ("added_at", UTC_MICROS),
    ]
)
"""One row per line that stands in a cart."""


@dataclass(frozen=True, slots=True)
class CartTables:
    """All carts, and all lines in them.

    ``carts`` has the columns of CARTS in order of ``schema.cart_keys``: by bucket, then by a hash of the id.
    ``lines`` has those of LINES, cart by cart in that order, then by (added_at, product_id).
    """

    carts: pa.Table
    lines: pa.Table


def taken(tables: CartTables, rows: np.ndarray[Any, Any]) -> CartTables:
    """Some carts of a table with their lines, in the order of ``rows``."""
    counts = tables.carts["line_count"].to_numpy()
    picked = counts[rows]
    moved = (np.cumsum(counts) - counts)[rows] - (np.cumsum(picked) - picked)
    lines = np.repeat(moved, picked) + np.arange(picked.sum())
    return CartTables(tables.carts.take(pa.array(rows)), tables.lines.take(pa.array(lines)))


def tables_of(states: Iterable[CartState]) -> CartTables:
    """States of different carts, each after one event at least, as the tables that ``fold_table`` would give."""
    given = list(states)
    ids = np.frombuffer(b"".join(UUID(state.cart_id).bytes for state in given), np.uint8).reshape(-1, 16)
    ordered = [given[place] for place in schema.key_order(ids)]
    carts = [_cart_row(state) for state in ordered]
    lines = [_line_row(state.cart_id, line) for state in ordered for line in state.lines]
    return CartTables(_table(carts, CARTS), _table(lines, LINES))


def _cart_row(state: CartState) -> dict[str, Any]:
    row = {name: getattr(state, name) for name in CARTS.names if name != "coupons"}
    coupons = [
        {"code": each.code, "discount_type": each.discount_type, "discount_value": each.discount_value}
        for each in state.coupons
    ]
    return row | {"cart_id": UUID(state.cart_id).bytes, "coupons": coupons}


def _line_row(cart_id: str, line: Any) -> dict[str, Any]:
    row = {name: getattr(line, name) for name in LINES.names if name != "cart_id"}
    return row | {"cart_id": UUID(cart_id).bytes}


def _table(rows: list[dict[str, Any]], columns: pa.Schema) -> pa.Table:
    arrays = [_column([row[field.name] for row in rows], field.type) for field in columns]
    return pa.table(arrays, schema=columns)


def _column(values: list[Any], kind: pa.DataType) -> Any:
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
    return pa.array(values, kind)
