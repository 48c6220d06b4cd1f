"""What a field may hold, and times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules
from tests import strategies

NINE_THIRTY = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


class Nowhere(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        """Nothing."""

    def dst(self, _: datetime | None) -> None:
        """Nothing."""

    def tzname(self, _: datetime | None) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T09:30:00Z", NINE_THIRTY),
        ("2026-01-31t09:30:00z", NINE_THIRTY),
        ("2026-01-31 09:30:00Z", NINE_THIRTY),
        ("2026-01-31T09:30:00+00:00", NINE_THIRTY),
        ("2026-01-31T09:30:00-00:00", NINE_THIRTY),
        ("2026-01-31T15:15:00+05:45", NINE_THIRTY),
        ("2026-01-30T22:30:00-11:00", NINE_THIRTY),
        ("2026-01-31T09:30:00.5Z", NINE_THIRTY + timedelta(microseconds=500_000)),
        ("2026-01-31T09:30:00.000001Z", NINE_THIRTY + timedelta(microseconds=1)),
        ("2026-01-31T09:30:00.0000019999Z", NINE_THIRTY + timedelta(microseconds=1)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_rfc_3339_text_is_a_utc_moment(text: str, moment: datetime):
    """Every form that RFC 3339 allows is read, to the microsecond."""
    parsed = rules.parse_time(text)
    assert parsed == moment
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-01-31T09:30Z",
        "2026-01-31T09:30:00.Z",
        "2026-01-31T09:30:00 Z",
        "2026-01-31T09:30:00+0100",
        "2026-01-31T09:30:00+01",
        "2026-01-31T09:30:00+24:00",
        "2026-01-31T09:30:00+05:60",
        "2026-01-31T24:00:00Z",
        "2026-01-31T09:60:00Z",
        "2026-01-31T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-1-1T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "1769851800",
        "٢٠٢٦-01-31T09:30:00Z",
        " 2026-01-31T09:30:00Z",
        "2026-01-31T09:30:00Z\n",
    ],
)
def test_other_text_is_no_moment(text: str):
    """No zone, no calendar day, a leap second or any other form: refused, and named."""
    with pytest.raises(ValueError, match=r"is not an RFC 3339 time|is no day of the years") as refusal:
        rules.parse_time(text)
    assert repr(text) in str(refusal.value)


@given(strategies.moments)
def test_a_formatted_moment_reads_back(moment: datetime):
    """Text and moment say the same, to the microsecond."""
    assert rules.parse_time(rules.format_time(moment)) == moment


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NINE_THIRTY, "2026-01-31T09:30:00Z"),
        (NINE_THIRTY + timedelta(microseconds=20), "2026-01-31T09:30:00.000020Z"),
        (NINE_THIRTY.astimezone(timezone(timedelta(hours=-11))), "2026-01-31T09:30:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_a_moment_is_shown_in_utc(moment: datetime, text: str):
    """A fraction is shown only where there is one."""
    assert rules.format_time(moment) == text


@given(strategies.moments)
def test_microseconds_are_exact(moment: datetime):
    """No moment is rounded on its way to an integer."""
    assert timedelta(microseconds=rules.to_micros(moment)) + rules.EPOCH == moment


@pytest.mark.parametrize(
    ("rule", "value", "allowed"),
    [
        (rules.QUANTITY, 1, True),
        (rules.QUANTITY, 2**31 - 1, True),
        (rules.QUANTITY, 2**31, False),
        (rules.QUANTITY, 0, False),
        (rules.QUANTITY, -1, False),
        (rules.QUANTITY, 1.0, False),
        (rules.QUANTITY, "1", False),
        (rules.QUANTITY, True, False),
        (rules.QUANTITY, None, False),
        (rules.PRICE, 2**63 - 1, True),
        (rules.PRICE, 2**63, False),
        (rules.CENTS, 0, True),
        (rules.ANY_CENTS, -(2**63), True),
        (rules.NAME, "p", True),
        (rules.NAME, "", False),
        (rules.NAME, "p" * 4096, True),
        (rules.NAME, "p" * 4097, False),
        (rules.NAME, "a\0b", False),
        (rules.NAME, "\ud800", False),
        (rules.NAME, "\U0001f6d2", True),
        (rules.NAME, 7, False),
        (rules.FREE_TEXT, "", True),
        (rules.CURRENCY, "USD", True),
        (rules.CURRENCY, "US", False),
        (rules.CURRENCY, "USDX", False),
        (rules.CURRENCY, "U$D", False),
        (rules.CURRENCY, "ÜSD", False),
        (rules.CURRENCY, "USD\n", False),
        (rules.URL, "https://shop.example/a.png", True),
        (rules.URL, "HTTP://h", True),
        (rules.URL, "https://", False),
        (rules.URL, "ftp://h/a", False),
        (rules.URL, "https://h/a b", False),
        (rules.URL, "javascript:alert(1)", False),
        (rules.URL, "https://h/" + "a" * 4096, False),
        (rules.DISCOUNT_TYPE, "fixed", True),
        (rules.DISCOUNT_TYPE, "Fixed", False),
        (rules.DISCOUNT_TYPE, None, False),
        (rules.Moment(), NINE_THIRTY, True),
        (rules.Moment(), NINE_THIRTY.replace(tzinfo=None), False),
        (rules.Moment(), NINE_THIRTY.replace(tzinfo=Nowhere()), False),
        (rules.Moment(), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), False),
        (rules.Moment(), "2026-01-31T09:30:00Z", False),
        (rules.Amount(), 0.0001, True),
        (rules.Amount(), 2**53, True),
        (rules.Amount(), 2**53 + 1, False),
        (rules.Amount(), 0, False),
        (rules.Amount(), float("nan"), False),
        (rules.Amount(), float("inf"), False),
        (rules.Amount(), True, False),
        (rules.Amount(), "10", False),
    ],
)
def test_a_rule_allows_what_it_says(rule: rules.Rule, value: object, allowed: bool):
    """Strings, booleans and floats are no whole numbers; every bound is inclusive."""
    assert rule.allows(value) is allowed


@given(st.integers(1, 100 * rules.PERCENT_STEPS))
def test_every_percentage_of_four_decimals_is_allowed(steps: int):
    """0.0001 to 100 in steps of 0.0001, although floats hold few of them exactly."""
    assert rules.percentage_allowed(steps / rules.PERCENT_STEPS)


@given(st.decimals("0.00001", "99.99999", places=5).filter(lambda value: value * 10_000 % 1 != 0))
def test_a_fifth_decimal_is_refused(percentage):
    """A percentage that integers cannot compute with is none."""
    assert not rules.percentage_allowed(float(percentage))


@pytest.mark.parametrize("value", [100.0001, 150, 1e15])
def test_no_percentage_is_above_100(value: float):
    """A discount cannot take more than everything."""
    assert not rules.percentage_allowed(value)


@pytest.mark.parametrize(("value", "allowed"), [(1, True), (500.0, True), (0.5, False), (99.99, False)])
def test_a_fixed_discount_is_whole_minor_units(value: float, allowed: bool):
    """Half a cent cannot be given."""
    assert rules.fixed_allowed(value) is allowed
