from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from cart_core.events import (
    CheckoutCompleted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    ItemAdded,
    ItemRemoved,
    QuantityChanged,
)
from cart_core.projector import fold
from cart_core.schema import to_table
from pipelines.derive.coupon_events import ROWS, coupon_events, coupon_rows, coupons_of
from pipelines.derive.coupons import coupon_effects, effects_of
from pipelines.tables import TABLES, conformed
from tests.builders import NOON, cart_id, envelope
from tests.strategies import shops

MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(days=9)
BOOK = ItemAdded("p1", "Book", 2, 1_000, "USD")
PEN = ItemAdded("p2", "Pen", 1, 300, "USD")
TEN = CouponApplied("TEN", "percentage", 10)
FIVE = CouponApplied("FIVE", "fixed", 500)
EXPIRED = CouponRemoved("TEN", "expired")


def cart(*events: tuple[float, Any], number: int = 1) -> list[Envelope]:
    """One cart's events, each given as (minutes after noon, event)."""
    return [
        envelope(event, version, cart=cart_id(number), at=NOON + MINUTE * minute)
        for version, (minute, event) in enumerate(events, 1)
    ]


def effects(*carts: list[Envelope], **options: Any) -> list[dict[str, Any]]:
    """The effects over these carts, by coupon and reason."""
    events = to_table([each for events in carts for each in events])
    found = coupon_effects(events, options.pop("as_of", LATER), **options)
    return conformed(TABLES["coupon_effects"], found).to_dicts()


def effect(*carts: list[Envelope], **options: Any) -> dict[str, Any]:
    """The only row."""
    [row] = effects(*carts, **options)
    return row


AFTER_EXPIRY = cart((0, BOOK), (1, PEN), (2, TEN), (60, EXPIRED), (70, ItemRemoved("p1")), (90, ItemRemoved("p2")))


def test_lines_taken_out_within_the_window_are_counted() -> None:
    """Both lines leave within 30 minutes, the second at its last moment; their units and value are told."""
    row = effect(AFTER_EXPIRY)
    told = {name: row[name] for name in ("coupon_code", "reason", "removals", "lines_at_risk", "lines_removed")}
    assert told == {"coupon_code": "TEN", "reason": "expired", "removals": 1, "lines_at_risk": 2, "lines_removed": 2}
    assert (row["units_removed"], row["value_removed_cents"], row["value_at_stake_cents"]) == (3, 2_300, 2_300)
    assert (row["rate_after"], row["rate_before"]) == (2.0, 0.0)


def test_what_leaves_later_is_not_the_coupons() -> None:
    """With a window of 10 minutes only the first of the two lines counts."""
    row = effect(AFTER_EXPIRY, within=10 * MINUTE)
    assert (row["lines_removed"], row["rate_after"]) == (1, 1.0)


def test_expired_and_taken_off_by_the_shopper_are_apart() -> None:
    """The same code has a row for each reason; a removal without one is the shopper's."""
    rows = effects(AFTER_EXPIRY, cart((0, BOOK), (1, TEN), (2, CouponRemoved("TEN")), number=2))
    assert [(row["reason"], row["lines_removed"]) for row in rows] == [("expired", 2), ("shopper", 0)]


def test_a_removal_of_a_coupon_that_is_not_there_is_none() -> None:
    """Only a coupon that was on the cart can leave it."""
    assert effects(cart((0, BOOK), (1, FIVE), (2, EXPIRED))) == []


def test_a_window_that_is_not_over_does_not_count() -> None:
    """Up to 30 minutes after the expiry nothing is told."""
    assert effects(AFTER_EXPIRY, as_of=NOON + 90 * MINUTE - timedelta(microseconds=1)) == []
    assert len(effects(AFTER_EXPIRY, as_of=NOON + 90 * MINUTE)) == 1


def test_the_rate_before_is_scaled_to_the_time_observed() -> None:
    """One line taken out in the 15 minutes that the cart existed is a rate of two per 30 minutes."""
    row = effect(cart((45, PEN), (46, TEN), (50, ItemRemoved("p2")), (51, BOOK), (60, EXPIRED)))
    assert (row["rate_before"], row["rate_after"], row["excess_over_before"]) == (2.0, 0.0, -2.0)


def test_carts_that_kept_their_coupon_are_the_control() -> None:
    """As long after applying it, one of two such carts takes a line out; what is beyond that rate is the excess."""
    row = effect(
        AFTER_EXPIRY,
        cart((0, BOOK), (2, FIVE), (65, ItemRemoved("p1")), number=2),
        cart((0, BOOK), (2, FIVE), (200, ItemRemoved("p1")), number=3),
    )
    assert (row["control_carts"], row["rate_control"], row["excess_over_control"]) == (2, 0.5, 1.5)
    assert row["excess_value_cents"] == pytest.approx(2_300 * (1 - 0.5 / 2))


def test_a_cart_checked_out_before_the_comparison_is_no_control() -> None:
    """A control cart is watched only while it is not checked out."""
    row = effect(AFTER_EXPIRY, cart((0, BOOK), (2, FIVE), (30, CheckoutCompleted("o1", 1)), number=2))
    assert (row["control_carts"], row["rate_control"], row["excess_value_cents"]) == (0, None, None)


def test_a_day_more_is_weighed_against_the_discounts_saved() -> None:
    """An order within a day after the expiry would have cost the discount on what was ordered."""
    kept = cart((0, BOOK), (2, FIVE), number=3)
    more, order = QuantityChanged("p1", 2, 4), CheckoutCompleted("o1", 4_000)
    ordered = cart((0, BOOK), (2, TEN), (60, EXPIRED), (61, more), (500, order), number=2)
    row = effect(AFTER_EXPIRY, ordered, kept)
    assert (row["orders_within_day"], row["discount_saved_cents"]) == (1, 400)
    assert row["day_later_net_cents"] == row["excess_value_cents"] - 400
    assert row["excess_value_cents"] == 2_300


def test_currencies_are_not_added() -> None:
    """Where carts in dollars and yen lost the same coupon, counts are told and money is not."""
    yen = cart((0, ItemAdded("p1", "Book", 1, 9_000, "JPY")), (1, TEN), (2, EXPIRED), number=2)
    row = effect(AFTER_EXPIRY, yen)
    assert row["removals"] == 2
    assert [row[name] for name in ("currency", "value_at_stake_cents", "value_removed_cents")] == [None, None, None]


def test_no_coupons_give_no_rows() -> None:
    """Carts without coupons, and no carts at all, give an empty table."""
    assert effects(cart((0, BOOK))) == []
    assert effects() == []


@settings(max_examples=80)
@given(shops(max_carts=3))
def test_what_left_is_what_the_fold_lost(events: list[Envelope]) -> None:
    """Coupons that left, and lines that were taken out with their units and value, are those the fold loses."""
    happened = coupon_events(to_table(events), LATER + timedelta(days=99))
    lost_coupons, lost_lines = [], []
    carts = {each.cart_id for each in events if isinstance(each.event, CouponApplied)}
    for cart_ in sorted(carts):
        history = sorted((each for each in events if each.cart_id == cart_), key=lambda each: each.version)
        for place, each in enumerate(history):
            before = fold(history[:place])
            if isinstance(each.event, CouponRemoved) and each.event.coupon_code in {c.code for c in before.coupons}:
                lost_coupons.append((cart_, each.version, each.event.reason or "shopper"))
            line = before.line(each.event.product_id) if isinstance(each.event, ItemRemoved) else None
            if line is not None:
                value = min(line.quantity * line.price_cents, 2**63 - 1)
                lost_lines.append((cart_, each.version, line.quantity, value))
    assert sorted(happened.left.select("cart_id", "version", "reason").rows()) == lost_coupons
    assert sorted(happened.taken_out.select("cart_id", "version", "quantity", "value_cents").rows()) == lost_lines


@settings(max_examples=40)
@given(shops(max_carts=3))
def test_what_happened_to_coupons_follows_from_each_cart_alone(events: list[Envelope]) -> None:
    """What is told of all carts is what is told of one after the other, so that a part of them can be told anew."""
    until = LATER + timedelta(days=99)
    alone = [coupon_rows(to_table(e for e in events if e.cart_id == cart_), until) for cart_ in carts_of(events)]
    whole = coupon_rows(to_table(events), until)
    assert pl.concat([ROWS.to_frame(), *alone]).rows() == whole.sort("cart_id", maintain_order=True).rows()
    assert effects_of(coupons_of(whole), until).equals(coupon_effects(to_table(events), until))


def carts_of(events: list[Envelope]) -> list[str]:
    """The carts of some events, ascending."""
    return sorted({each.cart_id for each in events})
