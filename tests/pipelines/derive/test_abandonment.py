from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core.errors import OutOfOrder, SourceError
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
)
from cart_core.schema import to_table
from cart_core.simulator import Shop, chunks
from pipelines.derive.abandonment import announced, due, episodes, restatements, stream
from pipelines.tables import TABLES, conformed
from tests.builders import NOON, cart_id, envelope
from tests.pipelines.derive import abandonment_oracle as oracle
from tests.strategies import shops

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)
LATER = NOON + timedelta(days=30)
BOOK = ItemAdded("p1", "Book", 2, 1_000, "USD")


def cart(*events: tuple[float, Any], number: int = 1, user: str = "u1") -> list[Envelope]:
    """One cart's events, each given as (minutes after noon, event)."""
    return [
        envelope(event, version, cart=cart_id(number), user=user, at=NOON + MINUTE * minute)
        for version, (minute, event) in enumerate(events, 1)
    ]


def found(*carts: list[Envelope], as_of: datetime = LATER, **options: Any) -> list[dict[str, Any]]:
    """The episodes of these carts as rows."""
    return episodes(to_table([each for events in carts for each in events]), as_of, **options).to_dicts()


def one(*events: tuple[float, Any], as_of: datetime = LATER, **options: Any) -> dict[str, Any]:
    """The only episode of one cart."""
    rows = found(cart(*events), as_of=as_of, **options)
    assert len(rows) == 1
    return rows[0]


@settings(max_examples=150)
@given(shops(max_carts=3), st.integers(-3_600, 4 * 86_400), st.sampled_from([1, 600, 3_600, 20_000]), st.booleans())
def test_episodes_are_the_definitions(events: list[Envelope], as_of_s: int, idle_s: int, to_the_end: bool) -> None:
    """On any histories, with times running back and events after checkout, the definition gives the same rows."""
    as_of = LATER if to_the_end else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=as_of_s)
    idle, window = timedelta(seconds=idle_s), timedelta(hours=12)
    actual = episodes(to_table(events), as_of, idle, window)
    expected = oracle.episodes(events, as_of, idle, window)
    assert actual.sort("cart_id", "episode_no").to_dicts() == expected
    conformed(TABLES["abandonment_episodes"], actual)


@settings(max_examples=30)
@given(shops(max_carts=3))
def test_many_definitions_in_one_pass_are_each_alone(events: list[Envelope]) -> None:
    """Several definitions together give what each gives by itself."""
    idles = [timedelta(hours=24), timedelta(minutes=10), HOUR]
    table = to_table(events)
    together = episodes(table, LATER, idles)
    for idle in idles:
        alone = episodes(table, LATER, idle)
        assert together.filter(pl.col("idle_s") == idle.total_seconds()).equals(alone)


def test_the_simulated_truth_is_found() -> None:
    """Every episode of a simulated shop is found with its stage, size and outcome, and no other."""
    shop = Shop(carts=3_000, days=40, seed=11)
    for chunk in chunks(shop):
        columns = [name for name in chunk.episodes.column_names if name != "completed_at"]
        actual = episodes(chunk.events, shop.end).select(columns)
        expected = pl.DataFrame(chunk.episodes).select(columns)
        assert actual.sort("cart_id", "episode_no").equals(expected.sort("cart_id", "episode_no"))


def test_a_silence_opens_an_episode_at_the_minute() -> None:
    """At 60 minutes of silence there is an episode, a microsecond before there is none."""
    assert found(cart((0, BOOK)), as_of=NOON + HOUR - TICK) == []
    row = one((0, BOOK), as_of=NOON + HOUR)
    assert (row["last_activity_at"], row["abandoned_at"]) == (NOON, NOON + HOUR)
    assert (row["outcome"], row["mature"], row["unit_count"], row["value_cents"]) == ("open", False, 2, 2_000)


def test_activity_closes_an_episode_and_a_new_silence_opens_the_next() -> None:
    """Two silences of one cart are two episodes."""
    rows = found(cart((0, BOOK), (90, ItemAdded("p2", "Pen", 1, 100, "USD"))))
    told = [(row["episode_no"], row["outcome"], row["line_count"]) for row in rows]
    assert told == [(1, "resumed", 1), (2, "lost", 2)]


def test_emptying_is_not_abandonment() -> None:
    """A cart without a unit is not abandoned, however long it rests."""
    assert found(cart((0, BOOK), (1, ItemRemoved("p1")))) == []


@pytest.mark.parametrize(
    "event",
    [
        PriceUpdated("p1", 1_000, 900, "sale"),
        CartAbandoned(NOON),
        CouponRemoved("TEN", "expired"),
        CouponRemoved("TEN", "invalid"),
    ],
    ids=lambda event: f"{event.type}-{getattr(event, 'reason', '')}",
)
def test_what_the_shop_does_is_no_activity(event: Any) -> None:
    """Price changes, announcements and expiries do not interrupt a silence."""
    assert one((0, BOOK), (30, event))["abandoned_at"] == NOON + HOUR


def test_a_coupon_taken_off_by_the_shopper_is_activity() -> None:
    """A CouponRemoved without an expiry is the shopper's."""
    row = one((0, BOOK), (1, CouponApplied("TEN", "percentage", 10)), (30, CouponRemoved("TEN", "shopper")))
    assert row["abandoned_at"] == NOON + 30 * MINUTE + HOUR


def test_the_state_is_that_of_the_opening() -> None:
    """A price change in the silence counts, one after the opening does not; the coupon is taken off."""
    row = one(
        (0, BOOK),
        (1, CouponApplied("TEN", "percentage", 10)),
        (30, PriceUpdated("p1", 1_000, 900, "sale")),
        (62, PriceUpdated("p1", 900, 1, "sale")),
    )
    assert (row["subtotal_cents"], row["discount_cents"], row["value_cents"]) == (1_800, 180, 1_620)
    assert row["last_version"] == 3


def test_the_stage_is_checkout_once_one_was_started() -> None:
    """After CheckoutStarted the silence is at the checkout, also when the shopper went back to the cart."""
    assert one((0, BOOK))["stage"] == "cart"
    assert one((0, BOOK), (1, CheckoutStarted()), (2, BOOK))["stage"] == "checkout"


def test_a_checkout_within_the_window_recovers() -> None:
    """A checkout up to the end of the window, which is included, recovers the episode; a later one does not."""
    week = 60 + 7 * 24 * 60
    row = one((0, BOOK), (week, CheckoutCompleted("o1", 2_000)))
    assert (row["outcome"], row["recovery_s"], row["credited"]) == ("recovered", 7 * 86_400, True)
    late = one((0, BOOK), (week + 1, CheckoutCompleted("o1", 2_000)))
    assert (late["outcome"], late["recovered_at"], late["credited"]) == ("lost", None, False)


def test_an_order_is_credited_once() -> None:
    """Two episodes before one order are both recovered, and only the last is credited with it."""
    rows = found(cart((0, BOOK), (90, BOOK), (200, CheckoutStarted()), (201, CheckoutCompleted("o1", 2_000))))
    assert [(row["outcome"], row["credited"]) for row in rows] == [("recovered", False), ("recovered", True)]


def test_nothing_is_abandoned_after_the_checkout() -> None:
    """A checked-out cart is never abandoned, also when a foreign history goes on."""
    assert found(cart((0, BOOK), (1, CheckoutCompleted("o1", 2_000)), (2, BOOK))) == []


def test_lost_stays_lost() -> None:
    """A shopper who comes back after the window leaves the episode lost, and the return is told."""
    back = 60 + 8 * 24 * 60
    rows = found(cart((0, BOOK), (back, BOOK)), as_of=NOON + MINUTE * back)
    assert [(row["outcome"], row["resumed_at"]) for row in rows] == [("lost", NOON + MINUTE * back)]


def test_an_open_episode_is_not_lost_before_its_window_is_over() -> None:
    """Open until the window is over, then lost, and resolved at that moment."""
    over = NOON + HOUR + timedelta(days=7)
    assert one((0, BOOK), as_of=over - TICK)["outcome"] == "open"
    row = one((0, BOOK), as_of=over)
    assert (row["outcome"], row["resolved_at"], row["mature"]) == ("lost", over, True)


def test_a_late_event_splits_an_episode() -> None:
    """An event that arrives late, at the head with an older time, withdraws one silence and leaves two shorter ones."""
    events = cart((0, BOOK), (300, BOOK))
    late = envelope(BOOK, 3, cart=cart_id(1), at=NOON + 150 * MINUTE)
    assert [row["last_activity_at"] for row in found([*events, late])] == [NOON + m * MINUTE for m in (0, 150, 300)]


def test_mixed_currencies_have_no_value() -> None:
    """Where lines mix currencies the episode stands, without currency and money."""
    row = one((0, BOOK), (1, ItemAdded("p2", "Pen", 1, 100, "EUR")))
    assert (row["unit_count"], row["currency"], row["subtotal_cents"], row["value_cents"]) == (3, None, None, None)


def known(event: Any, version: int, minute: float, recorded: float) -> Envelope:
    """An event of cart 1 that the store accepted ``recorded`` minutes after noon."""
    happened = envelope(event, version, cart=cart_id(1), at=NOON + MINUTE * minute)
    return replace(happened, recorded_at=NOON + MINUTE * recorded)


def test_restatements_tell_what_late_events_changed() -> None:
    """A late activity withdraws one silence and adds another; a late order changes an outcome."""
    events = [
        known(BOOK, 1, 0, 0),
        known(BOOK, 2, 200, 200),
        known(BOOK, 3, 50, 500),
        known(CheckoutCompleted("o1", 2_000), 4, 290, 500),
    ]
    table = to_table(events)
    rows = restatements(table, NOON + 300 * MINUTE, NOON + 600 * MINUTE)
    told = [(row["last_activity_at"], row["change"], row["outcome_1"], row["outcome_2"]) for row in rows.to_dicts()]
    assert told == [
        (NOON, "withdrawn", "resumed", None),
        (NOON + 50 * MINUTE, "added", None, "recovered"),
        (NOON + 200 * MINUTE, "changed", "open", "recovered"),
    ]
    assert rows["fields"].to_list() == [None, None, "outcome,recovered_at"]
    assert rows["late_events"].to_list() == [2, 2, 2]
    conformed(TABLES["restatements"], rows)


def test_time_passing_restates_nothing() -> None:
    """Without late events nothing is restated, however far apart the two moments are."""
    table = to_table([known(BOOK, 1, 0, 0)])
    assert restatements(table, NOON + 300 * MINUTE, LATER).height == 0


def test_a_cart_is_due_until_it_is_announced() -> None:
    """A silent cart is due with the version to expect; once CartAbandoned stands it is not, until a new silence."""
    quiet = cart((0, BOOK))
    [row] = due(to_table(quiet), NOON + HOUR).to_dicts()
    assert (row["cart_id"], row["version"], row["last_activity_at"]) == (cart_id(1), 1, NOON)
    told = [*quiet, envelope(CartAbandoned(NOON), 2, cart=cart_id(1), at=NOON + HOUR)]
    assert due(to_table(told), NOON + 2 * HOUR).height == 0
    back = [*told, envelope(BOOK, 3, cart=cart_id(1), at=NOON + 3 * HOUR)]
    assert due(to_table(back), NOON + 4 * HOUR)["version"].to_list() == [3]


@pytest.mark.parametrize(
    "events",
    [
        [(0, BOOK), (1, ItemRemoved("p1"))],
        [(0, BOOK), (1, CheckoutCompleted("o1", 1))],
        [(30, BOOK)],
    ],
    ids=["empty", "checked out", "active"],
)
def test_other_carts_are_not_due(events: list[tuple[float, Any]]) -> None:
    """An empty, a checked-out and an active cart are not announced."""
    assert due(to_table(cart(*events)), NOON + 80 * MINUTE).height == 0


def test_announcements_are_listed() -> None:
    """Every CartAbandoned event is a row."""
    events = [known(BOOK, 1, 0, 0), known(CartAbandoned(NOON), 2, 60, 61)]
    rows = announced(to_table(events))
    assert rows.select("cart_id", "version", "last_activity_at", "recorded_at").rows() == [
        (cart_id(1), 2, NOON, NOON + 61 * MINUTE)
    ]
    conformed(TABLES["abandonment_events"], rows)


def test_any_form_of_events_will_do() -> None:
    """Arrow, DataFrame, LazyFrame, and ids as text give the same rows, also out of order and without other columns."""
    table = to_table([*cart((0, BOOK)), *cart((5, BOOK), (400, BOOK), number=2)])
    expected = episodes(table, LATER)
    frame = pl.DataFrame(table)
    texts = frame.with_columns(cart_id=pl.Series([str(each) for each in table["cart_id"].to_pylist()]))
    fewer = frame.drop("position", "metadata")
    for form in (frame, frame.lazy(), fewer, fewer.reverse(), texts, texts.to_arrow()):
        assert episodes(form, LATER).equals(expected)


def test_batches_give_what_the_whole_gives() -> None:
    """Batches of whole carts, one after another, give the rows of all together."""
    first, second = cart((0, BOOK)), cart((5, BOOK), (400, BOOK), number=2)
    parts = list(stream([to_table(first), to_table(second)], LATER))
    assert pl.concat(parts).equals(episodes(to_table([*first, *second]), LATER))


def test_no_events_give_no_episodes() -> None:
    """Without events, and with none known yet, the table is there without rows."""
    for rows in (episodes(to_table([]), LATER), episodes(to_table(cart((0, BOOK))), NOON - TICK)):
        assert rows.schema == TABLES["abandonment_episodes"].schema
        assert rows.height == 0


def test_bad_arguments_are_refused() -> None:
    """An idle of 0, a moment without a zone, a repeated version and a frame that is none are refused by name."""
    table = to_table(cart((0, BOOK)))
    with pytest.raises(ValueError, match="must be longer than 0"):
        episodes(table, LATER, timedelta(0))
    with pytest.raises(ValueError, match="has no time zone"):
        episodes(table, datetime(2026, 1, 1))
    with pytest.raises(OutOfOrder, match="version 1"):
        episodes(to_table(cart((0, BOOK)) * 2), LATER)
    with pytest.raises(SourceError, match="columns missing"):
        episodes(pl.DataFrame({"cart_id": ["x"]}), LATER)
