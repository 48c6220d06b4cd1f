from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings

from cart_core.events import CheckoutCompleted, Envelope, ItemAdded
from cart_core.schema import to_table
from pipelines.derive.abandonment import episodes
from pipelines.derive.abandonment_rates import cohorts, daily, hourly, starts
from pipelines.tables import TABLES, conformed
from tests.builders import NOON, cart_id, envelope
from tests.strategies import shops

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LATER = NOON + timedelta(days=30)


def book(cents: int = 1_000, currency: str = "USD") -> ItemAdded:
    """A product to add."""
    return ItemAdded("p1", "Book", 1, cents, currency)


def cart(number: int, *events: tuple[float, Any]) -> list[Envelope]:
    """One cart's events, each given as (minutes after noon, event)."""
    return [
        envelope(event, version, cart=cart_id(number), at=NOON + MINUTE * minute)
        for version, (minute, event) in enumerate(events, 1)
    ]


SHOP = [
    *cart(1, (0, book()), (70, book()), (200, CheckoutCompleted("o1", 1_000))),
    *cart(2, (0, book(500))),
    *cart(3, (DAY / MINUTE, book(700)), (DAY / MINUTE + 61, book(700))),
]


def test_a_day_counts_its_episodes_once_each() -> None:
    """Two recovered silences of one cart, one lost: rates over mature episodes, one order."""
    [row, _] = daily(episodes(to_table(SHOP), LATER)).to_dicts()
    assert row == {
        "idle_s": 3_600,
        "date": date(2026, 1, 1),
        "stage": "cart",
        "episodes": 3,
        "carts": 2,
        "mature": 3,
        "recovered": 2,
        "resumed": 0,
        "lost": 1,
        "immature": 0,
        "orders": 1,
        "recovery_rate": 2 / 3,
        "median_recovery_s": (140 + 70) / 2 * 60,
        "currency": "USD",
        "value_cents": 2_500,
    }


def test_an_immature_day_has_no_rate() -> None:
    """Before the window is over an episode is in no outcome's count and makes no rate."""
    [row] = daily(episodes(to_table(SHOP), NOON + 300 * MINUTE)).to_dicts()
    assert (row["mature"], row["immature"], row["recovered"], row["recovery_rate"]) == (0, 3, 0, None)
    assert row["orders"] == 1


def test_currencies_are_not_added() -> None:
    """A day on which dollars and yen were abandoned has no total value."""
    events = [*cart(1, (0, book())), *cart(2, (0, book(90_000, "JPY")))]
    [row] = daily(episodes(to_table(events), LATER)).to_dicts()
    assert (row["episodes"], row["currency"], row["value_cents"]) == (2, None, None)


@settings(max_examples=25)
@given(shops(max_carts=4))
def test_days_and_hours_add_up(events: list[Envelope]) -> None:
    """Every episode is in one day and in one hour of the week, and outcomes and immature ones make up all."""
    found = episodes(to_table(events), LATER, [MINUTE, 60 * MINUTE])
    days, hours = daily(found, "Asia/Kathmandu"), hourly(found, "Asia/Kathmandu")
    conformed(TABLES["abandonment_daily"], days)
    conformed(TABLES["abandonment_hourly"], hours)
    assert days["episodes"].sum() == hours["episodes"].sum() == found.height
    outcomes = days.select(pl.sum_horizontal("recovered", "resumed", "lost", "immature").alias("episodes"))
    assert outcomes["episodes"].equals(days["episodes"])


def test_hours_are_the_zones() -> None:
    """An episode that opens at 13:00 UTC on a Thursday opens at 22:00 in Tokyo."""
    found = episodes(to_table(cart(1, (0, book()))), LATER)
    assert hourly(found).select("weekday", "hour").rows() == [(4, 13)]
    assert hourly(found, "Asia/Tokyo").select("weekday", "hour").rows() == [(4, 22)]


def test_cohorts_count_carts_by_their_first_day() -> None:
    """Of two carts of the first day one is checked out and both were abandoned; the next day is another row."""
    table = to_table(SHOP)
    rows = cohorts(starts(table, LATER), episodes(table, LATER), LATER)
    assert rows.drop("idle_s").rows() == [
        (date(2026, 1, 1), 2, 2, 1, 1.0, 0.5, True),
        (date(2026, 1, 2), 1, 1, 0, 1.0, 0.0, True),
    ]
    conformed(TABLES["cart_cohorts"], rows)


def test_a_cohort_is_mature_once_idle_and_window_have_passed_its_last_moment() -> None:
    """The cohort of 1 January matures with the end of the day plus an hour plus seven days."""
    table = to_table(cart(1, (0, book())))
    over = NOON + 12 * 60 * MINUTE + timedelta(hours=1) + 7 * DAY
    for as_of, mature in ((over - timedelta(microseconds=1), False), (over, True)):
        rows = cohorts(starts(table, as_of), episodes(table, as_of), as_of)
        assert rows["mature"].to_list() == [mature]
