"""What exposed users did, counted by user and day from any part of their acts, and what these counts make up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipelines.derive.columns import Ints, places_of
from pipelines.derive.experiments.acts import (
    ABANDONED,
    ADD,
    CART,
    CHECKOUT,
    KINDS,
    ORDER,
    REMOVAL,
    VIEW,
    Acted,
)
from pipelines.derive.frames import moment_us, span_us
from pipelines.tables.contract import COUNT, MOMENT

Array = np.ndarray[Any, np.dtype[Any]]
Arms = Mapping[Any, Mapping[str, Array]]

COUNTED = {
    "orders": ORDER,
    "carts": CART,
    "abandoned_carts": ABANDONED,
    "removals": REMOVAL,
    "views": VIEW,
    "adds": ADD,
    "checkouts": CHECKOUT,
}
SUMMED = (*COUNTED, "revenue_cents")
KEPT = ("orders", "revenue_cents", "carts", "abandoned_carts", "removals")
FLAGS = {
    "converted": "orders",
    "viewed": "views",
    "added": "adds",
    "checkout_started": "checkouts",
    "purchased": "orders",
}
BEFORE = {"orders_before": "orders", "revenue_before_cents": "revenue_cents"}
EARLIER = -1
ACT_BITS, PLACE_BITS = 3, 40
TALLIES = pl.Schema({"key": pl.UInt64(), "acts": COUNT, "cents": COUNT})
"""How often a user did one thing in one step, and for how much. The key holds, from its highest bits, the step and one,
the user's row and the act's place in KINDS; the step is the first moment as of which it counts, or EARLIER for what was
done before the exposure."""
TALLIED = pl.Schema({"place": pl.UInt32(), "step": pl.Int32(), **dict.fromkeys(SUMMED, COUNT)})
"""All that one user did in one step: ``place`` is the user's row, ``step`` as in TALLIES."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The users of one experiment as their acts are counted: each one's row and exposure in microseconds, by number.

    The row is -1 for users who are not exposed, as it is for number -1, which stands last. ``moments`` ascend.
    """

    place: Ints
    exposed_at: Ints
    moments: Ints
    window: int | None

    @classmethod
    def over(
        cls, users: pl.DataFrame, numbers: Ints, of: int, moments: Sequence[datetime], window: timedelta | None
    ) -> Watched:
        """The users of ``Exposed``, who have these among ``of`` numbers. Raises ValueError: moments do not ascend."""
        if not moments or list(moments) != sorted(set(moments)):
            raise ValueError("the moments do not ascend")
        place, exposed_at = np.full(of + 1, -1), np.zeros(of + 1, np.int64)
        place[numbers] = np.arange(users.height)
        exposed_at[numbers] = users["exposed_at"].cast(MOMENT).to_physical().to_numpy()
        until = np.array([moment_us(moment) for moment in moments])
        return cls(place, exposed_at, until, None if window is None else span_us(window))

    def tallies(self, user: Ints, acts: Acted) -> pl.DataFrame:
        """What users did before their exposure, and by each of the moments: TALLIES, in no order.

        ``user`` is each act's number, -1 for users without one. From the exposure on only what lies within the window
        of it counts, and only where the thing that it belongs to began since. No row where nothing was done; rows of
        parts of the acts add up.
        """
        place, exposed = self.place[user], self.exposed_at[user]
        earlier = acts.at < exposed
        until = self.moments[-1] if self.window is None else np.minimum(exposed + self.window, self.moments[-1])
        rows = np.flatnonzero((place >= 0) & (earlier | ((acts.since >= exposed) & (acts.at <= until))))
        step = np.where(earlier[rows], EARLIER, np.searchsorted(self.moments, acts.at[rows]))
        act = acts.act[rows].astype(np.int64)
        key = (step + 1) << (PLACE_BITS + ACT_BITS) | place[rows] << ACT_BITS | act
        cents = np.where(act == KINDS.index(ORDER), acts.value[rows], 0)
        told = pl.DataFrame({"key": key.astype(np.uint64), "cents": cents})
        return told.group_by("key").agg(acts=pl.len().cast(COUNT), cents=pl.col("cents").sum())


def tallies(
    acts: pl.DataFrame, users: pl.DataFrame, moments: Sequence[datetime], *, window: timedelta | None
) -> pl.DataFrame:
    """``Watched.tallies`` of a frame of acts for the users of ``Exposed``. Raises ValueError: moments do not ascend."""
    done = Acted.of(acts)
    watched = Watched.over(users, np.arange(users.height), users.height, moments, window)
    return watched.tallies(places_of(done.users, users["user_id"])[done.user], done)


def together(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Tallies of parts of the acts added up, a row for each user and step: TALLIED, by step and place."""
    whole = pl.concat([TALLIES.to_frame(), *parts]).group_by("key").agg(pl.col("acts", "cents").sum()).sort("key")
    key, acts, cents = (whole[name].to_numpy().astype(np.int64) for name in TALLIES)
    cell, act = key >> ACT_BITS, key & ((1 << ACT_BITS) - 1)
    begins = np.diff(cell, prepend=-1) != 0
    row, cells = np.cumsum(begins) - 1, cell[begins]
    columns = {name: np.zeros(len(cells), np.int64) for name in SUMMED}
    for name, kind in COUNTED.items():
        mine = act == KINDS.index(kind)
        columns[name][row[mine]] = acts[mine]
    ordered = act == KINDS.index(ORDER)
    columns["revenue_cents"][row[ordered]] = cents[ordered]
    places = {"place": cells & ((1 << PLACE_BITS) - 1), "step": (cells >> PLACE_BITS) - 1}
    return pl.DataFrame({**places, **columns}).cast(TALLIED)


def unit_metrics(acts: pl.DataFrame, users: pl.DataFrame, *, window: timedelta | None, as_of: datetime) -> pl.DataFrame:
    """One row per exposed user with what they did from the exposure on, at most ``window`` later and by ``as_of``.

    ``users`` are those of ``Exposed``. Columns: user_id, variant, exposed_at; orders, revenue_cents, carts (begun since
    the exposure), abandoned_carts (of these), removals (from these); flags converted, viewed, added, checkout_started,
    purchased; what they did before the exposure: orders_before, revenue_before_cents, converted_before; and mature,
    whether the whole window lies before ``as_of`` (with no window: never). A user who did nothing has zeros.
    Users exposed after ``as_of`` are left out. Ordered as ``users``.
    """
    known = users.filter(pl.col("exposed_at") <= as_of)
    done = together([tallies(acts, known, [as_of], window=window)])
    return metrics_of(done, known, window=window, as_of=as_of)


def metrics_of(
    tallied: pl.DataFrame, users: pl.DataFrame, *, window: timedelta | None, as_of: datetime
) -> pl.DataFrame:
    """``unit_metrics`` of users, none of whom was exposed after ``as_of``, from their tallies up to then."""
    since = _totals(tallied.filter(pl.col("step") > EARLIER), users.height)
    before = _totals(tallied.filter(pl.col("step") == EARLIER), users.height)
    over = pl.lit(value=False) if window is None else pl.col("exposed_at") + window <= as_of
    return users.with_columns(
        *(since[name].alias(name) for name in KEPT),
        *((since[count] > 0).alias(flag) for flag, count in FLAGS.items()),
        *(before[count].alias(name) for name, count in BEFORE.items()),
        (before["orders"] > 0).alias("converted_before"),
        mature=over,
    )


def _totals(tallied: pl.DataFrame, height: int) -> dict[str, pl.Series]:
    """What every user did in all steps."""
    places = tallied["place"].to_numpy()
    totals = {name: np.zeros(height, np.int64) for name in SUMMED}
    for name, values in totals.items():
        np.add.at(values, places, tallied[name].to_numpy())
    return {name: pl.Series(values) for name, values in totals.items()}


def arms_by_moment(
    tallied: pl.DataFrame, users: pl.DataFrame, moments: Sequence[datetime], columns: Iterable[str]
) -> Iterator[Arms]:
    """These columns of ``unit_metrics`` as of one moment after the other, for each arm, in order of exposure.

    ``tallied`` is ``together``'s; an arm without users by then is left out. What the arrays hold changes with the next
    moment. Every tally is looked at once, however many moments there are.
    """
    arms = {arm: _Arm(users, arm, tallied) for arm in users["variant"].unique().sort()}
    needed = list(columns)
    for number, moment in enumerate(moments):
        grown = {arm: each.at(number, moment, needed) for arm, each in arms.items()}
        yield {arm: values for arm, values in grown.items() if values}


class _Arm:
    """What the users of one arm did so far, those exposed first in front."""

    def __init__(self, users: pl.DataFrame, arm: Any, tallied: pl.DataFrame) -> None:
        mine = users.with_row_index("place").filter(pl.col("variant") == arm).sort("exposed_at", "place")
        rank = np.full(users.height, -1, np.int64)
        rank[mine["place"].to_numpy()] = np.arange(mine.height)
        ranks = rank[tallied["place"].to_numpy()]
        own = np.flatnonzero((ranks >= 0) & (tallied["step"].to_numpy() > EARLIER))
        self._exposed_at = mine["exposed_at"]
        self._ranks = ranks[own]
        self._steps = tallied["step"].to_numpy()[own]
        self._more = {name: tallied[name].to_numpy()[own] for name in SUMMED}
        self._values = {name: np.zeros(mine.height) for name in SUMMED}

    def at(self, number: int, moment: datetime, columns: Sequence[str]) -> dict[str, Array]:
        """The columns after the step of this number, of those exposed by the moment; nothing where there are none."""
        low, high = np.searchsorted(self._steps, [number, number + 1])
        ranks = self._ranks[low:high]
        for name, values in self._values.items():
            values[ranks] += self._more[name][low:high]
        there = self._exposed_at.search_sorted(moment, side="right")
        return {name: self._column(name, there) for name in columns} if there else {}

    def _column(self, name: str, there: int) -> Array:
        if name in FLAGS:
            return (self._values[FLAGS[name]][:there] > 0).astype(np.float64)
        return self._values[name][:there]
