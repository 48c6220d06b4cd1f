"""What an explanation is made from, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isclose
from typing import Any

import polars as pl

from pipelines.derive.experiments import Experiment
from pipelines.tables.contract import MOMENT, SMALL, TEXT, ids_as_text

WHAT = {"what": TEXT, "cart_id": TEXT, "user_id": TEXT, "at": MOMENT, "version": SMALL}
"""The columns that every part has: what it is, whose it is, when it happened, and the version of the event it rests
on; null where it has none (a product view has no cart and no version)."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where explanations look, and how the tables were derived.

    ``table`` gives a derived table as it stands, ``scan`` the same to be narrowed first, ``events`` the events of some
    carts (ids as text), ``all_events`` all of them, of which only the columns asked for are read; ``views`` all product
    views; ``experiment`` a declared experiment and its exposures. ``within`` is the window of coupon effects.
    """

    table: Callable[[str], pl.DataFrame]
    scan: Callable[[str], pl.LazyFrame]
    events: Callable[[pl.Series], pl.DataFrame]
    all_events: Callable[[], pl.LazyFrame]
    views: Callable[[], pl.DataFrame]
    experiment: Callable[[str], tuple[Experiment, pl.DataFrame]]
    as_of: datetime
    window: timedelta = timedelta(days=7)
    within: timedelta = timedelta(minutes=30)
    time_zone: str = "UTC"

    def cart(self, cart_id: str) -> pl.DataFrame:
        """The events of one cart, ids as text, in version order."""
        found = self.events(pl.Series("cart_id", [cart_id], dtype=TEXT))
        return ids_as_text(found).filter(pl.col("cart_id") == cart_id).sort("version")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A row of a table taken apart: each part is a line of ``parts``, with what it adds to the row's figures.

    ``parts`` has the columns ``WHAT`` and one per figure it adds up to; ``sums`` are their totals.
    """

    table: str
    row: Row
    parts: pl.DataFrame

    @property
    def sums(self) -> dict[str, Any]:
        """What the parts add up to, for every figure of the row that is a count or a sum."""
        return {name: self.parts[name].sum() for name in self.parts.columns if name not in WHAT}

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """The figures that the parts do not add up to, each with what stands in the row and what the parts make.

        It is empty as long as the parts are those of the whole row. A figure that is null adds up to anything.
        """
        both = {name: (self.row.get(name), total) for name, total in self.sums.items()}
        return {
            name: (stands, total)
            for name, (stands, total) in both.items()
            if stands is not None and not isclose(stands, total, rel_tol=1e-9, abs_tol=1e-9)
        }

    @property
    def carts(self) -> list[str]:
        """The carts that the row rests on, ascending."""
        return self.parts["cart_id"].drop_nulls().unique().sort().to_list()

    def events(self, evidence: Evidence) -> pl.DataFrame:
        """The events that the parts rest on, by cart and version."""
        wanted = self.parts.select("cart_id", "version").drop_nulls().unique()
        if wanted.is_empty():
            return evidence.events(wanted["cart_id"])
        found = ids_as_text(evidence.events(wanted["cart_id"].unique()))
        return found.join(wanted, on=["cart_id", "version"], how="semi").sort("cart_id", "version")


def parts(frame: pl.DataFrame, what: str, **amounts: pl.Expr | str) -> pl.DataFrame:
    """Rows as parts: the columns ``WHAT`` where the frame has them, else null, and one per amount."""
    known = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in WHAT.items()
        if name != "what"
    ]
    return frame.select(pl.lit(what).alias("what"), *known, **amounts)


def together(*several: pl.DataFrame) -> pl.DataFrame:
    """Parts of different kinds in one table; what a kind adds nothing to is 0."""
    whole = pl.concat(several, how="diagonal_relaxed")
    return whole.with_columns(pl.col(name).fill_null(0) for name in whole.columns if name not in WHAT)
