"""The plain records that the compiled shop reads and writes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cart_core.events import TYPES
from cart_core.simulator.behaviour import MAX_LINES, Behaviour

Array = np.ndarray[Any, np.dtype[Any]]

ITEM_ADDED = TYPES.index("ItemAdded")
ITEM_REMOVED = TYPES.index("ItemRemoved")
QUANTITY_CHANGED = TYPES.index("QuantityChanged")
COUPON_APPLIED = TYPES.index("CouponApplied")
COUPON_REMOVED = TYPES.index("CouponRemoved")
PRICE_UPDATED = TYPES.index("PriceUpdated")
CHECKOUT_STARTED = TYPES.index("CheckoutStarted")
CHECKOUT_COMPLETED = TYPES.index("CheckoutCompleted")

REASONS = ("shopper", "expired", "catalog", "re-added")
BY_SHOPPER, EXPIRED, FROM_CATALOG, RE_ADDED = range(len(REASONS))
NONE = -1
NEVER = np.iinfo(np.int64).max

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
        ("clock", np.int64),
        ("last_activity_at", np.int64),
        ("reaction_at", np.int64),
        ("completed_at", np.int64),
        ("charged_cents", np.int64),
        ("total_cents", np.int64),
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


class World(NamedTuple):
    """Everything the shop is given: it is read, never written."""

    seed: np.uint64
    start_us: int
    end_us: int
    idle_us: int
    window_us: int
    rates: Behaviour
    zone_shares: Array
    hour_shares: Array
    offsets_us: Array
    product_shares: Array
    change_start: Array
    change_at: Array
    change_cents: Array
    change_pushed: Array
    coupon_starts: Array
    coupon_ends: Array
    coupon_percentage: Array
    coupon_steps: Array
    experiment_at: int
    lift: float
    treated_share: float


class Sink(NamedTuple):
    """What the shop writes: the first ``counts[i]`` rows of each table are filled."""

    events: Array
    views: Array
    episodes: Array
    exposures: Array
    users: Array
    carts: Array
    counts: Array
    sums: Array


EVENTS_N, VIEWS_N, EPISODES_N, EXPOSURES_N, USERS_N = range(5)
(
    ARM_USERS,
    CONVERSION_CONTROL,
    CONVERSION_TREATMENT,
    REVENUE_CONTROL,
    REVENUE_TREATMENT,
    MIXED_USERS,
) = range(6)
EVENTS_PER_CART = 96
VIEWS_PER_CART = 144
EPISODES_PER_CART = 24
EXPOSURES_PER_CART = 6


def sink(carts: int, visitors: int) -> Sink:
    """Room for what so many carts and visitors can write at most; memory is taken only where it is written."""
    return Sink(
        events=np.empty(carts * EVENTS_PER_CART, EVENT),
        views=np.empty(carts * VIEWS_PER_CART + visitors * MAX_LINES, VIEW),
        episodes=np.empty(carts * EPISODES_PER_CART, EPISODE),
        exposures=np.empty((carts + visitors) * EXPOSURES_PER_CART, EXPOSURE),
        users=np.empty(carts + visitors, USER),
        carts=np.empty(carts, CART),
        counts=np.zeros(5, np.int64),
        sums=np.zeros(6, np.float64),
    )
