"""The plain records that the compiled shop reads and writes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cart_core.events import TYPES
from cart_core.simulator.behaviour import MAX_CARTS_OF_USER, MAX_COUPONS, MAX_LINES, Behaviour
from cart_core.simulator.compiled import constant

Array = np.ndarray[Any, np.dtype[Any]]

ITEM_ADDED = constant(TYPES.index("ItemAdded"))
ITEM_REMOVED = constant(TYPES.index("ItemRemoved"))
QUANTITY_CHANGED = constant(TYPES.index("QuantityChanged"))
COUPON_APPLIED = constant(TYPES.index("CouponApplied"))
COUPON_REMOVED = constant(TYPES.index("CouponRemoved"))
PRICE_UPDATED = constant(TYPES.index("PriceUpdated"))
CHECKOUT_STARTED = constant(TYPES.index("CheckoutStarted"))
CHECKOUT_COMPLETED = constant(TYPES.index("CheckoutCompleted"))

REASONS = ("shopper", "expired", "catalog", "re-added")
BY_SHOPPER, EXPIRED, FROM_CATALOG, RE_ADDED = (constant(number) for number in range(len(REASONS)))
NONE = constant(-1)
NEVER = constant(np.iinfo(np.int64).max)

EVENT = np.dtype(
    [
        ("cart", np.int32),
        ("version", np.int32),
        ("kind", np.int8),
        ("reason", np.int8),
        ("coupon", np.int16),
        ("product", np.int32),
        ("quantity", np.int32),
        ("old_quantity", np.int32),
        ("command", np.int32),
        ("at", np.int64),
        ("cents", np.int64),
        ("old_cents", np.int64),
    ],
    align=True,
)
VIEW = np.dtype(
    [("user", np.int32), ("cart", np.int32), ("visit", np.int32), ("product", np.int32), ("at", np.int64)], align=True
)
EPISODE = np.dtype(
    [
        ("cart", np.int32),
        ("number", np.int32),
        ("at_checkout", np.int32),
        ("lines", np.int32),
        ("units", np.int64),
        ("last_activity_at", np.int64),
        ("resumed_at", np.int64),
    ],
    align=True,
)
EXPOSURE = np.dtype([("user", np.int32), ("experiment", np.int32), ("treated", np.int32), ("at", np.int64)], align=True)
USER = np.dtype([("number", np.int64), ("zone", np.int32), ("guest", np.int32)], align=True)
CART = np.dtype(
    [
        ("user", np.int32),
        ("number", np.int32),
        ("version", np.int32),
        ("commands", np.int32),
        ("visit", np.int32),
        ("episodes", np.int32),
        ("at_checkout", np.int32),
        ("overcharged", np.int32),
        ("turn", np.int32),
        ("clock", np.int64),
        ("last_activity_at", np.int64),
        ("reaction_at", np.int64),
        ("completed_at", np.int64),
        ("charged_cents", np.int64),
        ("total_cents", np.int64),
        ("taste", np.float64),
        ("likely", np.float64),
    ],
    align=True,
)
LINE = np.dtype(
    [
        ("product", np.int32),
        ("quantity", np.int32),
        ("price_cents", np.int64),
        ("original_cents", np.int64),
        ("change", np.int64),
        ("change_at", np.int64),
        ("delay_us", np.int64),
    ],
    align=True,
)
CHANCE = np.dtype(
    [("arrival", np.int64), ("completed_at", np.int64), ("charged_cents", np.int64), ("base", np.float64)], align=True
)
"""One cart as it would have been completed: when, for how much, and how likely without treatment."""


CHANGE = np.dtype([("at", np.int64), ("cents", np.int64), ("pushed", np.int64)], align=True)
OFFER = np.dtype(
    [("starts_at", np.int64), ("ends_at", np.int64), ("percentage", np.int64), ("steps", np.int64)], align=True
)
SETTINGS = np.dtype(
    [
        *((name, np.int64) for name in ("start_us", "end_us", "idle_us", "window_us", "experiment_at")),
        *((name, np.float64) for name in ("lift", "treated_share", *Behaviour._fields)),
    ],
    align=True,
)


class World(NamedTuple):
    """Everything the compiled shop reads and writes.

    Given: ``settings`` (one record) to ``offers``. Used while one shopper plays: ``stream`` to ``chances``. Written:
    ``events`` to ``sums``, of which the first ``counts[i]`` rows are filled.
    """

    seed: np.uint64
    settings: Any
    zone_shares: Array
    hour_shares: Array
    offsets_us: Array
    product_shares: Array
    change_start: Array
    changes: Array
    offers: Array
    stream: Array
    lines: Array
    coupons: Array
    chances: Array
    events: Array
    views: Array
    episodes: Array
    exposures: Array
    users: Array
    carts: Array
    counts: Array
    sums: Array


COUNTED = ("events", "views", "episodes", "exposures", "users")
EVENTS_N, VIEWS_N, EPISODES_N, EXPOSURES_N, USERS_N = range(len(COUNTED))
SUMS = 6
(
    ARM_USERS,
    CONVERSION_CONTROL,
    CONVERSION_TREATMENT,
    REVENUE_CONTROL,
    REVENUE_TREATMENT,
    MIXED_USERS,
) = range(SUMS)
EVENTS_PER_CART = 96
VIEWS_PER_CART = 144
VIEWS_PER_VISITOR = 6
EPISODES_PER_CART = 24
EXPOSURES_PER_CART = 2


def scratch() -> dict[str, Array]:
    """What the compiled shop uses while one shopper plays."""
    return {
        "stream": np.zeros(1, np.uint64),
        "lines": np.zeros(MAX_LINES, LINE),
        "coupons": np.zeros(MAX_COUPONS, np.int64),
        "chances": np.zeros(MAX_CARTS_OF_USER, CHANCE),
    }


def room(carts: int, visitors: int) -> dict[str, Array]:
    """Tables for what so many carts and visitors write at most; memory is taken only where they do."""
    return {
        "events": np.empty(carts * EVENTS_PER_CART, EVENT),
        "views": np.empty(carts * VIEWS_PER_CART + visitors * VIEWS_PER_VISITOR, VIEW),
        "episodes": np.empty(carts * EPISODES_PER_CART, EPISODE),
        "exposures": np.empty((carts + visitors) * EXPOSURES_PER_CART, EXPOSURE),
        "users": np.empty(carts + visitors, USER),
        "carts": np.empty(carts, CART),
        "counts": np.zeros(len(COUNTED), np.int64),
        "sums": np.zeros(SUMS, np.float64),
    }
