"""Events of a made-up shop, quickly and in any number, for benchmarks; what it is like matters only in its sizes.

About seven events a cart, one to four products each, carts begin evenly over the days and live for hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import rules, schema
from cart_core.events import TYPES

Array = np.ndarray[Any, np.dtype[Any]]

START_US = rules.to_micros(datetime(2026, 1, 1, tzinfo=UTC))
DAY_US = 86_400_000_000
PRODUCTS = 20_000
USERS = 1_000_000
EVENTS_PER_CART = 7
LATER_TYPES = {
    "ItemAdded": 0.30,
    "ItemRemoved": 0.10,
    "QuantityChanged": 0.20,
    "CouponApplied": 0.06,
    "CouponRemoved": 0.03,
    "PriceUpdated": 0.13,
    "CartAbandoned": 0.06,
    "CheckoutStarted": 0.07,
    "CheckoutCompleted": 0.05,
}


def batches(events: int, seed: int = 1, days: int = 30, batch_events: int = 1_000_000) -> Iterator[pa.Table]:
    """Tables of EVENTS in order of time, as a shop would send them; a cart's events stand in one table."""
    parts = max(1, round(events / batch_events))
    for part in range(parts):
        rng = np.random.default_rng((seed, part))
        first, last = (START_US + DAY_US * days * edge // parts for edge in (part, part + 1))
        yield carts(rng, round(events / parts / EVENTS_PER_CART), first, last)


def carts(rng: np.random.Generator, count: int, first_us: int, last_us: int) -> pa.Table:
    """The events of ``count`` new carts that begin between two moments, in order of time."""
    sizes = 1 + rng.poisson(EVENTS_PER_CART - 1, count)
    owner = np.repeat(np.arange(count), sizes)
    version = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    begins = rng.integers(first_us, last_us, count)
    gaps = (rng.exponential(1_800e6, len(owner))).astype(np.int64)
    total = np.cumsum(gaps)
    before = np.repeat(total[np.cumsum(sizes) - sizes], sizes)
    time_us = begins[owner] + total - before
    kind = rng.choice(len(TYPES), len(owner), p=[LATER_TYPES[name] for name in TYPES])
    kind[version == 1] = 0
    order = np.argsort(time_us, kind="stable")
    users = rng.integers(0, USERS, count)
    ids = np.frombuffer(rng.bytes(16 * count), np.uint8).reshape(-1, 16)
    return more(rng, ids[owner[order]], version[order], users[owner[order]], time_us[order], kind[order])


def more(rng: np.random.Generator, ids: Array, versions: Array, users: Array, time_us: Array, kind: Array) -> pa.Table:
    """Events of these carts, versions, users, times and types, with random content."""
    rows = len(ids)
    product = (ids[:, 0].astype(np.int64) * 256 + ids[:, 1]) + rng.integers(0, 4, rows) * 65_537
    product %= PRODUCTS
    price = 199 + product * 7 % 20_000 + np.where(kind == TYPES.index("PriceUpdated"), rng.integers(-150, 150, rows), 0)
    is_kind = {name: kind == number for number, name in enumerate(TYPES)}
    adds, coupons = is_kind["ItemAdded"], is_kind["CouponApplied"] | is_kind["CouponRemoved"]
    applied, prices = is_kind["CouponApplied"], is_kind["ItemAdded"] | is_kind["PriceUpdated"]
    on_line = prices | is_kind["ItemRemoved"] | is_kind["QuantityChanged"]
    code = rng.integers(0, 20, rows)
    columns = {
        "event_id": _ids(np.frombuffer(rng.bytes(16 * rows), np.uint8).reshape(-1, 16)),
        "cart_id": _ids(ids),
        "version": pa.array(versions.astype(np.int32)),
        "user_id": _texts("user-", USERS).take(pa.array(users)),
        "timestamp": pa.array(time_us).cast(schema.UTC_MICROS),
        "type": pa.array(TYPES).take(pa.array(kind)),
        "product_id": _texts("product-", PRODUCTS).take(pa.array(product, mask=~on_line)),
        "product_name": _texts("A fine thing no. ", PRODUCTS).take(pa.array(product, mask=~adds)),
        "quantity": pa.array(rng.integers(1, 5, rows).astype(np.int32), mask=~(adds | is_kind["QuantityChanged"])),
        "old_quantity": pa.array(np.ones(rows, np.int32), mask=~is_kind["QuantityChanged"]),
        "price_cents": pa.array(price, mask=~prices),
        "old_price_cents": pa.array(price, mask=~is_kind["PriceUpdated"]),
        "currency": pa.array(["USD"]).take(pa.array(np.zeros(rows, np.int64), mask=~adds)),
        "coupon_code": _texts("SAVE", 20).take(pa.array(code, mask=~coupons)),
        "discount_type": pa.array(["percentage", "fixed"]).take(pa.array(code % 2, mask=~applied)),
        "discount_value": pa.array(5.0 + code, mask=~applied),
        "reason": pa.array(["shopper", "expired", "sale"]).take(_reasons(is_kind, code)),
        "last_activity_at": pa.array(time_us - 3_600_000_000, mask=~is_kind["CartAbandoned"]).cast(schema.UTC_MICROS),
        "order_id": _texts("order-", USERS).take(pa.array(users, mask=~is_kind["CheckoutCompleted"])),
        "total_cents": pa.array(price, mask=~is_kind["CheckoutCompleted"]),
    }
    return pa.table([columns.get(each.name, pa.nulls(rows, each.type)) for each in schema.EVENTS], schema=schema.EVENTS)


def _reasons(is_kind: dict[str, Array], code: Array) -> pa.Array:
    which = np.where(is_kind["PriceUpdated"], 2, code % 2)
    return pa.array(which, mask=~(is_kind["PriceUpdated"] | is_kind["CouponRemoved"]))


_known: dict[tuple[str, int], pa.Array] = {}


def _texts(prefix: str, count: int) -> pa.Array:
    if (prefix, count) not in _known:
        _known[prefix, count] = pa.array([f"{prefix}{number}" for number in range(count)])
    return _known[prefix, count]


def _ids(ids: Array) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(ids))
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, data])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
