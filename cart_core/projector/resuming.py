"""New events on top of kept carts: the same fold, started from rows of its own tables instead of from nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.projector import kernel
from cart_core.projector.columns import NEEDED, Rows, only_read, rows_of
from cart_core.projector.grouping import grouped
from cart_core.projector.kernel import Array, Told
from cart_core.projector.many import carts_told, lines_told, out_of_order, tell
from cart_core.projector.tables import CARTS, LINES, CartTables

ANY_TYPE = "CheckoutStarted"
KEPT_FIELDS = ("last_activity_at", "checkout_started_at", "order_id", "charged_total_cents")


def resumable(carts: pa.Table) -> Array:
    """Which carts of a table can be gone on from: all but those whose lines mix currencies, which no table tells."""
    single = pc.or_(pc.is_valid(carts["currency"]), pc.equal(carts["line_count"], 0))
    return np.asarray(single.to_numpy())


def resumed(kept: CartTables, events: pa.Table) -> CartTables:
    """Carts after more events, given what they were before: the rows that folding all their events would give.

    ``kept`` are ``resumable`` carts with all their lines, in any order; ``events`` has at least the columns
    ``NEEDED``, an event or more of every kept cart, and any number of carts that are new. Both tables come in order
    of key. Raises OutOfOrder where an event's version is not above the one before it in its cart, kept or new.
    """
    if not len(events):
        return CartTables(CARTS.empty_table(), LINES.empty_table())
    rows, count = _with_kept(kept, events)
    carts = grouped(rows.id_bytes, rows.versions, count)
    if carts.bad >= 0:
        raise out_of_order(rows, carts.bad)
    told = tell(rows, carts.order, carts.begins, carts.ends)
    return CartTables(_coalesced(kept.carts, told, carts_told(rows, told)), lines_told(rows, told))


def _with_kept(kept: CartTables, events: pa.Table) -> tuple[Rows, int]:
    """Rows that put every kept cart, line and coupon in its place, then the events; and how many of the first."""
    ranks = schema.key_order(schema.id_bytes(kept.lines["cart_id"]))
    order = schema.key_order(schema.id_bytes(kept.carts["cart_id"]))
    owners = np.empty(len(ranks), np.int64)
    owners[ranks] = np.repeat(order, kept.carts["line_count"].to_numpy()[order])
    coupons = kept.carts["coupons"].combine_chunks()
    coupon_owners = np.repeat(np.arange(len(kept.carts)), coupons.value_lengths().to_numpy())
    parts = [
        (kernel.KEPT_CART, _rows(kept.carts, {"timestamp": kept.carts["first_event_at"]})),
        (kernel.KEPT_LINE, _rows(kept.carts.take(pa.array(owners)), _line_columns(kept.lines))),
        (kernel.KEPT_COUPON, _rows(kept.carts.take(pa.array(coupon_owners)), _coupon_columns(coupons))),
    ]
    kinds = np.concatenate([np.full(len(part), kind, np.int8) for kind, part in parts])
    plain = pa.schema([schema.EVENTS.field(name) for name in NEEDED])
    rows = rows_of(pa.concat_tables([*(part for _, part in parts), events.select(NEEDED).cast(plain)]))
    kind, original = rows.columns.kind.copy(), rows.original_cents.copy()
    kind[: len(kinds)] = kinds
    original[len(kept.carts) :][: len(kept.lines)] = kept.lines["original_price_cents"].to_numpy()
    columns = rows.columns._replace(kind=only_read(kind))
    return replace(rows, columns=columns, original_cents=original), len(kinds)


def _rows(owners: pa.Table, columns: dict[str, Any]) -> pa.Table:
    """Rows of the columns ``NEEDED``: those given, what their carts tell, and nulls."""
    size = len(owners)
    given = {
        "cart_id": owners["cart_id"],
        "version": owners["version"],
        "user_id": owners["user_id"],
        "timestamp": owners["first_event_at"],
        "type": pa.repeat(ANY_TYPE, size),
        "currency": owners["currency"],
        **columns,
    }
    fields = [schema.EVENTS.field(name) for name in NEEDED]
    return pa.table([given.get(each.name, pa.nulls(size, each.type)) for each in fields], schema=pa.schema(fields))


def _line_columns(lines: pa.Table) -> dict[str, Any]:
    names = ("product_id", "product_name", "quantity", "price_cents")
    return {"timestamp": lines["added_at"], **{name: lines[name] for name in names}}


def _coupon_columns(coupons: Any) -> dict[str, Any]:
    values = coupons.flatten()
    names = {"coupon_code": "code", "discount_type": "discount_type", "discount_value": "discount_value"}
    return {name: values.field(field) for name, field in names.items()}


def _coalesced(kept: pa.Table, told: Told, carts: pa.Table) -> pa.Table:
    """What the events leave untold, from the kept state; carts that are new have none."""
    first, activity, order, abandoned = (
        told.registers[each] for each in (kernel.FIRST, kernel.ACTIVITY, kernel.ORDER, kernel.ABANDONED)
    )
    before = kept.take(pa.array(first, mask=first >= len(kept)))
    for name in KEPT_FIELDS:
        carts = _put(carts, name, pc.coalesce(carts[name], before[name]))
    untouched = pa.array((order < 0) & (activity < 0) & (abandoned < 0))
    keeps = pc.and_(pc.is_valid(before["status"]), pc.or_(untouched, pc.equal(before["status"], "checked_out")))
    keeps = pc.fill_null(keeps, False)
    return _put(carts, "status", pc.if_else(keeps, before["status"], carts["status"]))


def _put(carts: pa.Table, name: str, column: Any) -> pa.Table:
    return carts.set_column(carts.column_names.index(name), CARTS.field(name), column)
