"""Every cart at the end of each day."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import schema
from cart_core.events import Envelope, ItemAdded, ItemRemoved
from cart_core.projector import fold
from cart_core.projector.tables import tables_of
from pipelines.derive.daily import daily_cart_states
from pipelines.tables.contract import ids_as_text
from tests.builders import CART, cart_id, envelope
from tests.strategies import shops

FIRST = date(2026, 1, 1)


def at(day: int, hour: int = 12) -> datetime:
    """An hour of a day of January 2026, UTC."""
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def item(product: str) -> ItemAdded:
    """An item that comes into a cart."""
    return ItemAdded(product, f"the {product}", 1, 100, "USD")


HISTORY = [
    envelope(item("a"), 1, at=at(1)),
    envelope(item("b"), 2, at=at(2, 23)),
    envelope(item("c"), 3, at=at(2, 22)),
    envelope(ItemRemoved("a"), 4, at=at(5)),
]


def refolded(envelopes: list[Envelope], days: int) -> list[dict]:
    """The plain way: each cart folded again for each day."""
    rows = []
    for cart in {each.cart_id for each in envelopes}:
        for number in range(days):
            end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number + 1)
            past = [each for each in envelopes if each.cart_id == cart and each.timestamp < end]
            if past:
                state = ids_as_text(pl.DataFrame(pl.from_arrow(tables_of([fold(past)]).carts)))
                rows += [{"day": FIRST + timedelta(days=number), **state.row(0, named=True)}]
    return sorted(rows, key=lambda row: (row["cart_id"], row["day"]))


@given(shops(max_carts=3), st.integers(1, 5))
@settings(max_examples=60)
def test_each_day_is_the_fold_of_what_had_happened_by_its_end(envelopes: list[Envelope], days: int) -> None:
    """However events are ordered, and also where times run back."""
    found = daily_cart_states(schema.to_table(envelopes), FIRST, FIRST + timedelta(days=days - 1))
    told = sorted(found.to_dicts(), key=lambda row: (row["cart_id"], row["day"]))
    assert told == refolded(envelopes, days)


def test_a_cart_has_a_row_for_every_day_from_its_first_event_on() -> None:
    """What happened before the range is in its first day, and a quiet day repeats the day before."""
    found = daily_cart_states(schema.to_table(HISTORY), date(2026, 1, 2), date(2026, 1, 6))
    assert found["day"].to_list() == [date(2026, 1, day) for day in range(2, 7)]
    assert found["line_count"].to_list() == [3, 3, 3, 2, 2]
    assert daily_cart_states(schema.to_table(HISTORY), date(2025, 12, 30), FIRST)["day"].to_list() == [FIRST]


def test_changes_alone_can_be_asked_for() -> None:
    """A row for the first day, and for each day on which something happened."""
    found = daily_cart_states(schema.to_table(HISTORY), date(2026, 1, 1), date(2026, 1, 6), changes_only=True)
    assert [(row["day"].day, row["version"]) for row in found.to_dicts()] == [(1, 1), (2, 3), (5, 4)]


def test_days_are_those_of_a_zone() -> None:
    """In Auckland 23:00 UTC is the next day, in Los Angeles the same."""
    rows = schema.to_table(HISTORY[:2])
    lines = {
        zone: daily_cart_states(rows, date(2026, 1, 2), date(2026, 1, 2), zone)["line_count"].to_list()
        for zone in ("UTC", "Pacific/Auckland", "America/Los_Angeles")
    }
    assert lines == {"UTC": [2], "Pacific/Auckland": [1], "America/Los_Angeles": [2]}


@pytest.mark.parametrize(
    ("zone", "day", "begins", "ends"),
    [
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-24T22:00", "2026-10-25T23:00"),
        ("America/Santiago", date(2026, 9, 6), "2026-09-06T04:00", "2026-09-07T03:00"),
        ("America/Santiago", date(2026, 4, 4), "2026-04-04T03:00", "2026-04-05T04:00"),
        ("Asia/Kathmandu", date(2026, 1, 1), "2025-12-31T18:15", "2026-01-01T18:15"),
    ],
)
def test_a_day_is_as_long_as_its_clocks_make_it(zone: str, day: date, begins: str, ends: str) -> None:
    """Also with 23 or 25 hours, or without a midnight: it ends a microsecond before the next one begins."""
    edges = [datetime.fromisoformat(f"{edge}Z") for edge in (begins, ends)]
    times = [edge - timedelta(microseconds=before) for edge in edges for before in (1, 0)]
    rows = schema.to_table(envelope(item(f"p{number}"), number, at=time) for number, time in enumerate(times, 1))
    found = daily_cart_states(rows, day - timedelta(days=1), day + timedelta(days=1), zone)
    assert found["version"].to_list() == [1, 3, 4]


def test_a_late_event_changes_the_day_it_tells_of() -> None:
    """An event that comes days later with an earlier time counts from that day on, in the order of versions."""
    late = [*HISTORY, envelope(ItemRemoved("b"), 5, at=at(3))]
    lines = [
        daily_cart_states(schema.to_table(rows), date(2026, 1, 2), date(2026, 1, 6))["line_count"].to_list()
        for rows in (HISTORY, late)
    ]
    assert lines == [[3, 3, 3, 2, 2], [3, 2, 2, 1, 1]]


def test_only_what_was_known_counts() -> None:
    """Events recorded later are left out."""
    known = [
        Envelope(each.event_id, CART, "u1", each.timestamp, each.version, each.event, {}, at(each.version))
        for each in HISTORY
    ]
    found = daily_cart_states(schema.to_table(known), FIRST, date(2026, 1, 2), known_at=at(2))
    assert found["version"].to_list() == [1, 2]


def test_no_events_are_no_rows() -> None:
    """The columns are there all the same."""
    found = daily_cart_states(schema.EVENTS.empty_table(), FIRST, FIRST)
    assert (found.height, found.columns[:2]) == (0, ["day", "cart_id"])


@pytest.mark.parametrize(
    ("last", "zone", "message"),
    [(date(2025, 12, 31), "UTC", "the last is before the first"), (FIRST, "Mars/Olympus", "no time zone")],
)
def test_days_that_cannot_be_are_refused(last: date, zone: str, message: str) -> None:
    """A range that runs back and an unknown zone are told by name."""
    with pytest.raises(ValueError, match=message):
        daily_cart_states(schema.to_table(HISTORY), FIRST, last, zone)


def test_carts_stay_apart() -> None:
    """The last day of one cart is not the first of the next."""
    rows = [envelope(item("a"), 1, cart=cart_id(number), at=at(number)) for number in (1, 2, 3)]
    found = daily_cart_states(schema.to_table(rows), FIRST, date(2026, 1, 3))
    assert sorted(found["cart_id"].to_list()) == [cart_id(1)] * 3 + [cart_id(2)] * 2 + [cart_id(3)]
