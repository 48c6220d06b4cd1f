"""Simulated shops whose truth is known, and how many of them to try."""

import os
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from cart_core.simulator import Shop, chunks
from cart_core.simulator.records import (
    ARM_USERS,
    CONVERSION_CONTROL,
    CONVERSION_TREATMENT,
    REVENUE_CONTROL,
    REVENUE_TREATMENT,
)
from cart_core.simulator.shop import WINDOW
from pipelines.derive.experiments import acts, first_exposures, unit_metrics

WHOLE = os.environ.get("TRUTH") == "whole"
SEEDS = range(500) if WHOLE else range(40)
EVEN = {"control": 0.5, "treatment": 0.5}
SURENESS = 0.999


@dataclass(frozen=True, slots=True)
class World:
    """One shop: its users under both experiments, and the true effects of the tested one."""

    shop: Shop
    acts: pl.DataFrame
    exposures: pl.DataFrame
    conversion: float
    revenue_cents: float

    def users(self, experiment):
        """The exposed users of one experiment with what they did by the end."""
        exposed = first_exposures(self.exposures, experiment, EVEN)
        return unit_metrics(self.acts, exposed.users, window=WINDOW, as_of=self.shop.end)


def world(seed, *, carts=3_000, days=16, lift=0.3):
    """The shop of a seed."""
    shop = Shop(carts=carts, days=days, seed=seed, lift=lift)
    (part,) = chunks(shop)
    per_user = part.sums / part.sums[ARM_USERS]
    return World(
        shop,
        acts(part.events),
        pl.DataFrame(part.exposures),
        conversion=per_user[CONVERSION_TREATMENT] - per_user[CONVERSION_CONTROL],
        revenue_cents=per_user[REVENUE_TREATMENT] - per_user[REVENUE_CONTROL],
    )


def likely(share, trials):
    """The range of shares that so many trials of a chance give with a sureness of 99.9 %."""
    low, high = stats.binom.interval(SURENESS, trials, share)
    return low / trials, high / trials


def share(flags):
    """How many of the flags are true."""
    return float(np.asarray(flags).mean())
