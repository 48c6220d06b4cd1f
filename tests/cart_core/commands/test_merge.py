"""Merging a guest's cart into a user's: the complaints about other shops, each a promise here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.commands import HandOver, MergeCart, UpdatePrice, decide, redo, undo
from cart_core.commands.words import Strategy
from cart_core.errors import Refused
from cart_core.events import (
    CheckoutCompleted,
    CouponApplied,
    CouponRemoved,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import CartState
from tests.cart_core.commands.carts import CART, OTHER, History, at, cart_of, line_of

SOAP = ItemAdded("soap", "Soap", 2, 2900, "USD")
TEA = ItemAdded("tea", "Tea", 1, 500, "USD")
STRATEGIES: list[Strategy] = ["sum", "keep_target", "keep_source"]


def guest(*events: Event) -> CartState:
    """The guest's cart."""
    return cart_of(*events, cart_id=OTHER)


def test_the_guests_lines_come_in_with_their_age_and_prices() -> None:
    """A line that moves keeps when it was added, at which price, and what it costs now."""
    source = guest(TEA, PriceUpdated("tea", 500, 600, "supplier"))
    decision = decide(cart_of(SOAP, SOAP, SOAP), MergeCart(source))
    assert list(decision) == [TEA, PriceUpdated("tea", 500, 600, "merged")]
    assert decision.metadata == (
        {"added_at": "2026-01-01T00:01:00Z", "merged_from": OTHER},
        {"merged_from": OTHER},
    )


@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        ("sum", [QuantityChanged("soap", 2, 5), PriceUpdated("soap", 2900, 3900, "merged")]),
        ("keep_target", []),
        ("keep_source", [QuantityChanged("soap", 2, 3), PriceUpdated("soap", 2900, 3900, "merged")]),
    ],
)
def test_a_product_in_both_carts_becomes_one_line(strategy: Strategy, events: list[Event]) -> None:
    """No duplicate lines: the strategy says whose units and price stand."""
    source = guest(ItemAdded("soap", "Soap", 3, 3900, "USD"))
    assert list(decide(cart_of(SOAP), MergeCart(source, strategy))) == events


def test_a_sum_above_999_is_capped_and_told() -> None:
    """A merge at log-in is never refused for its size; what was cut off stands in the event."""
    decision = decide(cart_of(SOAP), MergeCart(guest(ItemAdded("soap", "Soap", 998, 2900, "USD"))))
    assert list(decision) == [QuantityChanged("soap", 2, 999)]
    assert decision.metadata[0]["capped_from"] == "1000"


@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        ("sum", [CouponApplied("B", "fixed", 5)]),
        ("keep_target", [CouponApplied("B", "fixed", 5)]),
        ("keep_source", [CouponRemoved("A"), CouponApplied("A", "fixed", 2), CouponApplied("B", "fixed", 5)]),
    ],
)
def test_coupons_come_along_once(strategy: Strategy, events: list[Event]) -> None:
    """A coupon that both carts hold is not doubled."""
    source = guest(CouponApplied("A", "fixed", 2), CouponApplied("B", "fixed", 5))
    assert list(decide(cart_of(CouponApplied("A", "fixed", 1)), MergeCart(source, strategy))) == events


@pytest.mark.parametrize(
    ("target", "source", "code"),
    [
        ([], guest(TEA, CheckoutCompleted("o1", 500)), "source_checked_out"),
        ([SOAP], guest(ItemAdded("tea", "Tea", 1, 500, "EUR")), "second_currency"),
        ([SOAP], cart_of(TEA, cart_id=CART), "same_cart"),
    ],
)
def test_a_merge_that_cannot_be_is_refused_by_name(target: list[Event], source: CartState, code: str) -> None:
    """Nothing changes then, in neither cart."""
    with pytest.raises(Refused) as caught:
        decide(cart_of(*target), MergeCart(source))
    assert caught.value.code == code


def test_an_unknown_strategy_is_refused() -> None:
    """There are three strategies."""
    with pytest.raises(Refused) as caught:
        decide(cart_of(), MergeCart(guest(TEA), "newest"))  # type: ignore[arg-type]
    assert caught.value.code == "invalid_strategy"


def test_an_empty_guest_cart_changes_nothing() -> None:
    """Coupons and lines of the target stand as they did, in whatever currency."""
    assert list(decide(cart_of(ItemAdded("tea", "Tea", 1, 500, "EUR")), MergeCart(guest()))) == []


def test_the_guests_cart_ends_empty() -> None:
    """Every line and coupon leaves it, marked with where it went."""
    decision = decide(guest(SOAP, TEA, CouponApplied("A", "fixed", 1)), HandOver(CART))
    assert list(decision) == [ItemRemoved("soap"), ItemRemoved("tea"), CouponRemoved("A")]
    assert decision.metadata == ({"merged_into": CART},) * 3


def test_undo_in_the_emptied_cart_brings_nothing_twice() -> None:
    """What went into the other cart is not the guest's to take back any more; what was removed before is."""
    history = History(OTHER).foreign(SOAP, TEA, ItemRemoved("tea"))
    history.command(decide(history.state, HandOver(CART)))
    history.command(undo(history.envelopes))
    assert [line.product_id for line in history.state.lines] == ["tea"]
    history.command(undo(history.envelopes))
    with pytest.raises(Refused):
        undo(history.envelopes)


LINES = st.lists(
    st.builds(ItemAdded, st.sampled_from("abcd"), st.just("x"), st.integers(1, 999), st.integers(1, 9), st.just("USD")),
    max_size=4,
)


@given(LINES, LINES, st.sampled_from(STRATEGIES))
def test_law_nothing_vanishes_and_no_line_is_doubled(mine: list[Event], theirs: list[Event], how: Strategy) -> None:
    """Every product of either cart is in the merged one, once, with at least the units the strategy promises."""
    target, source = cart_of(*mine), guest(*theirs)
    history = History().foreign(*mine)
    history.command(decide(target, MergeCart(source, how)))
    merged = {line.product_id: line for line in history.state.lines}
    assert len(merged) == len(history.state.lines)
    assert set(merged) == {line.product_id for line in (*target.lines, *source.lines)}
    for product, line in merged.items():
        here, there = target.line(product), source.line(product)
        units = [each.quantity if each else None for each in (here, there)]
        expected = {
            "sum": sum(filter(None, units)),
            "keep_target": units[0] or units[1],
            "keep_source": units[1] or units[0],
        }
        assert line.quantity == min(expected[how] or 0, 999)


@given(LINES, LINES, st.sampled_from(STRATEGIES))
def test_law_one_undo_takes_a_merge_back(mine: list[Event], theirs: list[Event], how: Strategy) -> None:
    """The target is as it was before, and one redo merges again, whatever the merge did."""
    history = History().foreign(*mine)
    before = history.state
    if not history.command(decide(before, MergeCart(guest(*theirs), how))):
        return
    merged = history.state
    history.command(undo(history.envelopes))
    assert (history.state.lines, history.state.coupons) == (before.lines, before.coupons)
    history.command(redo(history.envelopes))
    assert (history.state.lines, history.state.coupons) == (merged.lines, merged.coupons)


def test_a_merge_that_changes_only_a_price_can_be_undone() -> None:
    """It is the shopper's command, not the shop's price change."""
    history = History().foreign(SOAP)
    history.command(decide(history.state, MergeCart(guest(ItemAdded("soap", "Soap", 2, 3900, "USD")), "keep_source")))
    assert line_of(history.state).price_cents == 3900
    history.command(undo(history.envelopes))
    assert line_of(history.state).price_cents == 2900


def test_a_price_of_the_shop_after_a_merge_stays() -> None:
    """Undoing the merge does not bring an outdated price back."""
    history = History().foreign(SOAP)
    history.command(decide(history.state, MergeCart(guest(ItemAdded("soap", "Soap", 2, 3900, "USD")))))
    history.command(decide(history.state, UpdatePrice("soap", 4500, "supplier")))
    history.command(undo(history.envelopes))
    line = line_of(history.state)
    assert (line.quantity, line.price_cents, line.original_price_cents, line.added_at) == (2, 4500, 2900, at(1))
