"""When shoppers come: a week's and a day's rhythm in each shopper's own time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
ZONES = {
    "America/New_York": 24,
    "America/Chicago": 14,
    "America/Los_Angeles": 16,
    "America/Sao_Paulo": 6,
    "Europe/London": 12,
    "Europe/Berlin": 10,
    "Europe/Paris": 7,
    "Asia/Kolkata": 4,
    "Asia/Tokyo": 4,
    "Australia/Sydney": 3,
}
WEEKDAY_WEIGHTS = (1.0, 0.96, 0.94, 0.97, 1.02, 1.16, 1.28)
HOUR_WEIGHTS = (
    *(1.1, 0.6, 0.35, 0.25, 0.25, 0.4, 0.8, 1.6, 2.4, 3.0, 3.5, 3.8),
    *(4.1, 3.9, 3.6, 3.5, 3.6, 3.9, 4.4, 5.2, 5.9, 5.8, 4.2, 2.4),
)


def cumulative(weights: Any) -> Array:
    """Weights as cumulative shares that end at 1."""
    sums = np.cumsum(np.asarray(weights, dtype=np.float64))
    return np.asarray(sums / sums[-1])


def zone_shares() -> Array:
    """The cumulative share of shoppers per zone, in the order of ZONES."""
    return cumulative(list(ZONES.values()))


def hour_shares(start: datetime, days: int) -> Array:
    """The cumulative share of visits per hour of the shopper's clock, ``days * 24`` of them from ``start``."""
    hours = [start + timedelta(hours=hour) for hour in range(days * 24)]
    return cumulative([WEEKDAY_WEIGHTS[hour.weekday()] * HOUR_WEIGHTS[hour.hour] for hour in hours])


def offsets_us(start: datetime, days: int) -> Array:
    """What each zone's clock shows ahead of UTC, in microseconds, as (zones, days + 1)."""
    moments = [start.astimezone(UTC) + timedelta(days=day) for day in range(days + 1)]
    return np.array(
        [[_offset_us(moment.astimezone(ZoneInfo(zone))) for moment in moments] for zone in ZONES], dtype=np.int64
    )


def _offset_us(moment: datetime) -> int:
    offset = moment.utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)
