"""What a cart's events mean."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.errors import OutOfOrder
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import CartFold, CartState, Coupon, Line, fold
from cart_core.projector.one import discount_cents
from cart_core.rules import INT64_MAX
from tests.builders import CART, NOON, cart_id, envelope, history
from tests.strategies import histories, splits


def added(product: str = "a", quantity: int = 1, price: int = 2900, currency: str = "USD") -> ItemAdded:
    """An item that comes into the cart."""
    return ItemAdded(product, f"the {product}", quantity, price, currency)


def minute(number: int) -> datetime:
    """When event ``number`` of a history happened."""
    return NOON + timedelta(minutes=number)


def test_a_cart_without_events_is_active_empty_and_nobodys() -> None:
    """The empty cart has version 0, totals of 0 and no currency."""
    empty = CartState.empty(CART)
    assert (empty.version, empty.status, empty.user_id) == (0, "active", None)
    assert (empty.lines, empty.currency, empty.total_cents) == ((), None, 0)
    assert fold([], start=empty) == empty


def test_an_added_item_is_a_line_with_its_price_age_and_currency() -> None:
    """A line carries what its ItemAdded said, and when that happened."""
    state = fold(history(added(quantity=3)))
    assert state.lines == (Line("a", "the a", 3, 2900, 2900, minute(1), "USD"),)
    assert (state.line_count, state.unit_count) == (1, 3)
    assert state.line("a") == state.lines[0]
    assert state.line("b") is None


def test_adding_again_replaces_the_line() -> None:
    """3 at 2900 and then 2 at 3900 is a line of 2 whose original price is 3900."""
    line = fold(history(added(quantity=3), added(quantity=2, price=3900))).line("a")
    assert line == Line("a", "the a", 2, 3900, 3900, minute(2), "USD")


def test_quantity_and_price_change_a_standing_line_and_keep_its_original_price() -> None:
    """QuantityChanged and PriceUpdated touch nothing but quantity and current price."""
    line = fold(history(added(), QuantityChanged("a", 1, 5), PriceUpdated("a", 2900, 3900, "sale"))).line("a")
    assert line == Line("a", "the a", 5, 3900, 2900, minute(1), "USD")


@pytest.mark.parametrize(
    "event", [ItemRemoved("b"), QuantityChanged("b", 1, 5), PriceUpdated("b", 1, 2, "sale"), CouponRemoved("TEN")]
)
def test_what_is_not_in_the_cart_cannot_be_changed(event: Event) -> None:
    """Events of an absent line or coupon do nothing to lines, coupons and totals."""
    before, after = fold(history(added())), fold(history(added(), event))
    assert (after.lines, after.coupons, after.total_cents) == (before.lines, before.coupons, before.total_cents)


def test_a_removed_item_leaves_the_cart() -> None:
    """ItemRemoved drops the line."""
    assert fold(history(added(), ItemRemoved("a"))).lines == ()


def test_lines_stand_by_age_and_then_by_product() -> None:
    """Lines are ordered by (added_at, product_id), also where a restored line keeps its age."""
    events = [
        envelope(added("b"), 1),
        envelope(added("a"), 2, at=minute(1)),
        envelope(added("old"), 3, metadata={"added_at": "2026-01-01T13:00:00+02:00"}),
    ]
    assert [line.product_id for line in fold(events).lines] == ["old", "a", "b"]


@pytest.mark.parametrize("told", ["yesterday", "2026-01-01", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", ""])
def test_an_age_that_is_no_time_is_ignored(told: str) -> None:
    """A line whose metadata.added_at is not RFC 3339 is as old as its event."""
    line = fold([envelope(added(), metadata={"added_at": told})]).line("a")
    assert line is not None
    assert line.added_at == minute(1)


def test_coupons_are_kept_as_applied_and_a_removal_drops_every_one_of_its_code() -> None:
    """The same code twice is listed twice; removing it drops both and no other."""
    ten, five = CouponApplied("TEN", "percentage", 10), CouponApplied("FIVE", "fixed", 500)
    assert fold(history(ten, five, ten)).coupons == (
        Coupon("TEN", "percentage", 10.0),
        Coupon("FIVE", "fixed", 500.0),
        Coupon("TEN", "percentage", 10.0),
    )
    assert fold(history(ten, five, ten, CouponRemoved("TEN"))).coupons == (Coupon("FIVE", "fixed", 500.0),)
    assert fold(history(ten, five, CouponRemoved("TEN"), ten)).coupons == (
        Coupon("FIVE", "fixed", 500.0),
        Coupon("TEN", "percentage", 10.0),
    )


@pytest.mark.parametrize(
    ("subtotal", "coupons", "discount"),
    [
        (999, [("percentage", 10.5)], 105),
        (5, [("percentage", 10)], 1),
        (4, [("percentage", 10)], 0),
        (1000, [("percentage", 33.3333)], 333),
        (1005, [("percentage", 10), ("percentage", 10)], 202),
        (1000, [("percentage", 10), ("fixed", 250)], 350),
        (1000, [("fixed", 800), ("fixed", 800)], 1000),
        (0, [("fixed", 800), ("percentage", 100)], 0),
        (INT64_MAX, [("percentage", 100)], INT64_MAX),
        (INT64_MAX, [("percentage", 0.0001)], 9223372036855),
    ],
)
def test_percentages_round_half_up_alone_and_all_discounts_stop_at_the_subtotal(
    subtotal: int, coupons: list[tuple[str, float]], discount: int
) -> None:
    """Each percentage is of the undiscounted subtotal; fixed sums are added; the whole is at most the subtotal."""
    assert discount_cents(subtotal, [Coupon("C", kind, float(value)) for kind, value in coupons]) == discount


def test_totals_are_at_current_prices() -> None:
    """Subtotal, discount and total follow the price as it is now."""
    ten = CouponApplied("T", "percentage", 10)
    state = fold(history(added(quantity=2), PriceUpdated("a", 2900, 1000, "sale"), ten))
    assert (state.subtotal_cents, state.discount_cents, state.total_cents) == (2000, 200, 1800)
    assert state.currency == "USD"


def test_mixed_currencies_have_no_total() -> None:
    """Where live lines mix currencies, currency and totals are absent; they return when one currency is left."""
    mixed = history(added("a"), added("b", currency="JPY"), CouponApplied("F", "fixed", 100))
    state = fold(mixed)
    assert (state.currency, state.subtotal_cents, state.discount_cents, state.total_cents) == (None, None, None, None)
    assert fold([*mixed, *history(ItemRemoved("b"), after=3)]).total_cents == 2800


def test_totals_stop_at_the_largest_number() -> None:
    """A cart worth more than 64 bits can count is worth 2**63 - 1."""
    state = fold(history(added("a", 2, INT64_MAX), added("b", 1, INT64_MAX), CouponApplied("H", "percentage", 50)))
    assert (state.subtotal_cents, state.discount_cents) == (INT64_MAX, INT64_MAX // 2 + 1)


ABANDONED = CartAbandoned(NOON)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([added()], "active"),
        ([added(), ABANDONED], "abandoned"),
        ([added(), ABANDONED, PriceUpdated("a", 1, 2, "sale")], "abandoned"),
        ([added(), ABANDONED, CouponRemoved("TEN", "expired")], "abandoned"),
        ([added(), ABANDONED, CouponRemoved("TEN", "invalid")], "abandoned"),
        ([added(), ABANDONED, CouponRemoved("TEN", "shopper")], "active"),
        ([added(), ABANDONED, CouponRemoved("TEN")], "active"),
        ([added(), ABANDONED, CouponApplied("TEN", "fixed", 10)], "active"),
        ([added(), ABANDONED, added("b")], "active"),
        ([added(), ABANDONED, ItemRemoved("b")], "active"),
        ([added(), ABANDONED, QuantityChanged("b", 1, 2)], "active"),
        ([added(), ABANDONED, CheckoutStarted()], "active"),
        ([added(), ABANDONED, CheckoutStarted(), ABANDONED], "abandoned"),
        ([added(), CheckoutCompleted("o1", 2900)], "checked_out"),
        ([added(), CheckoutCompleted("o1", 2900), ABANDONED], "checked_out"),
        ([added(), CheckoutCompleted("o1", 2900), added("b")], "checked_out"),
    ],
)
def test_status_is_checked_out_for_good_or_follows_the_shopper(events: list[Event], status: str) -> None:
    """A cart is abandoned while CartAbandoned is later than the shopper's last act; a checkout is final."""
    assert fold(history(*events)).status == status


def test_the_shoppers_last_act_is_not_the_shops() -> None:
    """last_activity_at passes over price updates, abandonment, expiries and the checkout's completion."""
    passed_over: list[Event] = [PriceUpdated("a", 1, 2, "sale"), CouponRemoved("T", "expired"), ABANDONED]
    state = fold(history(added(), *passed_over, CheckoutCompleted("o1", 1)))
    assert state.last_activity_at == minute(1)
    assert (state.first_event_at, state.last_event_at) == (minute(1), minute(5))


def test_a_checkout_leaves_its_start_order_and_charge() -> None:
    """The latest CheckoutStarted and CheckoutCompleted are kept, whatever the total charged."""
    state = fold(history(added(), CheckoutStarted(), CheckoutStarted(), CheckoutCompleted("o1", -7)))
    assert (state.checkout_started_at, state.order_id, state.charged_total_cents) == (minute(3), "o1", -7)


def test_a_cart_belongs_to_the_user_of_its_first_event() -> None:
    """Later events of another user change no owner."""
    assert fold([envelope(added(), 1, user="guest"), envelope(added("b"), 2, user="u2")]).user_id == "guest"


def test_times_follow_versions_not_the_clock() -> None:
    """A late event is the last event, though it happened first."""
    state = fold([envelope(added(), 1, at=minute(9)), envelope(added("b"), 2, at=minute(3))])
    assert (state.first_event_at, state.last_event_at, state.last_activity_at) == (minute(9), minute(3), minute(3))


def test_a_state_is_shown_as_a_camel_case_document() -> None:
    """The document has the names of `cart show`, times as RFC 3339, whole percentages without a fraction."""
    shown = fold(history(added(), CouponApplied("T", "percentage", 10.0))).to_json()
    assert shown == {
        "cartId": CART,
        "userId": "u1",
        "status": "active",
        "version": 2,
        "items": [
            {
                "productId": "a",
                "productName": "the a",
                "quantity": 1,
                "pricePerUnitCents": 2900,
                "originalPriceCents": 2900,
                "addedAt": "2026-01-01T12:01:00Z",
                "currency": "USD",
            }
        ],
        "coupons": [{"code": "T", "discountType": "percentage", "discountValue": 10}],
        "currency": "USD",
        "subtotalCents": 2900,
        "discountCents": 290,
        "totalCents": 2610,
        "firstEventAt": "2026-01-01T12:01:00Z",
        "lastEventAt": "2026-01-01T12:02:00Z",
        "lastActivityAt": "2026-01-01T12:02:00Z",
        "checkoutStartedAt": None,
        "orderId": None,
        "chargedTotalCents": None,
    }
    assert type(shown["coupons"][0]["discountValue"]) is int


def test_an_event_out_of_order_is_refused_and_changes_nothing() -> None:
    """A fold at version 2 takes neither version 2 again nor another cart's event, and says why."""
    folded = CartFold(fold(history(added(), added("b"))))
    before = folded.state()
    with pytest.raises(OutOfOrder, match="version 2"):
        folded.apply(envelope(added("c"), 2))
    with pytest.raises(OutOfOrder, match="fold of cart"):
        folded.apply(envelope(added("c"), 3, cart=cart_id(99)))
    assert folded.state() == before


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_handed_over_does_not_matter(events: list, random: object) -> None:
    """Versions, not places in the list, decide."""
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(shuffled) == fold(events)


@given(histories(min_size=1).flatmap(lambda events: st.tuples(st.just(events), splits(events))))
def test_a_kept_state_is_as_good_as_the_events_behind_it(drawn: tuple) -> None:
    """Folding the rest on a state from anywhere in between gives the state of the whole."""
    events, (before, after) = drawn
    start = fold(before) if before else None
    assert fold(after, start=start) == fold(events)


@given(histories())
def test_reading_a_live_fold_at_every_event_changes_nothing(events: list) -> None:
    """The state after each event is the fold of the events so far."""
    folded = CartFold()
    for count, each in enumerate(events, 1):
        folded.apply(each)
        assert folded.state() == fold(events[:count])


@given(histories())
def test_the_fold_is_total(events: list) -> None:
    """Any valid history has a state whose totals add up, and whose document can be made."""
    state = fold(events)
    assert state.to_json()["version"] == len(events)
    if state.subtotal_cents is not None and state.discount_cents is not None:
        assert 0 <= state.discount_cents <= state.subtotal_cents <= INT64_MAX
        assert state.total_cents == state.subtotal_cents - state.discount_cents


def test_times_are_utc() -> None:
    """A line's age is in UTC, however its metadata wrote it."""
    line = fold([envelope(added(), metadata={"added_at": "2026-01-01T05:45:00+05:45"})]).line("a")
    assert line is not None
    assert line.added_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert line.added_at.tzinfo is UTC
