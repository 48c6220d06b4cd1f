"""Figures are written alike on every page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.dashboard import words


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.count(1234567), "1,234,567"),
        (words.share(0.1234), "12.3 %"),
        (words.share(0.0), "0.0 %"),
        (words.share(0.0004), "< 0.1 %"),
        (words.share(1.0), "100.0 %"),
        (words.change(0.0812), "+8.1 %"),
        (words.change(-0.02), f"{words.MINUS}2.0 %"),
        (words.money(123450, "USD"), "1,234.50 USD"),
        (words.money(-5, "EUR"), f"{words.MINUS}0.05 EUR"),
        (words.money(0), "0.00"),
        (words.money(2900, "JPY"), "2,900 JPY"),
        (words.large_money(99_999, "USD"), "999.99 USD"),
        (words.large_money(100_000, "USD"), "1,000 USD"),
        (words.span(0), "0 s"),
        (words.span(59.6), "1 min"),
        (words.span(3_600), "1 h"),
        (words.span(3_660), "1 h 1 min"),
        (words.span(90_000), "1 d 1 h"),
        (words.moment(datetime(2026, 1, 5, 9, 3, tzinfo=UTC)), "5 Jan 2026, 09:03 UTC"),
        (words.words("revenue_per_user"), "Revenue per user"),
        (words.short_id("7f9c24e5-2f0b"), "7f9c24e5…"),
        (words.short_id("u1"), "u1"),
    ],
)
def test_written(written: str, expected: str):
    """A figure reads as people write it, and nothing reads as nothing."""
    assert written == expected


@pytest.mark.parametrize("write", [words.count, words.share, words.change, words.money, words.span, words.moment])
def test_nothing(write):
    """What is not known is written as a dash, never as 0."""
    assert write(None) == words.NOTHING
