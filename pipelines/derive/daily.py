"""Every cart as it was at the end of each day, from one pass over its events."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from cart_core import rules
from pipelines.derive.frames import Frame
from pipelines.derive.histories import COLUMNS as COLUMNS_OF_STATES
from pipelines.derive.histories import Array, Histories, histories, states

COLUMNS = (*COLUMNS_OF_STATES, "order_id", "total_cents")
"""The columns of EVENTS that are read; recorded_at too where known_at is given."""


def daily_cart_states(
    events: Frame,
    first: date,
    last: date,
    time_zone: str = "UTC",
    known_at: datetime | None = None,
    *,
    changes_only: bool = False,
) -> pl.DataFrame:
    """What every cart was at the end of every day from ``first`` to ``last``, both inclusive, in a zone's days.

    ``events`` is a frame of EVENTS in any form and order that holds all events of its carts; a day's end is the last
    microsecond before the next midnight. Columns day, cart_id (text) and those of carts, by cart and then day; a cart
    has a row from the day of its first event on. With ``changes_only`` it has one only for days on which something
    happened in it, and for ``first`` where it began before: what it was then stands until its next row.

    Each cart is folded once, however many days there are. Raises ValueError for days in the wrong order or an unknown
    zone, and as ``histories``.
    """
    if last < first:
        raise ValueError(f"the days from {first} to {last} are none: the last is before the first")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    ends_us = np.array([_end_us(day, time_zone) for day in days], np.int64)
    as_of = rules.EPOCH + timedelta(microseconds=int(ends_us[-1]))
    known = histories(events, as_of, known_at, columns=COLUMNS)
    cart, day = _changes(known, ends_us)
    told = states(known, cart, ends_us[day]).with_columns(known.cart_ids(cart))
    if not changes_only:
        times = _days_until_the_next(cart, day, len(days))
        place = np.repeat(np.arange(len(cart)), times)
        day = day[place] + np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times)
        told = told[place]
    return told.select(pl.Series("day", days, pl.Date)[day], "cart_id", pl.exclude("cart_id"))


def _changes(known: Histories, ends_us: Array) -> tuple[Array, Array]:
    """The carts and days, as numbers from 0, at whose end a cart may be another than a day before."""
    times = known.rows.time_us[known.by_time]
    day = np.searchsorted(ends_us, times)
    first_of_its_day = np.r_[True, (day[1:] != day[:-1]) | (known.cart[1:] != known.cart[:-1])][: len(day)]
    return known.cart[first_of_its_day], day[first_of_its_day]


def _days_until_the_next(cart: Array, day: Array, days: int) -> Array:
    """For how many days each change stands: until its cart's next one, or to the last day."""
    following = np.r_[day[1:], days][: len(day)]
    same = np.r_[cart[1:] == cart[:-1], False][: len(day)]
    return np.where(same, following, days) - day


def _end_us(day: date, time_zone: str) -> int:
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{time_zone!r} is no time zone; give an IANA name such as Europe/Berlin") from error
    midnight = datetime.combine(day + timedelta(days=1), time(), zone)
    return rules.to_micros(midnight.astimezone(UTC)) - 1
