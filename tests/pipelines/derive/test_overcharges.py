from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from cart_core.events import (
    CheckoutCompleted,
    CouponApplied,
    Envelope,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import fold
from cart_core.schema import to_table
from cart_core.simulator import Shop, chunks
from pipelines.derive.overcharges import overcharges
from pipelines.tables import TABLES, conformed
from tests.builders import cart_id, history
from tests.strategies import shops

BOOK = ItemAdded("p1", "Book", 2, 1_000, "USD")
SALE = PriceUpdated("p1", 1_000, 900, "sale")
TEN = CouponApplied("TEN", "percentage", 10)


def charged(*events: Any, cents: int) -> list[dict[str, Any]]:
    """The overcharges of one cart with these events and an order of so many cents."""
    found = overcharges(to_table(history(*events, CheckoutCompleted("o1", cents), cart=cart_id(1))))
    return conformed(TABLES["overcharges"], found).to_dicts()


def test_an_order_that_charges_the_projected_total_is_none() -> None:
    """2000 less 10 % is 1800."""
    assert charged(BOOK, TEN, cents=1_800) == []


@pytest.mark.parametrize(
    ("events", "cents", "reason"),
    [
        ([BOOK, TEN], 2_000, "without_coupons"),
        ([BOOK, SALE], 2_000, "original_prices"),
        ([BOOK, SALE, TEN], 1_800, "without_coupons"),
        ([BOOK, PriceUpdated("p1", 1_000, 950, "sale"), TEN], 1_800, "original_prices"),
        ([BOOK, PriceUpdated("p1", 1_000, 1_100, "rise"), TEN], 2_000, "original_prices_without_coupons"),
        ([BOOK, QuantityChanged("p1", 2, 1)], 2_000, "before_last_change"),
        ([BOOK, ItemAdded("p2", "Pen", 1, 5, "USD")], 2_000, "before_last_change"),
        ([], 700, "empty_cart"),
        ([BOOK, ItemRemoved("p1")], 700, "empty_cart"),
        ([BOOK], 1_999, "unexplained"),
    ],
)
def test_the_reason_is_the_other_total_that_was_charged(events: list[Any], cents: int, reason: str) -> None:
    """Each way to charge a stale total is told by its name, to the cent."""
    [row] = charged(*events, cents=cents)
    assert row["reason"] == reason
    assert row["explained_cents"] == (None if reason in ("empty_cart", "unexplained") else cents)


def test_too_much_is_above_zero_and_too_little_below() -> None:
    """The difference is what was charged less what the events add up to, with the order and its version."""
    [row] = charged(BOOK, cents=2_100)
    assert (row["difference_cents"], row["projected_cents"], row["order_id"], row["version"]) == (100, 2_000, "o1", 2)
    [row] = charged(BOOK, cents=1_900)
    assert row["difference_cents"] == -100


def test_what_happens_after_the_order_does_not_count() -> None:
    """A cart is compared as it was at the order, and each order of a foreign history by itself."""
    events: list[Any] = [BOOK, CheckoutCompleted("o1", 2_000), TEN, CheckoutCompleted("o2", 2_000)]
    found = overcharges(to_table(history(*events)))
    assert found.select("version", "order_id", "reason").rows() == [(4, "o2", "without_coupons")]


def test_mixed_currencies_cannot_be_compared() -> None:
    """A cart of dollars and yen has no total, so nothing is said about its order."""
    assert charged(BOOK, ItemAdded("p2", "Pen", 1, 5, "JPY"), cents=1) == []


def test_no_events_give_no_rows() -> None:
    """An empty frame gives the empty table."""
    assert overcharges(to_table([])).schema == TABLES["overcharges"].schema


@settings(max_examples=80)
@given(shops(max_carts=3))
def test_differences_are_the_folds(events: list[Envelope]) -> None:
    """On any histories the rows are the orders whose total is not the fold's at their version."""
    expected = []
    for order in events:
        if isinstance(order.event, CheckoutCompleted):
            state = fold(e for e in events if e.cart_id == order.cart_id and e.version <= order.version)
            if state.total_cents is not None and state.total_cents != order.event.total_cents:
                expected.append((order.cart_id, order.version, order.event.total_cents, state.total_cents))
    found = overcharges(to_table(events))
    assert sorted(found.select("cart_id", "version", "charged_cents", "projected_cents").rows()) == sorted(expected)


@settings(max_examples=40)
@given(shops(max_carts=3))
def test_overcharges_follow_from_each_cart_alone(events: list[Envelope]) -> None:
    """The overcharges of all carts are those of one cart after the other, so that a part can be derived anew."""
    carts = {each.cart_id for each in events}
    alone = [overcharges(to_table(e for e in events if e.cart_id == cart)) for cart in carts]
    whole = overcharges(to_table(events))
    assert pl.concat([whole.clear(), *alone]).sort("cart_id", "version").equals(whole.sort("cart_id", "version"))


@settings(max_examples=40)
@given(shops(max_carts=3))
def test_any_form_of_events_has_the_same_overcharges(events: list[Envelope]) -> None:
    """A polars frame gives the rows that a pyarrow table gives."""
    assert overcharges(pl.DataFrame(to_table(events))).equals(overcharges(to_table(events)))


def test_the_simulated_overcharges_are_found() -> None:
    """Exactly the orders that the simulated shop got wrong are found, with both totals."""
    shop = Shop(carts=6_000, days=40, seed=3)
    columns = ["cart_id", "order_id", "charged_cents", "projected_cents"]
    found = pl.concat([overcharges(chunk.events).select(columns) for chunk in chunks(shop)])
    truth = [row for chunk in chunks(shop) for row in chunk.overcharged]
    assert found.sort("cart_id").to_dicts() == sorted(
        ({name: row[name] for name in columns} for row in truth), key=lambda row: row["cart_id"]
    )
    assert found.height > 0
