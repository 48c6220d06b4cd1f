"""One simulated shop: its size, its seed, and what is true about its shoppers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from cart_core import rules
from cart_core.errors import Refused
from cart_core.simulator import records, rhythm
from cart_core.simulator.behaviour import Behaviour
from cart_core.simulator.catalog import Catalog, Coupons
from cart_core.simulator.records import World

START = datetime(2026, 1, 5, tzinfo=UTC)
EXPERIMENT = "checkout_button"
NULL_EXPERIMENT = "aa_check"
EXPERIMENT_AFTER = 0.4
IDLE = timedelta(minutes=60)
WINDOW = timedelta(days=7)
MAX_CARTS = 100_000_000
MAX_DAYS = 3_650
MAX_SEED = 2**63 - 1
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop of ``carts`` carts begun over ``days`` days from ``start``.

    ``lift`` is the relative change of the chance that a cart is bought, for carts begun at or after the first
    exposure to ``treatment`` of the experiment ``checkout_button``; ``aa_check`` has no effect. Both run from 40 %
    of the period to its end. Raises Refused (``bad_shop``) where a size is out of range.
    """

    carts: int
    days: int
    seed: int
    start: datetime = START
    lift: float = 0.10
    treated_share: float = 0.5
    behaviour: Behaviour = field(default_factory=Behaviour)

    def __post_init__(self) -> None:
        limits = {"carts": MAX_CARTS, "days": MAX_DAYS, "seed": MAX_SEED, "lift": 10, "treated_share": 1}
        least = {"carts": 1, "days": 1, "lift": -1}
        for name, high in limits.items():
            value, low = getattr(self, name), least.get(name, 0)
            if not low <= value <= high:
                raise Refused("bad_shop", f"{name} is {value}, but must be from {low} to {high}", field=name)
        if self.start.tzinfo is None:
            raise Refused("bad_shop", f"start is {self.start}, but must have a time zone", field="start")

    @property
    def end(self) -> datetime:
        """When the period ends; every event is earlier."""
        return self.start + timedelta(days=self.days)

    @property
    def start_us(self) -> int:
        """The start in microseconds since 1970."""
        return rules.to_micros(self.start)

    @property
    def experiment_start(self) -> datetime:
        """When both experiments begin."""
        return self.start + timedelta(hours=round(self.days * 24 * EXPERIMENT_AFTER))

    def parameters(self) -> dict[str, Any]:
        """Everything that was chosen about the shop, for truth.json."""
        return {
            "carts": self.carts,
            "days": self.days,
            "seed": self.seed,
            "lift": self.lift,
            "treated_share": self.treated_share,
            "experiment": EXPERIMENT,
            "null_experiment": NULL_EXPERIMENT,
            "experiment_start": rules.format_time(self.experiment_start),
            "idle_s": int(IDLE.total_seconds()),
            "window_days": WINDOW.days,
            "behaviour": self.behaviour._asdict(),
        }


def world(shop: Shop, goods: Catalog, offers: Coupons, carts: int, visitors: int) -> World:
    """What the compiled shop needs to play so many carts and visitors."""
    changes = np.zeros(len(goods.change_at), records.CHANGE)
    changes["at"], changes["cents"], changes["pushed"] = goods.change_at, goods.change_cents, goods.change_pushed
    campaigns = np.zeros(len(offers.codes), records.OFFER)
    campaigns["starts_at"], campaigns["ends_at"] = offers.starts_at, offers.ends_at
    campaigns["percentage"], campaigns["steps"] = offers.percentage, offers.steps
    return World(
        seed=np.uint64(shop.seed),
        settings=_settings(shop),
        zone_shares=rhythm.zone_shares(),
        hour_shares=rhythm.hour_shares(shop.start, shop.days),
        offsets_us=rhythm.offsets_us(shop.start, shop.days),
        product_shares=goods.shares,
        change_start=goods.change_start,
        changes=changes,
        offers=campaigns,
        **records.scratch(),
        **records.room(carts, visitors),
    )


def _settings(shop: Shop) -> Any:
    settings = np.zeros(1, records.SETTINGS)
    values = {
        "start_us": shop.start_us,
        "end_us": rules.to_micros(shop.end),
        "idle_us": IDLE // MICROSECOND,
        "window_us": WINDOW // MICROSECOND,
        "experiment_at": rules.to_micros(shop.experiment_start),
        "lift": shop.lift,
        "treated_share": shop.treated_share,
        **shop.behaviour._asdict(),
    }
    for name, value in values.items():
        settings[name] = value
    return settings[0]
