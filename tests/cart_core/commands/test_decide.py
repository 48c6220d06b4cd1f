"""Commands: given a cart, when a command is given, then these events or this refusal."""

from __future__ import annotations

import pytest

from cart_core.commands import (
    REFUSALS,
    AddItem,
    ApplyCoupon,
    Command,
    CompleteCheckout,
    ExpireCoupon,
    HandOver,
    MarkAbandoned,
    MergeCart,
    RemoveCoupon,
    RemoveItem,
    SetQuantity,
    StartCheckout,
    UpdatePrice,
    decide,
)
from cart_core.errors import Refused
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from tests.cart_core.commands.carts import CART, OTHER, at, cart_of, line_of

SOAP = ItemAdded("soap", "Soap", 3, 2900, "USD")
TEN = CouponApplied("TEN", "percentage", 10)


def refusal(events: list, command: Command) -> str:
    """The code with which a cart of these events refuses the command; one that is documented."""
    with pytest.raises(Refused) as caught:
        decide(cart_of(*events), command)
    assert caught.value.code in REFUSALS
    return caught.value.code


def test_adding_to_an_empty_cart_adds_the_item() -> None:
    """The first add of a product is an ItemAdded as given."""
    decision = decide(cart_of(), AddItem("soap", "Soap", 2900, 3, "USD", "https://shop.example/soap.png"))
    assert list(decision) == [ItemAdded("soap", "Soap", 3, 2900, "USD", "https://shop.example/soap.png")]


def test_adding_again_raises_the_quantity_and_keeps_the_original_price() -> None:
    """3 at 2900 and 2 more at 3900 are 5 units, the line's original price still 2900 (the seed: 2 at 3900)."""
    decision = decide(cart_of(SOAP), AddItem("soap", "Soap", 3900, 2))
    assert list(decision) == [QuantityChanged("soap", 3, 5), PriceUpdated("soap", 2900, 3900, "re-added")]
    line = line_of(cart_of(SOAP, *decision))
    assert (line.quantity, line.price_cents, line.original_price_cents, line.added_at) == (5, 3900, 2900, at(1))


def test_adding_again_at_the_same_price_changes_the_quantity_alone() -> None:
    """No PriceUpdated where the price is the same."""
    assert list(decide(cart_of(SOAP), AddItem("soap", "Soap", 2900))) == [QuantityChanged("soap", 3, 4)]


@pytest.mark.parametrize("quantity", [0, -2, 1.5, "3", True, None, 2.0])
def test_an_add_of_no_whole_positive_quantity_is_refused(quantity: object) -> None:
    """The seed stored each of these."""
    assert refusal([], AddItem("soap", "Soap", 2900, quantity)) == "invalid_quantity"  # type: ignore[arg-type]


@pytest.mark.parametrize("price", [0, -500, None, 12.5, "2900", True, 2**63])
def test_an_add_without_a_positive_whole_price_is_refused(price: object) -> None:
    """The seed stored each of these."""
    assert refusal([], AddItem("soap", "Soap", price)) == "invalid_price"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (AddItem("", "Soap", 1), "invalid_product_id"),
        (AddItem("so\0ap", "Soap", 1), "invalid_product_id"),
        (AddItem("soap", "x" * 4097, 1), "invalid_product_name"),
        (AddItem("soap", "Soap", 1, currency="EURO"), "invalid_currency"),
        (AddItem("soap", "Soap", 1, currency=None), "invalid_currency"),  # type: ignore[arg-type]
        (AddItem("soap", "Soap", 1, image_url="javascript:alert(1)"), "invalid_image_url"),
        (ApplyCoupon("", "fixed", 5), "invalid_coupon_code"),
        (ApplyCoupon("HUGE", "percentage", 150), "invalid_discount"),
        (ApplyCoupon("NONE", "percentage", 0), "invalid_discount"),
        (ApplyCoupon("PART", "fixed", 0.5), "invalid_discount"),
        (ApplyCoupon("ODD", "half", 5), "invalid_discount"),
    ],
)
def test_malformed_fields_are_refused_by_name(command: Command, code: str) -> None:
    """Each broken field has a refusal of its own, whatever the cart."""
    assert refusal([], command) == code


def test_a_line_holds_at_most_999_units() -> None:
    """999 units are allowed, 1000 are refused, in one step or in two."""
    assert decide(cart_of(), AddItem("soap", "Soap", 1, 999))
    assert refusal([], AddItem("soap", "Soap", 1, 1000)) == "too_many"
    assert refusal([SOAP], AddItem("soap", "Soap", 2900, 997)) == "too_many"
    assert refusal([SOAP], SetQuantity("soap", 1000)) == "too_many"
    assert list(decide(cart_of(SOAP), AddItem("soap", "Soap", 2900, 996))) == [QuantityChanged("soap", 3, 999)]


def test_a_second_currency_is_refused() -> None:
    """Yen are never summed with dollars; an empty cart is free to change its currency."""
    assert refusal([SOAP], AddItem("tea", "Tea", 500, currency="JPY")) == "second_currency"
    assert refusal([SOAP], AddItem("soap", "Soap", 500, currency="JPY")) == "second_currency"
    assert decide(cart_of(SOAP, ItemRemoved("soap")), AddItem("tea", "Tea", 500, currency="JPY"))


def test_currencies_are_told_in_capitals() -> None:
    """``usd`` and ``USD`` are one currency."""
    assert list(decide(cart_of(SOAP), AddItem("tea", "Tea", 5, currency="usd"))) == [
        ItemAdded("tea", "Tea", 1, 5, "USD")
    ]


def test_removing_drops_the_line() -> None:
    """A product in the cart can be removed."""
    assert list(decide(cart_of(SOAP), RemoveItem("soap"))) == [ItemRemoved("soap")]


@pytest.mark.parametrize(
    "command", [RemoveItem("tea"), SetQuantity("tea", 2), SetQuantity("tea", 0), UpdatePrice("tea", 5, "x")]
)
def test_an_unknown_product_is_refused(command: Command) -> None:
    """The seed answered 200 and stored an event that did nothing."""
    assert refusal([SOAP], command) == "unknown_product"


def test_setting_a_quantity_tells_the_true_old_one() -> None:
    """The old quantity is the cart's, not the client's."""
    assert list(decide(cart_of(SOAP), SetQuantity("soap", 7))) == [QuantityChanged("soap", 3, 7)]


def test_setting_the_quantity_to_zero_removes_the_line() -> None:
    """A line of 0 units does not exist."""
    assert list(decide(cart_of(SOAP), SetQuantity("soap", 0))) == [ItemRemoved("soap")]


def test_setting_the_same_quantity_writes_nothing() -> None:
    """What stands already needs no event."""
    assert list(decide(cart_of(SOAP), SetQuantity("soap", 3))) == []


@pytest.mark.parametrize("quantity", [-1, 1.5, "3", False])
def test_a_quantity_that_is_no_whole_number_is_refused(quantity: object) -> None:
    """Strings, booleans and fractions are no quantities."""
    assert refusal([SOAP], SetQuantity("soap", quantity)) == "invalid_quantity"  # type: ignore[arg-type]


def test_a_coupon_is_applied_once() -> None:
    """The same coupon twice is refused; the seed listed it twice."""
    assert list(decide(cart_of(), ApplyCoupon("TEN", "percentage", 10))) == [TEN]
    assert refusal([TEN], ApplyCoupon("TEN", "fixed", 500)) == "coupon_already_applied"


def test_a_coupon_is_removed_with_its_reason() -> None:
    """The reason goes into the event; an unknown coupon is refused."""
    assert list(decide(cart_of(TEN), RemoveCoupon("TEN"))) == [CouponRemoved("TEN", "shopper")]
    assert list(decide(cart_of(TEN), RemoveCoupon("TEN", "invalid"))) == [CouponRemoved("TEN", "invalid")]
    assert list(decide(cart_of(TEN), ExpireCoupon("TEN"))) == [CouponRemoved("TEN", "expired")]
    assert refusal([TEN], RemoveCoupon("TWENTY")) == "unknown_coupon"
    assert refusal([TEN], RemoveCoupon("TEN", "bored")) == "invalid_reason"


def test_a_price_change_states_both_prices() -> None:
    """The original price stays; the same price again writes nothing."""
    decision = decide(cart_of(SOAP), UpdatePrice("soap", 3900, "supplier", "USD"))
    assert list(decision) == [PriceUpdated("soap", 2900, 3900, "supplier")]
    assert list(decide(cart_of(SOAP), UpdatePrice("soap", 2900, "supplier"))) == []
    assert refusal([SOAP], UpdatePrice("soap", -1, "supplier")) == "invalid_price"
    assert refusal([SOAP], UpdatePrice("soap", 3900, "supplier", "EUR")) == "second_currency"


def test_a_silent_cart_is_marked_with_its_last_activity() -> None:
    """An empty or already marked cart is refused."""
    assert list(decide(cart_of(SOAP, TEN), MarkAbandoned())) == [CartAbandoned(at(2))]
    assert refusal([], MarkAbandoned()) == "empty_cart"
    assert refusal([SOAP, CartAbandoned(at(1))], MarkAbandoned()) == "already_abandoned"


def test_checkout_needs_a_line() -> None:
    """An empty cart does not check out, neither at the start nor at the end."""
    assert list(decide(cart_of(SOAP), StartCheckout())) == [CheckoutStarted()]
    assert refusal([], StartCheckout()) == "empty_cart"
    assert refusal([SOAP, CheckoutStarted(), ItemRemoved("soap")], CompleteCheckout("o1", 0)) == "empty_cart"


def test_checkout_is_completed_after_it_was_started() -> None:
    """The total that was projected needs no flag."""
    decision = decide(cart_of(SOAP, CheckoutStarted()), CompleteCheckout("o1", 8700))
    assert (list(decision), decision.metadata) == ([CheckoutCompleted("o1", 8700)], ({},))
    assert refusal([SOAP], CompleteCheckout("o1", 8700)) == "checkout_not_started"


def test_another_total_is_accepted_and_flagged() -> None:
    """What was charged is recorded beside what the cart says, never hidden."""
    decision = decide(cart_of(SOAP, CheckoutStarted()), CompleteCheckout("o1", 9000))
    assert list(decision) == [CheckoutCompleted("o1", 9000)]
    assert decision.metadata == ({"total_mismatch": "true", "projected_total_cents": "8700"},)


@pytest.mark.parametrize(
    ("order", "total", "code"), [("", 1, "invalid_order_id"), ("o", -1, "invalid_total"), ("o", 1.5, "invalid_total")]
)
def test_an_order_needs_an_id_and_a_total(order: str, total: object, code: str) -> None:
    """Nobody is charged less than nothing."""
    assert refusal([SOAP, CheckoutStarted()], CompleteCheckout(order, total)) == code  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command",
    [
        AddItem("tea", "Tea", 5),
        RemoveItem("soap"),
        SetQuantity("soap", 1),
        ApplyCoupon("TEN", "fixed", 5),
        RemoveCoupon("TEN"),
        ExpireCoupon("TEN"),
        UpdatePrice("soap", 5, "x"),
        MarkAbandoned(),
        StartCheckout(),
        CompleteCheckout("o2", 1),
        MergeCart(cart_of(cart_id=OTHER)),
        HandOver(CART),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nothing_changes_after_checkout(command: Command) -> None:
    """The seed accepted adds, removals, coupons and abandonment of a paid cart."""
    assert refusal([SOAP, CheckoutStarted(), CheckoutCompleted("o1", 8700)], command) == "checked_out"
