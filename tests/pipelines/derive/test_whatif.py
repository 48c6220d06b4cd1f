"""The same history under another rule."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings

from cart_core import schema
from cart_core.events import (
    CheckoutCompleted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    ItemAdded,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import fold
from pipelines.derive.whatif import coupon_ends, idle_of, price_updates_ignored, what_if
from tests.builders import CART, NOON, cart_id, envelope
from tests.strategies import shops

ITEM = ItemAdded("a", "the a", 1, 1000, "USD")
TEN = CouponApplied("TEN", "percentage", 10)
EXPIRED = CouponRemoved("TEN", "expired")


def hours(number: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=number)


def table(*rows: tuple) -> object:
    """Events of one cart, each with the hour at which it happened."""
    return schema.to_table(envelope(event, version, at=hours(hour)) for version, (hour, event) in enumerate(rows, 1))


def total_if(found: object) -> tuple[int, int]:
    """The one cart's total as it was and as it would have been."""
    (row,) = found.carts.select("total_cents", "total_cents_if").rows()  # type: ignore[attr-defined]
    return row


EXPIRY = ((0, ITEM), (0, TEN), (1, EXPIRED), (2, QuantityChanged("a", 1, 2)))


def test_a_coupon_that_ends_later_still_counts_until_then() -> None:
    """Two hours later it would have been on the cart at three, and gone at five."""
    rule = coupon_ends("TEN", hours(4))
    assert total_if(what_if(table(*EXPIRY), [rule], as_of=hours(3))) == (2000, 1800)
    assert total_if(what_if(table(*EXPIRY), [rule], as_of=hours(5))) == (2000, 2000)


def test_a_checkout_is_compared_as_it_was_paid() -> None:
    """A coupon that would still have been there at the checkout would have lowered that bill, whatever came after."""
    rows = (*EXPIRY, (3, CheckoutCompleted("o1", 2000)), (6, QuantityChanged("a", 2, 9)))
    assert total_if(what_if(table(*rows), [coupon_ends("TEN", hours(4))], as_of=hours(9))) == (2000, 1800)


def test_a_coupon_that_ended_later_anyway_stays_as_it_was() -> None:
    """An expiry after the new end, another coupon's and a shopper's own removal are not moved."""
    rows = ((0, ITEM), (0, TEN), (1, CouponRemoved("TEN", "shopper")), (2, TEN), (5, EXPIRED))
    assert total_if(what_if(table(*rows), [coupon_ends("TEN", hours(4))], as_of=hours(9))) == (1000, 1000)
    assert total_if(what_if(table(*EXPIRY), [coupon_ends("FIVE", hours(4))], as_of=hours(3))) == (2000, 2000)


def test_price_updates_can_be_ignored() -> None:
    """For all products, for some, or for a reason."""
    rows = ((0, ITEM), (1, PriceUpdated("a", 1000, 1500, "season")))
    totals = [
        total_if(what_if(table(*rows), [rule], as_of=hours(2)))[1]
        for rule in (
            price_updates_ignored(),
            price_updates_ignored(products=["a"]),
            price_updates_ignored(products=["b"]),
            price_updates_ignored(reasons=["season"]),
            price_updates_ignored(reasons=["sale"]),
        )
    ]
    assert totals == [1000, 1000, 1500, 1000, 1500]


def test_another_idle_time_counts_other_silences() -> None:
    """A silence of two hours is an abandonment after one hour, and none after three."""
    rows = ((0, ITEM), (2, QuantityChanged("a", 1, 2)))
    found = what_if(table(*rows), [idle_of(timedelta(hours=3))], as_of=hours(2.5)).abandonment
    assert found.select("outcome", "episodes", "value_cents", "episodes_if", "value_cents_if").rows() == [
        ("resumed", 1, 1000, 0, None)
    ]


def test_rules_apply_together() -> None:
    """Each on what the one before left, and the carts' differences are of the two totals."""
    rows = ((0, ITEM), (0, TEN), (1, EXPIRED), (2, PriceUpdated("a", 1000, 3000, "season")))
    found = what_if(table(*rows), [coupon_ends("TEN", hours(9)), price_updates_ignored()], as_of=hours(3))
    assert found.carts.row(0, named=True) == {
        "cart_id": CART,
        "currency": "USD",
        "status": "active",
        "total_cents": 3000,
        "status_if": "active",
        "total_cents_if": 900,
        "difference_cents": -2100,
    }


@given(shops(max_carts=3))
@settings(max_examples=40)
def test_rules_that_change_nothing_change_nothing(envelopes: list[Envelope]) -> None:
    """Both versions are then the fold of the same events, cut at the checkout."""
    as_of = datetime(2027, 1, 1, tzinfo=UTC)
    found = what_if(schema.to_table(envelopes), [coupon_ends("none", as_of)], as_of)
    assert found.carts["total_cents"].equals(found.carts["total_cents_if"], null_equal=True, check_names=False)
    expected = {}
    for cart in {each.cart_id for each in envelopes}:
        mine = sorted((each for each in envelopes if each.cart_id == cart), key=lambda each: each.version)
        bought = [each.version for each in mine if each.event.type == "CheckoutCompleted"]
        expected[cart] = fold(each for each in mine if not bought or each.version <= bought[0]).total_cents
    assert dict(found.carts.select("cart_id", "total_cents").rows()) == expected
    assert found.abandonment["episodes"].equals(found.abandonment["episodes_if"], check_names=False)


def test_no_events_are_no_carts() -> None:
    """An empty history stays empty under any rule."""
    found = what_if(schema.EVENTS.empty_table(), [price_updates_ignored()], as_of=NOON)
    assert (found.carts.height, found.abandonment.height) == (0, 0)


def test_a_moment_needs_a_zone() -> None:
    """A coupon's new end without a zone is no moment."""
    with pytest.raises(ValueError, match="no time zone"):
        coupon_ends("TEN", datetime(2026, 1, 1))


def test_carts_of_many_shoppers_stay_apart() -> None:
    """A rule about one cart's coupon leaves the others' versions alone."""
    rows = [
        envelope(event, version, cart=cart_id(number), at=hours(hour))
        for number in (1, 2)
        for version, (hour, event) in enumerate(EXPIRY[: 4 if number == 1 else 2], 1)
    ]
    found = what_if(schema.to_table(rows), [coupon_ends("TEN", hours(4))], as_of=hours(3)).carts
    assert found.select("total_cents", "total_cents_if").rows() == [(2000, 1800), (900, 900)]
    assert isinstance(found, pl.DataFrame)
