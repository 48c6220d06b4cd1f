"""What a funnel is, and the attempt of each unit that counts under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np
import polars as pl

from cart_core.projector.streaming import in_order
from pipelines.derive.frames import Frame, collected, moment_column, moment_us, span_us
from pipelines.derive.funnel_kernel import FOREVER, HEAD, NOT_FILLED, ORDERED, STRICT, UNORDERED, Ints, Plans, search
from pipelines.derive.grouping import group_codes, grouped
from pipelines.tables.contract import MOMENT, TableError

Order = Literal["ordered", "strict", "unordered"]
Count = Literal["uniques", "totals"]
Step = str | int

WEEK = timedelta(days=7)
MAX_OPTIONAL = 8
SHARE_ROWS = 500_000
_ORDERS = {"ordered": ORDERED, "strict": STRICT, "unordered": UNORDERED}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A touch named ``step`` that must not lie strictly between two steps, given by name or by index from 0.

    Where an attempt fills ``from_step`` but not ``to_step``, it must not lie between the former and the window's end.
    """

    step: str
    from_step: Step
    to_step: Step


@dataclass(frozen=True, slots=True)
class Funnel:
    """A funnel's definition; steps may repeat a name, and ``window=None`` is unlimited.

    ``order`` is ordered (other touches may lie between), strict (any other touch resets) or unordered (most distinct
    steps in one window). ``optional`` names steps, by name or index, that may be passed over. ``count`` is uniques
    (one attempt per unit) or totals (every attempt, none sharing a touch). Raises ValueError where these contradict.
    """

    steps: Sequence[str]
    window: timedelta | None = WEEK
    order: Order = "ordered"
    exclude: Sequence[Exclusion] = ()
    optional: Sequence[Step] = ()
    count: Count = "uniques"

    def __post_init__(self) -> None:
        if not self.steps or isinstance(self.steps, str):
            raise ValueError(f"steps are {self.steps!r}, but must be a list of at least one name")
        if self.order not in _ORDERS or self.count not in ("uniques", "totals"):
            raise ValueError(f"order is {self.order!r} and count {self.count!r}; orders are {list(_ORDERS)}")
        if self.window is not None and self.window < timedelta(0):
            raise ValueError(f"window is {self.window}, but must not be negative")
        passed_over = self.optional_steps()
        if 0 in passed_over or (passed_over and self.order == "unordered") or len(passed_over) > MAX_OPTIONAL:
            raise ValueError(
                f"optional steps are {passed_over}: the first step may not be one, nor any of an unordered funnel, "
                f"and there may be at most {MAX_OPTIONAL}"
            )
        for exclusion in self.exclude:
            self._check_exclusion(exclusion)

    def index(self, step: Step) -> int:
        """The index of a step given by name or index. Raises ValueError where it is none, or more than one."""
        found = [i for i, name in enumerate(self.steps) if step in (name, i)]
        if len(found) != 1:
            raise ValueError(f"step {step!r} names {len(found)} of the steps {list(self.steps)}; give its index")
        return found[0]

    def optional_steps(self) -> list[int]:
        """The indices of the steps that may be passed over, ascending."""
        return sorted(self.index(step) for step in self.optional)

    def _check_exclusion(self, exclusion: Exclusion) -> None:
        start, stop = self.index(exclusion.from_step), self.index(exclusion.to_step)
        if start >= stop or {start, stop} & set(self.optional_steps()):
            raise ValueError(f"{exclusion} must reach from a step to a later one, and neither may be optional")
        if exclusion.step in self.steps[start + 1 : stop]:
            raise ValueError(f"{exclusion} excludes a step that lies between the two")


def attempts(
    touches: Frame, definition: Funnel, breakdown: str | None = None, as_of: datetime | None = None
) -> pl.DataFrame:
    """The attempt of each unit that counts; with totals, each of its attempts.

    ``touches`` has columns unit (any type), at (a time; without a zone it is UTC), step (text) and, where named, the
    breakdown. Rows may come in any order; those after ``as_of`` are not known yet. Of the attempts that get deepest
    the latest first touch counts, and from there the earliest touches. A unit whose deepest attempts all have an
    exclusion is left out.
    Columns: unit, the breakdown (its value at the unit's first touch of any kind), depth (steps reached, from 1),
    at_0, at_1 ... (null where not reached or passed over), mature (null without ``as_of``: no first step of it can
    still get further). Ordered by unit as first met, then time.
    Raises TableError where unit, at or step is missing in a row, ValueError for contradictory arguments.
    """
    columns = ["unit", "at", "step", *([breakdown] if breakdown else [])]
    frame = _known(collected(touches, columns), as_of)
    names = list(dict.fromkeys([*definition.steps, *(exclusion.step for exclusion in definition.exclude)]))
    code = frame["step"].replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).to_numpy()
    at = frame["at"].to_physical().to_numpy()
    units = grouped(*group_codes(frame["unit"]), at, np.where(code < 0, len(names), code))
    kept = units if definition.order == "strict" else units.kept(code >= 0)
    touched = Touched(kept.starts, at[kept.rows], code[kept.rows])
    plans, totals = plans_of(definition, names), definition.count == "totals"
    shares = in_order(lambda share: attempts_in(*share, plans, totals=totals), touched.shares())
    found = np.concatenate([np.empty((0, HEAD + len(definition.steps)), np.int64), *shares])
    first_rows = units.rows[units.starts[found[:, 0]]]
    known = frame.select("unit", *([breakdown] if breakdown else [])).select(pl.all().gather(first_rows))
    return known.hstack(told(found, definition, as_of))


@dataclass(frozen=True, slots=True)
class Touched:
    """Touches unit by unit: unit u has ``at[starts[u] : starts[u + 1]]``, ascending, and the codes of their steps."""

    starts: Ints
    at: Ints
    code: Ints

    def kept(self, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Touched:
        """The same units, without the touches whose mask is false; a unit may be left with none."""
        before = np.concatenate([[0], np.cumsum(mask)])
        return Touched(before[self.starts], self.at[mask], self.code[mask])

    def shares(self) -> Iterator[tuple[int, Touched]]:
        """Runs of whole units, each with the number of its first, so that all cores have work."""
        for first, last in runs(self.starts, SHARE_ROWS):
            low, high = self.starts[first], self.starts[last]
            yield first, Touched(self.starts[first : last + 1] - low, self.at[low:high], self.code[low:high])


def runs(starts: Ints, rows: int) -> list[tuple[int, int]]:
    """Units as runs [first, last) of some ``rows`` touches, or of one unit that has more."""
    edges = np.searchsorted(starts, np.arange(0, int(starts[-1]), rows), side="right") - 1
    firsts = np.unique(edges).tolist()
    return list(pairwise([*firsts, len(starts) - 1])) if firsts else []


def attempts_in(first: int, touched: Touched, plans: Plans, *, totals: bool) -> Ints:
    """The attempts that count of units numbered from ``first``, as ``search`` gives them, without those left out."""
    found = search(touched.starts, touched.at, touched.code, plans, totals=totals)
    clean: Ints = found[found[:, 2] == 1]
    clean[:, 0] += first
    return clean


def told(found: Ints, definition: Funnel, as_of: datetime | None) -> pl.DataFrame:
    """What ``search`` found as columns depth, at_0, at_1 ... and mature; see ``attempts``."""
    depth = pl.Series("depth", found[:, 1] + 1, dtype=pl.Int32)
    return pl.DataFrame([depth, *_times(found[:, HEAD:]), _maturity(found[:, 3], definition.window, as_of)])


def _known(frame: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
    for name in ("unit", "at", "step"):
        if frame[name].null_count():
            raise TableError(f"touches, row {frame[name].is_null().arg_max()}: {name} is missing, but may never be")
    frame = moment_column(frame, "at").with_columns(pl.col("step").cast(pl.String))
    if as_of is None:
        return frame
    return frame.filter(pl.col("at").to_physical() <= moment_us(as_of))


def plans_of(definition: Funnel, names: list[str]) -> Plans:
    """Every way to fill the steps, for touches whose codes count into ``names``, which begin with those of steps."""
    count = len(definition.steps)
    optional = definition.optional_steps()
    skips = [set(some) for size in range(len(optional) + 1) for some in combinations(optional, size)]
    ways = [[step for step in range(count) if step not in skipped] for skipped in skips]
    steps = np.array([way + [-1] * (count - len(way)) for way in ways], np.int64)
    step_names = np.array([names.index(step) for step in definition.steps], np.int64)
    name = np.where(steps >= 0, step_names[steps], -1)
    same = np.array([[_last(row, j) for j in range(count)] for row in name.tolist()], np.int64)
    exclude = [
        [names.index(each.step), definition.index(each.from_step), definition.index(each.to_step)]
        for each in definition.exclude
    ]
    return Plans(
        steps=steps,
        name=name,
        same=same,
        length=np.array([len(way) for way in ways], np.int64),
        exclude=np.array(exclude, np.int64).reshape(-1, 3),
        names=len(names),
        step_names=len(set(definition.steps)),
        order=_ORDERS[definition.order],
        window=int(FOREVER) if definition.window is None else span_us(definition.window),
    )


def _last(row: list[int], place: int) -> int:
    return max((j for j in range(place) if row[j] == row[place]), default=-1)


def _times(found: Ints) -> list[pl.Series]:
    return [
        pl.Series(f"at_{k}", found[:, k]).replace(int(NOT_FILLED), None).cast(MOMENT) for k in range(found.shape[1])
    ]


def _maturity(last_anchor: Ints, window: timedelta | None, as_of: datetime | None) -> pl.Series:
    if as_of is None:
        return pl.Series("mature", [None] * len(last_anchor), dtype=pl.Boolean)
    if window is None:
        return pl.Series("mature", np.zeros(len(last_anchor), bool))
    return pl.Series("mature", moment_us(as_of) - last_anchor >= span_us(window))
