"""Columns of times as text, or as numbers, to microseconds since 1970 in UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import rules
from cart_core.importers.ids import Bytes, Flags, Whole, buffers, letters_of

NO_TIME = np.iinfo(np.int64).min
CLOCK_CHARS = 19
LONGEST_CHARS = CLOCK_CHARS + len(".123456+00:00")
ZERO = np.uint8(ord("0"))
EPOCH_MILLIS = re.compile(r"-?[0-9]{11,14}")
UTC_SUFFIX = re.compile(r"[ ]?UTC")
SECOND_US = 1_000_000
ZONES = (b"Z", b"z", b" UTC", b"+00:00")
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
_MARKS = {4: b"-", 7: b"-", 10: b"Tt ", 13: b":", 16: b":"}
FEBRUARY = 2
HOURS = 24
SIXTY = 60
_LAST_DAY = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

Small = np.ndarray[Any, np.dtype[np.int32]]


def parse_moment(text: object) -> int | None:
    """A time as clickstreams write it: RFC 3339, `2019-10-01 00:00:00 UTC`, or epoch milliseconds.

    Microseconds since 1970, or None where it is no time or has no zone.
    """
    text = str(text) if isinstance(text, int) and not isinstance(text, bool) else text
    if not isinstance(text, str):
        return None
    if EPOCH_MILLIS.fullmatch(text):
        return int(text) * 1000
    try:
        return rules.to_micros(rules.parse_time(UTC_SUFFIX.sub("Z", text)))
    except ValueError:
        return None


def parse_rfc3339(texts: pa.Array) -> Whole:
    """A column of RFC 3339 times; NO_TIME for everything that ``rules.parse_time`` refuses."""
    return parse_column(texts, _parse_rfc3339, (b"Z", b"z", b"+00:00"))


def parse_column(
    texts: pa.Array, one: Callable[[object], int | None] = parse_moment, zones: tuple[bytes, ...] = ZONES
) -> Whole:
    """``parse_moment`` (or ``one``) of a whole column; NO_TIME where it is None.

    Texts of one length that end alike are read together: `...Z`, `... UTC`, `...+00:00`, with any fraction of up to
    six digits. The few others are read one by one.
    """
    micros = np.full(len(texts), NO_TIME, np.int64)
    slow = np.ones(len(texts), bool)
    _, offsets = buffers(texts)
    for length in np.unique(np.diff(offsets)):
        if CLOCK_CHARS < length <= LONGEST_CHARS:
            letters, rows = letters_of(texts, int(length))
            columns = np.ascontiguousarray(letters.T)
            clock, sound = _clock(columns[:CLOCK_CHARS])
            tail, known = _tail(columns[CLOCK_CHARS:], zones)
            read = sound & known
            rows[rows] = read
            micros[rows] = (clock * SECOND_US + tail)[read]
            slow &= ~rows
    for row in np.flatnonzero(slow):
        moment = one(texts[row].as_py())
        micros[row] = NO_TIME if moment is None else moment
    return micros


def _parse_rfc3339(text: object) -> int | None:
    try:
        return rules.to_micros(rules.parse_time(text)) if isinstance(text, str) else None
    except ValueError:
        return None


def from_micros(micros: int) -> datetime:
    """Microseconds since 1970 as a moment in UTC."""
    moment: datetime = pa.scalar(micros, pa.timestamp("us", "UTC")).as_py()
    return moment


def _clock(columns: Bytes) -> tuple[Whole, Flags]:
    """`YYYY-MM-DD hh:mm:ss`, one array for each place, as seconds; and which are a calendar time."""
    digits = {place: columns[place] - ZERO for place in _DIGITS}
    sound = np.ones(columns.shape[1], bool)
    for values in digits.values():
        sound &= values <= 9  # noqa: PLR2004 - decimal digits
    for place, allowed in _MARKS.items():
        sound &= np.isin(columns[place], list(allowed))
    century, year, month, day, hour, minute, second = (
        digits[at].astype(np.int32) * 10 + digits[at + 1] for at in (0, 2, 5, 8, 11, 14, 17)
    )
    year += century * 100
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last_day = _LAST_DAY[np.where(month < len(_LAST_DAY), month, 0)] + (leap & (month == FEBRUARY))
    sound &= (year >= 1) & (day >= 1) & (day <= last_day)
    sound &= (hour < HOURS) & (minute < SIXTY) & (second < SIXTY)
    return _days(year, month, day).astype(np.int64) * 86_400 + (hour * 3_600 + minute * 60 + second), sound


def _days(year: Small, month: Small, day: Small) -> Small:
    """Days since 1970-01-01 of the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible date algorithms")."""
    ends_with_leap_day = month > FEBRUARY
    shifted = year - ~ends_with_leap_day
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + np.where(ends_with_leap_day, -3, 9)) + 2) // 5 + day - 1
    days: Small = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days


def _tail(columns: Bytes, zones: tuple[bytes, ...]) -> tuple[Whole, Flags]:
    """What follows the seconds, as microseconds: a fraction and a zone that is UTC; and which are read."""
    length, rows = columns.shape
    micros = np.zeros(rows, np.int64)
    known = np.zeros(rows, bool)
    for zone in zones:
        places = length - len(zone) - 1
        if places not in (-1, 1, 2, 3, 4, 5, 6):
            continue
        fits = np.ones(rows, bool)
        for at, letter in enumerate(zone, length - len(zone)):
            fits &= columns[at] == letter
        if places > 0:
            fits &= columns[0] == ord(".")
            fraction = np.zeros(rows, np.int64)
            for at in range(1, places + 1):
                fits &= columns[at] - ZERO <= 9  # noqa: PLR2004 - decimal digits
                fraction = fraction * 10 + (columns[at] - ZERO)
            micros[fits] = fraction[fits] * 10 ** (6 - places)
        known |= fits
    return micros, known
