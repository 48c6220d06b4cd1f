"""The fold of whole tables: the meaning of ``one``, compiled, without a Python object per event."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.errors import OutOfOrder
from cart_core.projector import kernel
from cart_core.projector.columns import Rows, rows_of
from cart_core.projector.grouping import Grouped, grouped
from cart_core.projector.kernel import Array, Told
from cart_core.projector.tables import CARTS, COUPON, LINES, CartTables
from cart_core.schema import BUCKETS

PART_ROWS = 1_000_000
STATUSES = pa.array(["active", "abandoned", "checked_out"])


def fold_table(events: Any) -> CartTables:
    """Every cart of a table of valid events, as ``fold`` would give it, and every line that stands in one.

    ``events`` is a table of EVENTS in any form that ``schema.conform`` takes. Rows may come in any order; those of a
    cart that are not in version order are sorted first. Metadata, positions and recording times may be null.
    Raises OutOfOrder where a cart has one version twice, InvalidEvent where a type is unknown, SourceError where the
    table has other columns.
    """
    table = schema.conform(events)
    parts = max(1, min(BUCKETS, len(table) // PART_ROWS))
    if parts == 1:
        return fold_part(table, sort=True)
    group = schema.buckets(table["cart_id"]).astype(np.int64) * parts // BUCKETS
    order = np.argsort(group.astype(np.uint8), kind="stable")
    edges = np.searchsorted(group[order], np.arange(parts + 1))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        folded = pool.map(
            lambda part: fold_part(table.take(pa.array(order[edges[part] : edges[part + 1]])), sort=True), range(parts)
        )
        return concatenated(list(folded))


def concatenated(tables: list[CartTables]) -> CartTables:
    """Tables of different carts, one after another."""
    return CartTables(
        pa.concat_tables([CARTS.empty_table(), *(each.carts for each in tables)]),
        pa.concat_tables([LINES.empty_table(), *(each.lines for each in tables)]),
    )


def fold_part(table: pa.Table, *, sort: bool = False) -> CartTables:
    """Fold one table with at least the columns ``NEEDED``, in one thread.

    Raises OutOfOrder where a cart's versions do not ascend, unless ``sort`` allows to sort the table then.
    """
    if not len(table):
        return CartTables(CARTS.empty_table(), LINES.empty_table())
    rows, carts = by_cart(table, sort=sort)
    return folded(rows, carts.order, carts.begins, carts.ends)


def by_cart(table: pa.Table, *, sort: bool = False) -> tuple[Rows, Grouped]:
    """A table with at least the columns ``NEEDED`` as rows, and which of them make up each cart; raises as above."""
    rows = rows_of(table)
    carts = grouped(rows.id_bytes, rows.versions)
    if carts.bad >= 0 and sort:
        rows = rows_of(table.take(pc.sort_indices(table["version"])))
        carts = grouped(rows.id_bytes, rows.versions)
    if carts.bad >= 0:
        raise out_of_order(rows, carts.bad)
    return rows, carts


def folded(rows: Rows, order: Array, begins: Array, ends: Array) -> CartTables:
    """The tables of rows that are grouped by cart: see ``kernel.fold_runs``."""
    told = tell(rows, order, begins, ends)
    return CartTables(carts_told(rows, told), lines_told(rows, told))


def tell(rows: Rows, order: Array, begins: Array, ends: Array) -> Told:
    """What the kernel tells, with room for as many lines and coupons as rows add; with more, told once again."""
    kinds = rows.columns.kind
    lines = int(np.isin(kinds, (kernel.ITEM_ADDED, kernel.KEPT_LINE)).sum())
    coupons = int(np.isin(kinds, (kernel.COUPON_APPLIED, kernel.KEPT_COUPON)).sum())
    while True:
        desk = kernel.desk(int((ends - begins).max()))
        told = Told(
            registers=np.empty((kernel.REGISTERS, len(begins)), np.int32),
            figures=np.empty((kernel.FIGURES, len(begins)), np.int64),
            lines=np.empty((lines, kernel.CELLS), np.int64),
            coupons=np.empty(coupons, np.int32),
        )
        needed = kernel.fold_runs(rows.columns, order, begins, ends, desk, told)
        if needed[0] <= lines and needed[1] <= coupons:
            return told._replace(lines=told.lines[: needed[0]], coupons=told.coupons[: needed[1]])
        lines, coupons = needed


def carts_told(rows: Rows, told: Told) -> pa.Table:
    """The table of carts, a row for each run."""
    registers, figures = told.registers, told.figures
    mixed = registers[kernel.CURRENCY] == kernel.MIXED
    subtotal, discount = figures[kernel.SUBTOTAL], figures[kernel.DISCOUNT]
    order = registers[kernel.ORDER]
    status = np.where(order >= 0, 2, registers[kernel.ABANDONED] >= 0)
    columns = {
        "cart_id": uuids(rows.id_bytes[registers[kernel.FIRST]]),
        "user_id": rows.cells("user_id", registers[kernel.FIRST]),
        "status": STATUSES.take(pa.array(status)),
        "version": pa.array(rows.versions[registers[kernel.LAST]]),
        "first_event_at": rows.times(registers[kernel.FIRST]),
        "last_event_at": rows.times(registers[kernel.LAST]),
        "last_activity_at": rows.times(registers[kernel.ACTIVITY]),
        "checkout_started_at": rows.times(registers[kernel.CHECKOUT]),
        "order_id": rows.cells("order_id", order),
        "charged_total_cents": rows.cells("total_cents", order),
        "currency": rows.cells("currency", registers[kernel.CURRENCY]),
        "line_count": pa.array(figures[kernel.LINES].astype(np.int32)),
        "unit_count": pa.array(figures[kernel.UNITS]),
        "subtotal_cents": pa.array(subtotal, mask=mixed),
        "discount_cents": pa.array(discount, mask=mixed),
        "total_cents": pa.array(subtotal - discount, mask=mixed),
        "coupons": _coupons(rows, figures[kernel.COUPONS], told.coupons),
    }
    return pa.table([columns[name] for name in CARTS.names], schema=CARTS)


def _coupons(rows: Rows, counts: Array, coupons: Array) -> pa.Array:
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    fields = [rows.cells(name, coupons) for name in ("coupon_code", "discount_type", "discount_value")]
    values = pa.StructArray.from_arrays(fields, fields=list(COUPON))
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def lines_told(rows: Rows, told: Told) -> pa.Table:
    """The table of lines, run by run."""
    added = told.lines[:, kernel.ROW].astype(np.int32)
    columns = {
        "cart_id": uuids(rows.id_bytes[added]),
        "product_id": rows.cells("product_id", added),
        "product_name": rows.cells("product_name", added),
        "quantity": pa.array(told.lines[:, kernel.QUANTITY].astype(np.int32)),
        "price_cents": pa.array(np.ascontiguousarray(told.lines[:, kernel.PRICE])),
        "original_price_cents": pa.array(rows.original_cents[added]),
        "added_at": pa.array(rows.columns.added_us[added]).cast(schema.UTC_MICROS),
    }
    return pa.table([columns[name] for name in LINES.names], schema=LINES)


def uuids(ids: Array) -> pa.Array:
    """(n, 16) bytes as a column of UUIDs."""
    data = pa.py_buffer(np.ascontiguousarray(ids))
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, data])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def out_of_order(rows: Rows, row: int) -> OutOfOrder:
    """The error for a row whose version does not ascend in its cart."""
    cart = uuids(rows.id_bytes[row : row + 1])[0].as_py()
    before = (rows.id_bytes[:row] == rows.id_bytes[row]).all(axis=1)
    return OutOfOrder(str(cart), int(rows.versions[row]), int(rows.versions[:row][before].max(initial=0)))
