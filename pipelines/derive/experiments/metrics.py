"""What is measured per user, and how: a mean, a proportion, or a ratio of two sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a column over users.

    ``cap_quantile`` (winsorising) caps the column at that quantile of its values above 0, over all arms together, so
    that a few very large orders do not drown the rest; 1 or None leaves it as it is. ``name`` is the column's where
    none is given; ``unit`` is cents where values are.
    """

    column: str
    name: str = ""
    cap_quantile: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.column)
        if self.cap_quantile is not None and not 0 < self.cap_quantile <= 1:
            raise ValueError(f"cap_quantile of {self.name} is {self.cap_quantile}, but must be above 0 and at most 1")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the metric needs."""
        return (self.column,)


@dataclass(frozen=True, slots=True)
class Proportion:
    """The share of users for whom a column is true (1) and not false (0)."""

    column: str
    name: str = ""
    unit: str = field(default="share", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the metric needs."""
        return (self.column,)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The sum of one column over the sum of another, such as revenue per order.

    Users stay the unit of randomness: the variance is by the delta method. ``name`` is ``numer/denom`` where none is
    given; ``unit`` is cents where the ratio's is, and share where it is one.
    """

    numer: str
    denom: str
    name: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.numer}/{self.denom}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the metric needs."""
        return (self.numer, self.denom)


Metric: TypeAlias = Mean | Proportion | Ratio

CAP_QUANTILE = 0.99

CATALOG: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Proportion("converted", "conversion"),
        Mean("revenue_cents", "revenue_per_user", CAP_QUANTILE, "cents"),
        Mean("orders", "orders_per_user"),
        Ratio("revenue_cents", "orders", "average_order_value", "cents"),
        Ratio("abandoned_carts", "carts", "abandonment_rate", "share"),
        Ratio("removals", "carts", "removals_per_cart"),
        Proportion("viewed", "step_view"),
        Proportion("added", "step_add"),
        Proportion("checkout_started", "step_checkout"),
        Proportion("purchased", "step_purchase"),
    )
}
"""The metrics of a shop by name, over the columns of ``unit_metrics``.

Every ``step_`` has one denominator: all exposed users.
"""

COVARIATES: dict[str, str] = {
    "conversion": "converted_before",
    "revenue_per_user": "revenue_before_cents",
    "orders_per_user": "orders_before",
}
"""What users did before they were exposed, per metric that CUPED can use it for."""
