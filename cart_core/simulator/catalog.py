"""What the shop sells and when prices change, and the coupons it hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core.simulator.rhythm import DAY_US, HOUR_US, cumulative

Array = np.ndarray[Any, np.dtype[Any]]

PRODUCTS = 2_000
ZIPF_EXPONENT = 0.9
CHANGE_EVERY_DAYS = 15
PUSHED_SHARE = 0.5
LEAST_CENTS = 99
COUPON_EVERY_DAYS = 2
PERCENT_STEPS = 10_000
MAKES = (
    *("Alder", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Glade", "Harbor", "Iris", "Juniper"),
    *("Kestrel", "Linden", "Maple", "North", "Opal", "Pine", "Quartz", "River", "Sage", "Tundra"),
)
KINDS = (
    *("backpack", "blanket", "bottle", "bowl", "candle", "chair", "coat", "desk lamp", "gloves", "hat"),
    *("headphones", "jacket", "kettle", "keyboard", "mug", "notebook", "pillow", "running shoes", "scarf", "watch"),
)
STYLES = ("Classic", "Compact", "Everyday", "Light", "Pro")
KIND_CENTS = (
    *(6_900, 4_500, 2_400, 1_900, 1_500, 12_900, 14_900, 4_900, 2_500, 2_200),
    *(9_900, 11_900, 5_900, 7_900, 1_200, 900, 2_900, 9_500, 2_600, 17_900),
)
PERCENTAGES = (5.0, 10.0, 12.5, 15.0, 20.0, 33.3333)
FIXED_CENTS = (500, 1_000, 1_500, 2_500)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Products by number; price changes stand product by product, times ascending, from ``change_start[product]``.

    The first change of a product is its opening price. ``change_pushed`` says whether carts that hold the product
    are told; the others are noticed only when the shopper adds the product again.
    """

    ids: list[str]
    names: list[str]
    images: list[str]
    shares: Array
    change_start: Array
    change_at: Array
    change_cents: Array
    change_pushed: Array


@dataclass(frozen=True, slots=True)
class Coupons:
    """Coupon campaigns by number, start times ascending; ``steps`` are 1/10 000 of a percent, or cents if fixed."""

    codes: list[str]
    starts_at: Array
    ends_at: Array
    percentage: Array
    values: Array
    steps: Array


def catalog(seed: int, start_us: int, days: int) -> Catalog:
    """The products of a seed, most popular first, with all price changes of the period."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    numbers = np.arange(PRODUCTS)
    kinds = numbers % len(KINDS)
    base = np.array(KIND_CENTS)[kinds] * np.exp(rng.normal(0.0, 0.35, PRODUCTS))
    order = rng.permutation(PRODUCTS)
    kinds, base, names = kinds[order], base[order], [_name(int(number)) for number in order]
    starts, at, cents, pushed = _changes(rng, base, start_us, days)
    return Catalog(
        ids=_ids(),
        names=names,
        images=[f"https://shop.example/images/p{number:05d}.jpg" for number in range(PRODUCTS)],
        shares=cumulative((1.0 + numbers) ** -ZIPF_EXPONENT),
        change_start=starts,
        change_at=at,
        change_cents=cents,
        change_pushed=pushed,
    )


def coupons(seed: int, start_us: int, days: int) -> Coupons:
    """The campaigns of a seed: one every other day, each ends two to five days after it began."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 2)))
    count = days // COUPON_EVERY_DAYS + 2
    starts = start_us + (np.arange(count) - 1) * COUPON_EVERY_DAYS * DAY_US
    ends = starts + rng.integers(2 * 24, 5 * 24, count) * HOUR_US + 12 * HOUR_US
    percentage = rng.random(count) < 0.65  # noqa: PLR2004 - two of three campaigns are percentages
    values = np.where(percentage, rng.choice(PERCENTAGES, count), rng.choice(FIXED_CENTS, count))
    return Coupons(
        codes=[f"SAVE-{number:03d}" for number in range(1, count + 1)],
        starts_at=starts.astype(np.int64),
        ends_at=ends.astype(np.int64),
        percentage=percentage,
        values=values.astype(np.float64),
        steps=np.where(percentage, np.floor(values * PERCENT_STEPS + 0.5), values).astype(np.int64),
    )


def _ids() -> list[str]:
    return [f"p{number:05d}" for number in range(PRODUCTS)]


def _name(number: int) -> str:
    kind = number % len(KINDS)
    make = number // len(KINDS) % len(MAKES)
    style = number // (len(KINDS) * len(MAKES)) % len(STYLES)
    return f"{MAKES[make]} {STYLES[style]} {KINDS[kind]}"


def _changes(rng: np.random.Generator, base: Array, start_us: int, days: int) -> tuple[Array, Array, Array, Array]:
    """Prices move around the base price, at whole hours; every product opens with a price before the start."""
    counts = 1 + rng.poisson(days / CHANGE_EVERY_DAYS, len(base))
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    product = np.repeat(np.arange(len(base)), counts)
    at = start_us + rng.integers(1, days * 24 + 1, len(product)) * HOUR_US
    at[starts[:-1]] = start_us - DAY_US
    at = at[np.lexsort((at, product))]
    factors = np.exp(rng.normal(0.0, 0.12, len(product)))
    cents = np.maximum(np.round(base[product] * factors / 100) * 100 - 1, LEAST_CENTS).astype(np.int64)
    return starts, at, cents, rng.random(len(product)) < PUSHED_SHARE


def stock(seed: int) -> pa.Table:
    """How many units of each product are on hand; about one in twelve is sold out."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 4)))
    on_hand = np.where(rng.random(PRODUCTS) < 1 / 12, 0, rng.geometric(1 / 40, PRODUCTS))
    return pa.table({"product_id": _ids(), "available": on_hand})
