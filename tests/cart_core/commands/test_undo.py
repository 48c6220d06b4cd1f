"""Undo and redo: examples, each of the seed's faults, and the laws that hold for every history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.commands import (
    AddItem,
    ApplyCoupon,
    Command,
    CompleteCheckout,
    Decision,
    ExpireCoupon,
    MarkAbandoned,
    RemoveCoupon,
    RemoveItem,
    SetQuantity,
    StartCheckout,
    UpdatePrice,
    decide,
    redo,
    undo,
)
from cart_core.errors import Refused
from cart_core.events import (
    CouponApplied,
    CouponRemoved,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import CartState
from tests.cart_core.commands.carts import History, at, line_of

SOAP = AddItem("soap", "Soap", 2900)
TEA = AddItem("tea", "Tea", 500, 2)


def given_commands(*commands: Command) -> History:
    """A history of these commands, each as the service would write it."""
    history = History()
    for command in commands:
        history.command(decide(history.state, command))
    return history


def content(state: CartState) -> tuple:
    """What undo answers for: lines, coupons and totals."""
    return state.lines, state.coupons, state.currency, state.subtotal_cents, state.discount_cents, state.total_cents


def take_back(history: History) -> CartState:
    """Undo; the cart afterwards."""
    history.command(undo(history.envelopes))
    return history.state


def carry_out_again(history: History) -> CartState:
    """Redo; the cart afterwards."""
    history.command(redo(history.envelopes))
    return history.state


def products(state: CartState) -> set[str]:
    """Which products the cart holds."""
    return {line.product_id for line in state.lines}


def test_undo_says_what_it_takes_back() -> None:
    """Each compensating event names the command and the type of event that it takes back."""
    history = given_commands(SOAP)
    decision = undo(history.envelopes)
    assert list(decision) == [ItemRemoved("soap")]
    assert decision.metadata == ({"undoes": "c1", "undone": "ItemAdded"},)


def test_redo_says_what_it_carries_out_again() -> None:
    """A redone add is the line as it was, with its age."""
    history = given_commands(SOAP)
    take_back(history)
    decision = redo(history.envelopes)
    assert list(decision) == [ItemAdded("soap", "Soap", 1, 2900, "USD")]
    assert decision.metadata == ({"added_at": "2026-01-01T00:01:00Z", "redoes": "c1", "redone": "ItemAdded"},)


def test_undo_twice_walks_back() -> None:
    """The seed toggled: add a, add b, undo, undo ended with both."""
    history = given_commands(SOAP, TEA)
    assert products(take_back(history)) == {"soap"}
    assert products(take_back(history)) == set()
    with pytest.raises(Refused, match="no command") as caught:
        undo(history.envelopes)
    assert caught.value.code == "nothing_to_undo"


def test_undoing_a_removal_restores_the_quantity() -> None:
    """The seed restored 1 after a change from 1 to 5, at a new place and age."""
    history = given_commands(SOAP, TEA, SetQuantity("soap", 5))
    before = content(history.state)
    history.command(decide(history.state, RemoveItem("soap")))
    assert content(take_back(history)) == before


def test_undoing_a_removal_restores_both_prices() -> None:
    """The seed restored 2900 after the price had become 3900."""
    history = given_commands(SOAP, UpdatePrice("soap", 3900, "supplier"), RemoveItem("soap"))
    decision = undo(history.envelopes)
    assert list(decision) == [
        ItemAdded("soap", "Soap", 1, 2900, "USD"),
        PriceUpdated("soap", 2900, 3900, "undo"),
    ]
    line = line_of(take_back(history))
    assert (line.original_price_cents, line.price_cents, line.added_at) == (2900, 3900, at(1))


def test_undoing_a_re_add_restores_the_line() -> None:
    """The seed overwrote the line when it was re-added and removed it altogether at the undo."""
    history = given_commands(AddItem("soap", "Soap", 2900, 3))
    before = content(history.state)
    history.command(decide(history.state, AddItem("soap", "Soap", 3900, 2)))
    assert content(take_back(history)) == before


def test_undoing_a_foreign_re_add_restores_the_line() -> None:
    """Plain ItemAdded twice, as the seed wrote it: the line that was replaced comes back whole."""
    history = History().foreign(ItemAdded("soap", "Soap", 3, 2900, "USD"))
    before = content(history.state)
    history.foreign(ItemAdded("soap", "Soap", 2, 3900, "USD"))
    assert content(take_back(history)) == before


def test_coupon_commands_can_be_undone() -> None:
    """The seed could not undo them."""
    history = given_commands(SOAP, ApplyCoupon("TEN", "percentage", 10))
    assert take_back(history).coupons == ()
    assert [coupon.code for coupon in carry_out_again(history).coupons] == ["TEN"]


def test_undoing_a_coupon_removal_restores_the_order() -> None:
    """A coupon that was not the last comes back to its old place."""
    history = given_commands(SOAP, ApplyCoupon("A", "fixed", 5), ApplyCoupon("B", "percentage", 12.5))
    before = content(history.state)
    history.command(decide(history.state, RemoveCoupon("A")))
    assert content(take_back(history)) == before


def test_an_old_quantity_that_lies_is_not_trusted() -> None:
    """The seed gave 99 units back because an event said so."""
    history = History().foreign(ItemAdded("soap", "Soap", 2, 2900, "USD"), QuantityChanged("soap", 99, 4))
    assert line_of(take_back(history)).quantity == 2


def test_a_price_change_in_between_stays() -> None:
    """The shop's price outlives the undo of an older command."""
    history = given_commands(SOAP, SetQuantity("soap", 5), UpdatePrice("soap", 3900, "supplier"))
    line = line_of(take_back(history))
    assert (line.quantity, line.price_cents, line.original_price_cents) == (1, 3900, 2900)


def test_a_price_change_after_a_re_add_stays_when_that_is_undone() -> None:
    """A re-add's own price goes with it, a later one of the shop does not."""
    history = given_commands(SOAP, AddItem("soap", "Soap", 3900), UpdatePrice("soap", 4500, "supplier"))
    line = line_of(take_back(history))
    assert (line.quantity, line.price_cents, line.original_price_cents) == (1, 4500, 2900)


def test_a_price_change_while_the_line_was_out_is_kept() -> None:
    """A foreign PriceUpdated between removal and undo sets the price of the line that comes back."""
    history = History().foreign(
        ItemAdded("soap", "Soap", 1, 2900, "USD"), ItemRemoved("soap"), PriceUpdated("soap", 2900, 3900, "supplier")
    )
    line = line_of(take_back(history))
    assert (line.price_cents, line.original_price_cents) == (3900, 2900)


def test_the_shops_events_are_passed_over() -> None:
    """Prices, abandonment, checkout started and expiries are not the shopper's to take back, and do not end redo."""
    coupon = ApplyCoupon("TEN", "percentage", 10)
    history = given_commands(SOAP, coupon, TEA, SetQuantity("tea", 3))
    take_back(history)
    for command in (UpdatePrice("tea", 600, "x"), ExpireCoupon("TEN"), StartCheckout(), MarkAbandoned()):
        history.command(decide(history.state, command))
    assert line_of(carry_out_again(history), "tea").quantity == 3
    take_back(history)
    assert products(take_back(history)) == {"soap"}
    assert products(take_back(history)) == set()


def test_an_undo_always_does_something() -> None:
    """The coupon has expired since: its command is taken back together with the one before, and redone with it."""
    history = given_commands(TEA, SOAP, ApplyCoupon("TEN", "percentage", 10), ExpireCoupon("TEN"))
    before = content(history.state)
    assert undo(history.envelopes).metadata == ({"undoes": "c2", "undone": "ItemAdded"},)
    assert products(take_back(history)) == {"tea"}
    assert content(carry_out_again(history)) == before
    assert products(take_back(history)) == {"tea"}
    assert products(take_back(history)) == set()


def test_a_foreign_command_that_did_nothing_costs_no_undo() -> None:
    """A quantity of a line that was not there is passed by; the second add renewed the line, so it is a step."""
    history = History().foreign(QuantityChanged("tea", 1, 2), *[ItemAdded("soap", "Soap", 1, 2900, "USD")] * 2)
    before = content(history.state)
    states = [take_back(history), take_back(history)]
    assert [products(state) for state in states] == [{"soap"}, set()]
    carry_out_again(history)
    assert content(carry_out_again(history)) == before


def test_a_new_command_ends_redo() -> None:
    """What was taken back before a new command is gone for redo, and undo does not bring it back either."""
    history = given_commands(SOAP, TEA)
    take_back(history)
    history.command(decide(history.state, AddItem("oil", "Oil", 900)))
    with pytest.raises(Refused) as caught:
        redo(history.envelopes)
    assert caught.value.code == "nothing_to_redo"
    assert products(take_back(history)) == {"soap"}
    assert products(take_back(history)) == set()


@pytest.mark.parametrize("step", [undo, redo])
def test_nothing_is_undone_after_checkout(step: object) -> None:
    """A paid cart is closed, also where a foreign history goes on after it."""
    history = given_commands(SOAP, StartCheckout(), CompleteCheckout("o1", 2900))
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            step(history.envelopes)  # type: ignore[operator]
        assert caught.value.code == "checked_out"
        history.foreign(ItemAdded("late", "Late", 1, 5, "USD"))


@pytest.mark.parametrize(("step", "code"), [(undo, "nothing_to_undo"), (redo, "nothing_to_redo")])
def test_an_unknown_cart_has_nothing_to_undo(step: object, code: str) -> None:
    """No history, no command."""
    with pytest.raises(Refused) as caught:
        step([])  # type: ignore[operator]
    assert caught.value.code == code


def test_marks_that_lie_are_read_as_commands() -> None:
    """A foreign event that claims to undo, and does something else, is a command like others."""
    history = given_commands(SOAP, TEA)
    history.write([ItemAdded("oil", "Oil", 1, 900, "USD")], {"undoes": "c2"})
    history.write([ItemAdded("rice", "Rice", 1, 90, "USD")], {"redoes": "nobody"})
    assert products(take_back(history)) == {"soap", "tea", "oil"}
    assert products(take_back(history)) == {"soap", "tea"}
    assert products(take_back(history)) == {"soap"}


def test_marks_may_name_an_event() -> None:
    """Another system's true undo, marked with an event id, is understood as one."""
    history = History().foreign(ItemAdded("soap", "Soap", 1, 2900, "USD"), ItemAdded("tea", "Tea", 1, 5, "USD"))
    history.write([ItemRemoved("tea")], {"undoes": history.envelopes[1].event_id})
    assert products(take_back(history)) == set()


PRODUCTS = st.sampled_from(["soap", "tea", "oil"])
PRICES = st.integers(1, 5)
SHOPPERS = st.one_of(
    st.builds(AddItem, PRODUCTS, st.sampled_from(["", "Name"]), PRICES, st.integers(1, 3)),
    st.builds(RemoveItem, PRODUCTS),
    st.builds(SetQuantity, PRODUCTS, st.integers(0, 3)),
    st.builds(ApplyCoupon, st.sampled_from("AB"), st.just("percentage"), st.sampled_from([10, 12.5])),
    st.builds(RemoveCoupon, st.sampled_from("AB")),
)
SHOPS = st.one_of(
    st.builds(UpdatePrice, PRODUCTS, st.integers(0, 5), st.just("supplier")),
    st.builds(ExpireCoupon, st.sampled_from("AB")),
    st.just(MarkAbandoned()),
    st.just(StartCheckout()),
)
FOREIGN: st.SearchStrategy[Event] = st.one_of(
    st.builds(ItemAdded, PRODUCTS, st.just("Name"), st.integers(1, 3), PRICES, st.sampled_from(["USD", "EUR"])),
    st.builds(ItemRemoved, PRODUCTS),
    st.builds(QuantityChanged, PRODUCTS, st.integers(-2, 9), st.integers(1, 3)),
    st.builds(CouponApplied, st.sampled_from("AB"), st.just("fixed"), st.integers(1, 3)),
    st.builds(CouponRemoved, st.sampled_from("AB")),
)


def carry_out(history: History, command: Command) -> bool:
    """Whether the command was allowed and had an effect."""
    try:
        return bool(history.command(decide(history.state, command)))
    except Refused:
        return False


def steps_back(history: History) -> list[tuple]:
    """The cart's contents while it is undone to the end, newest first, the present one included."""
    contents = [content(history.state)]
    while True:
        try:
            contents.append(content(take_back(history)))
        except Refused:
            return contents


def steps_forward(history: History) -> list[tuple]:
    """The cart's contents while it is redone to the end, the present one included."""
    contents = [content(history.state)]
    while True:
        try:
            contents.append(content(carry_out_again(history)))
        except Refused:
            return contents


EDITOR = st.lists(st.one_of(SHOPPERS, st.sampled_from(["undo", "redo"])), max_size=25)


@given(EDITOR)
def test_law_undo_and_redo_are_an_editors(actions: list[Command | str]) -> None:
    """Commands, undos and redos in any order: the cart is what an editor with a list of snapshots would show."""
    history, snapshots, here = History(), [content(CartState.empty(History().cart_id))], 0
    for action in actions:
        if action == "undo" and here > 0:
            here -= 1
            take_back(history)
        elif action == "redo" and here < len(snapshots) - 1:
            here += 1
            carry_out_again(history)
        elif not isinstance(action, str) and carry_out(history, action):
            here += 1
            snapshots[here:] = [content(history.state)]
        assert content(history.state) == snapshots[here]


@given(st.lists(FOREIGN, max_size=15))
def test_law_foreign_histories_walk_back_through_their_own_states(events: list[Event]) -> None:
    """Undoing a history without command ids passes every content it had, in reverse, each change once."""
    history, contents = History(), [content(CartState.empty(History().cart_id))]
    for event in events:
        history.foreign(event)
        if content(history.state) != contents[-1]:
            contents.append(content(history.state))
    assert [each[:2] for each in steps_back(history)] == [each[:2] for each in reversed(contents)]


@given(st.lists(st.one_of(SHOPPERS, SHOPS), max_size=20), st.lists(SHOPS, max_size=4))
def test_law_as_many_redos_as_undos_give_the_cart_back(commands: list[Command], shop: list[Command]) -> None:
    """Whatever the shop did among the commands; and what it does in between stays."""
    history = History()
    for command in commands:
        carry_out(history, command)
    back = steps_back(history)
    assert back == steps_forward(history)[::-1]
    for command in shop:
        carry_out(history, command)
    steps_back(history)
    assert not history.state.lines
    assert not history.state.coupons


@given(st.lists(st.one_of(SHOPPERS, SHOPS), max_size=15), SHOPPERS, st.lists(SHOPS, min_size=1, max_size=4))
def test_law_undo_keeps_what_the_shop_did(before: list[Command], last: Command, shop: list[Command]) -> None:
    """After the last command the shop acts: undo leaves the cart as if the shop had acted without that command."""
    history, without = History(), History()
    for command in before:
        carry_out(history, command)
        carry_out(without, command)
    if not carry_out(history, last):
        return
    for command in shop:
        decision = history.command(decided(history, command))
        without.foreign(*decision.events)
    expected = content(without.state)
    if content(history.state) != expected:
        assert content(take_back(history)) == expected


def decided(history: History, command: Command) -> Decision:
    """What the command does; nothing where it is refused."""
    try:
        return decide(history.state, command)
    except Refused:
        return Decision()


@given(st.lists(st.one_of(SHOPPERS, SHOPS), max_size=15))
def test_law_undo_only_appends_and_marks_itself(commands: list[Command]) -> None:
    """Every event of an undo or redo carries its mark, and never names an undo or redo as what it takes back."""
    history = History()
    for command in commands:
        carry_out(history, command)
    given_ids = {envelope.metadata["command_id"] for envelope in history.envelopes}
    written = len(history.envelopes)
    steps_back(history)
    steps_forward(history)
    for envelope in history.envelopes[written:]:
        marks = {envelope.metadata.get("undoes"), envelope.metadata.get("redoes")} - {None}
        assert len(marks) == 1
        assert marks <= given_ids
