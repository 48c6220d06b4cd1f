"""Which events an audit is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from cart_core import rules
from cart_core.errors import InvalidEvent, Problem

Clock = Literal["either", "happened", "recorded"]
CLOCKS: tuple[Clock, ...] = get_args(Clock)
Moments = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Period:
    """From one moment to another, both inclusive, by one of the two clocks that an event has, or by either.

    ``happened`` is the event's timestamp, ``recorded`` the moment at which the store accepted it: an event that came
    late happened in one period and was recorded in another. Raises InvalidEvent where the moments have no zone or do
    not ascend.
    """

    start: datetime
    end: datetime
    by: Clock = "either"

    def __post_init__(self) -> None:
        for name, moment in (("from", self.start), ("to", self.end)):
            if not rules.Moment().allows(moment):
                raise InvalidEvent([Problem(name, moment, rules.Moment().wording)])
        if self.end < self.start:
            raise InvalidEvent([Problem("to", rules.format_time(self.end), f"not before {self.document()['from']}")])
        if self.by not in CLOCKS:
            raise InvalidEvent([Problem("by", self.by, f"one of {', '.join(CLOCKS)}")])

    def document(self) -> dict[str, str]:
        """The period as a manifest names it."""
        return {"from": rules.format_time(self.start), "to": rules.format_time(self.end), "by": self.by}

    def recorded(self, recorded_us: Moments) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which moments of recording lie in the period."""
        return (recorded_us >= rules.to_micros(self.start)) & (recorded_us <= rules.to_micros(self.end))

    def side(self, recorded_us: Moments) -> int:
        """Where rows were recorded as a whole: -1 before the period, 1 behind it, 0 where some may lie in it."""
        if recorded_us.max() < rules.to_micros(self.start):
            return -1
        return int(recorded_us.min() > rules.to_micros(self.end))

    def chosen(self, events: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows of a table with timestamp and recorded_at the audit is about."""
        happened = self.recorded(micros_of(events["timestamp"]))
        recorded = self.recorded(micros_of(events["recorded_at"]))
        return {"happened": happened, "recorded": recorded, "either": happened | recorded}[self.by]


def micros_of(column: pa.ChunkedArray) -> Moments:
    """A column of moments as microseconds since 1970."""
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)
