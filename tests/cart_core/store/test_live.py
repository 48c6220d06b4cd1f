"""States kept in memory are those of the store, whoever writes to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core.projector import CartState, fold
from cart_core.store import CartStore
from cart_core.store.reading import live
from tests.cart_core.store.builders import LIFE, named

CARTS = ["a", "b", "c"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "many", "look", "look", "look all", "seal", "forget"]),
        st.sampled_from(CARTS),
        st.integers(0, 1),
        st.lists(st.sampled_from(LIFE), min_size=1, max_size=3),
    ),
    max_size=14,
)


def told(store: CartStore, cart: str) -> CartState:
    """What the events of a cart say it is."""
    events = store.read(named(cart))
    return fold(events) if events else CartState.empty(named(cart))


def step(stores: tuple[CartStore, CartStore], what: str, cart: str, which: int, events: list[Any]) -> None:
    """One process does something."""
    store = stores[which]
    head = len(store.read(named(cart)))
    if what == "append":
        store.append(named(cart), events, "ann", head)
    elif what == "many":
        documents = [each.to_json() for each in _prepared(store, cart, events, head)]
        store.append_many(documents)
    elif what == "look":
        assert store.cart(named(cart)) == told(store, cart)
    elif what == "look all":
        assert store.carts([named(each) for each in CARTS]) == [told(store, each) for each in CARTS]
    elif what == "seal":
        store.seal()
    else:
        store.forget("ann")


def _prepared(store: CartStore, cart: str, events: list[Any], head: int) -> list[Any]:
    return store.prepare(named(cart), events, "ann", head).envelopes


@given(STEPS)
@settings(max_examples=40)
def test_law_two_processes_see_what_the_events_say(steps: list[Any]) -> None:
    """Two doors to one store, appends, bulk appends, seals and forgetting in any order: no look is behind."""
    with (
        tempfile.TemporaryDirectory() as folder,
        CartStore.open(Path(folder) / "store") as one,
        CartStore.open(Path(folder) / "store") as other,
    ):
        for each in steps:
            step((one, other), *each)
        for store in (one, other):
            assert store.carts([named(each) for each in CARTS]) == [told(store, each) for each in CARTS]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CartStore]:
    """An empty store."""
    with CartStore.open(tmp_path / "store") as opened:
        yield opened


def test_what_this_process_wrote_is_not_read_again(store: CartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cart that was looked at once is answered from memory, however many events its process adds."""
    store.cart(named("a"))
    monkeypatch.setattr(store.reader, "history", None)
    monkeypatch.setattr(store.reader, "head", None)
    for version, event in enumerate(LIFE * 30):
        store.append(named("a"), [event], "ann", version)
    assert store.cart(named("a")).version == len(LIFE) * 30


def test_carts_in_memory_are_bounded(store: CartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those used least recently make room."""
    monkeypatch.setattr(live, "KEPT_CARTS", 3)
    for number in range(10):
        store.append(named(str(number)), [LIFE[0]], "ann", 0)
        assert store.cart(named(str(number))).version == 1
    assert len(store._states._kept) == 3
    assert store.cart(named("0")).version == 1


def test_an_older_look_takes_nothing_back(store: CartStore) -> None:
    """A reader whose transaction began before a write is given the later state or its own."""
    store.append(named("a"), [LIFE[0]], "ann", 0)
    with store.catalog.reading() as db:
        before = live.catalog.state(db)
    store.cart(named("a"))
    store.append(named("a"), [LIFE[0]], "ann", 1)
    assert store._states._stand_at(before) is False
    assert store.cart(named("a")).version == 2
