"""Carts are told that they are abandoned once, and never over the head of a shopper who acts."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from cart_core.errors import StoreError
from cart_core.events import CartAbandoned, CheckoutStarted, ItemAdded, QuantityChanged
from cart_core.store import CartStore, MemoryStore
from pipelines.defs.abandonment import announcing
from pipelines.defs.abandonment.announcing import Announced, announce
from tests.builders import NOON, cart_id, history

SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
HOUR = timedelta(hours=1)
LATER = NOON + timedelta(hours=2)


@pytest.fixture(params=["memory", "durable"])
def store(request, tmp_path):
    """A store of either kind with three silent carts, one that began its checkout, and one that was active just now."""
    opened = MemoryStore() if request.param == "memory" else CartStore.open(tmp_path)
    with opened as store:
        silent = [each for number in (1, 2, 3) for each in history(SHIRT, cart=cart_id(number))]
        store.append_many([*silent, *history(SHIRT, CheckoutStarted(), cart=cart_id(4))])
        store.append(cart_id(5), [SHIRT], "u5", 0, timestamp=LATER - timedelta(minutes=59))
        yield store


def test_every_silent_cart_is_told_once(store):
    """Each due cart gets one event that states its last activity; a second run adds nothing."""
    assert announce(store, LATER, HOUR) == Announced(appended=4, skipped=0)
    told = store.read(cart_id(1))[-1]
    assert (told.event, told.timestamp) == (CartAbandoned(NOON + timedelta(minutes=1)), LATER)
    assert told.metadata["source"] == "abandonment"
    assert store.cart(cart_id(4)).status == "abandoned"
    assert store.cart(cart_id(5)).status == "active"
    assert announce(store, LATER, HOUR) == Announced(appended=0, skipped=0)


def test_a_new_silence_is_told_anew(store):
    """A shopper who came back and fell silent again is told a second time."""
    announce(store, LATER, HOUR)
    store.append(cart_id(1), [QuantityChanged("p1", 2, 1)], "u1", 2, timestamp=LATER + timedelta(minutes=1))
    assert announce(store, LATER + timedelta(minutes=60), HOUR).appended == 1  # cart 5 alone
    assert announce(store, LATER + timedelta(minutes=61), HOUR).appended == 1
    assert [each.event.type for each in store.read(cart_id(1))].count("CartAbandoned") == 2


def test_a_shopper_who_acts_wins(store, monkeypatch):
    """A cart that changed between the decision and the append is skipped and counted; the others are told."""
    decide = announcing.due

    def due_then_act(events, as_of, idle):
        found = decide(events, as_of, idle)
        if cart_id(2) in found["cart_id"].to_list():
            store.append(cart_id(2), [QuantityChanged("p1", 2, 3)], "u1", 1, timestamp=LATER)
        return found

    monkeypatch.setattr(announcing, "due", due_then_act)
    assert announce(store, LATER, HOUR) == Announced(appended=3, skipped=1)
    assert [each.event.type for each in store.read(cart_id(2))] == ["ItemAdded", "QuantityChanged"]


def test_a_run_that_was_cut_off_is_completed(store, monkeypatch):
    """After a crash in the middle the next run tells the rest, and nobody twice."""
    send, sent = store.admit, []

    def crash_after_two(group):
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(group)
        return send(group)

    monkeypatch.setattr(announcing, "GROUP", 1)
    monkeypatch.setattr(store, "admit", crash_after_two)
    with pytest.raises(KeyboardInterrupt):
        announce(store, LATER, HOUR)
    monkeypatch.setattr(store, "admit", send)
    assert announce(store, LATER, HOUR) == Announced(appended=2, skipped=0)
    kinds = store.scan(columns=["type"]).collect().filter(pl.col("type") == "CartAbandoned")
    assert kinds.height == 4


def test_other_errors_are_not_swallowed(store):
    """What is no lost race stops the run, and names the cart."""
    found = announcing.due(next(iter(store.batches(announcing.COLUMNS))), LATER, HOUR)
    ahead = found.with_columns(pl.col("version") + 1)
    with pytest.raises(StoreError, match=r"cart 0.* could not be told that it is abandoned: .*version 2"):
        announcing.announce_to(store, ahead, LATER)


def test_the_cart_of_a_forgotten_shopper_is_left_alone(store):
    """Nobody is there to come back to it, and no new user is made of the pseudonym."""
    forgotten = store.read(cart_id(1))[0].user_id
    with_them = [number for number in range(1, 5) if store.read(cart_id(number))[0].user_id == forgotten]
    store.forget(forgotten)
    assert announce(store, LATER, HOUR) == Announced(appended=4 - len(with_them), skipped=0)
    assert [each.event.type for each in store.read(cart_id(1))] == ["ItemAdded"]


def test_an_empty_store_has_nobody_to_tell():
    """No cart, no event."""
    assert announce(MemoryStore(), LATER, HOUR) == Announced(appended=0, skipped=0)
