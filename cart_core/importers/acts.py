"""What shoppers did, as foreign formats tell it: the table that every click stream is brought into.

One row is one act; a source row may hold several (``part`` 0, 1, ...), and then all have its ``row_id``. ``key``
names what the shop means by one cart, and ``at`` is microseconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

VIEW = 0  # a product was looked at
ADD = 1  # `quantity` more units of a product, at `price_cents`
REMOVE = 2  # `quantity` fewer units; all of them where `quantity` is null
SET = 3  # a product has `quantity` units now, at `price_cents`
KEEP = 4  # only the products in `products` are in the cart now
COUPON = 5  # a coupon was applied
UNCOUPON = 6  # a coupon was removed
SET_COUPON = 7  # a coupon is on the cart now
KEEP_COUPONS = 8  # only the coupons in `products` are on the cart now
CHECKOUT = 9  # the shopper went to the checkout
PURCHASE = 10  # one product of an order was bought at `price_cents`; all of one second (or `order_id`) are one order
ORDER = 11  # a whole order was placed, `total_cents` charged

SNAPSHOT = frozenset((SET, KEEP, SET_COUPON, KEEP_COUPONS))
"""Acts that tell a state and not a change: an older one than the cart's last change is of no use."""

ACTS = pa.schema(
    [
        ("file", pa.int32()),
        ("row", pa.int64()),
        ("part", pa.int32()),
        ("row_id", pa.binary(16)),
        ("key", pa.string()),
        ("session", pa.string()),
        ("user_id", pa.string()),
        ("at", pa.int64()),
        ("act", pa.int8()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("quantity", pa.int64()),
        ("price_cents", pa.int64()),
        ("currency", pa.string()),
        ("image_url", pa.string()),
        ("coupon_code", pa.string()),
        ("discount_type", pa.string()),
        ("discount_value", pa.float64()),
        ("reason", pa.string()),
        ("order_id", pa.string()),
        ("total_cents", pa.int64()),
        ("products", pa.list_(pa.string())),
        ("raw", pa.binary()),
    ]
)
"""``file`` is the place of the file among those of one import, ``row`` counts from 1, ``raw`` is the source text."""


def table(rows: int, columns: Mapping[str, Any]) -> pa.Table:
    """Acts from some of their columns; ``part`` is 0 and every other column null where it is not given."""
    filled = {"part": pa.array(np.zeros(rows, np.int32))} | dict(columns)
    arrays = [filled.get(field.name, pa.nulls(rows, field.type)) for field in ACTS]
    return pa.table(arrays, schema=ACTS)
