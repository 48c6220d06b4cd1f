"""The service: who may do what, retries, idempotency, and decisions that never rest on a stale cart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cart_core.commands import (
    AddItem,
    ApplyCoupon,
    CompleteCheckout,
    RemoveItem,
    SetQuantity,
    StartCheckout,
    UpdatePrice,
)
from cart_core.errors import CartError, ConcurrencyError, InvalidEvent, Refused
from cart_core.events import ItemAdded, ItemRemoved
from cart_core.service import SHOP, Answer, Ask, CartService, MergeAsk, Redo, Undo, Who
from cart_core.store import CartStore, MemoryStore
from cart_core.store.base import Store

CART = "00000000-0000-4000-8000-00000000000a"
GUESTS = "00000000-0000-4000-8000-00000000000b"
ANN, GUEST, BEN = Who("ann"), Who("guest-1"), Who("ben")
SOAP = AddItem("soap", "Soap", 2900)
TEA = AddItem("tea", "Tea", 500)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Iterator[Store]:
    """An empty store."""
    opened = MemoryStore(clock) if request.param == "memory" else CartStore.open(tmp_path / "store", clock=clock)
    with opened as store:
        yield store


@pytest.fixture
def service(store: Store) -> CartService:
    """A service over it."""
    return CartService(store)


def code_of(outcome: Answer | CartError) -> str:
    """The code of a refusal."""
    assert isinstance(outcome, Refused)
    return outcome.code


def refusal(service: CartService, ask: Ask | MergeAsk) -> str:
    """The code with which the service refuses."""
    with pytest.raises(Refused) as caught:
        service.merge(ask) if isinstance(ask, MergeAsk) else service.ask(ask)
    return caught.value.code


def test_a_command_becomes_events_of_its_user(service: CartService, clock: Any) -> None:
    """The events are the asker's, of now, and share one command id."""
    service.ask(Ask(CART, SOAP, ANN))
    clock.advance(minutes=5)
    assert service.ask(Ask(CART, AddItem("soap", "Soap", 3900), ANN)).version == 3
    history = service.history(CART, ANN)
    assert [each.user_id for each in history] == ["ann"] * 3
    assert history[1].timestamp == clock.now
    first, second, third = (each.metadata["command_id"] for each in history)
    assert (first != second, second) == (True, third)


def test_a_command_that_changes_nothing_answers_the_version(service: CartService) -> None:
    """No event is written for what stands already."""
    service.ask(Ask(CART, SOAP, ANN))
    assert service.ask(Ask(CART, SetQuantity("soap", 1), ANN)) == Answer(1)


def test_a_cart_belongs_to_the_user_of_its_first_event(service: CartService) -> None:
    """Others are told that there is no such cart, whatever they try."""
    service.ask(Ask(CART, SOAP, ANN))
    assert refusal(service, Ask(CART, TEA, BEN)) == "unknown_cart"
    assert refusal(service, Ask(CART, Undo(), BEN)) == "unknown_cart"
    for read in (service.cart, service.history):
        with pytest.raises(Refused, match="somebody else"):
            read(CART, BEN)


def test_the_shop_and_its_support_may_read_any_cart(service: CartService) -> None:
    """Support may not change one; the shop may, and the events stay the user's."""
    service.ask(Ask(CART, SOAP, ANN))
    support = Who("sue", may_read=True)
    assert service.cart(CART, support).user_id == "ann"
    assert refusal(service, Ask(CART, TEA, support)) == "unknown_cart"
    service.ask(Ask(CART, UpdatePrice("soap", 3900, "supplier"), SHOP))
    assert service.history(CART, SHOP)[-1].user_id == "ann"


def test_an_unknown_cart_is_not_shown(service: CartService) -> None:
    """It cannot be told from somebody else's."""
    with pytest.raises(Refused) as caught:
        service.cart(CART, ANN)
    assert caught.value.code == "unknown_cart"


def test_a_malformed_cart_id_is_refused(service: CartService) -> None:
    """It is named as what it should be."""
    with pytest.raises(InvalidEvent, match="UUID"):
        service.ask(Ask("no-uuid", SOAP, ANN))


def test_the_cart_is_shown_as_it_was(service: CartService, clock: Any) -> None:
    """By version and by moment."""
    service.ask(Ask(CART, SOAP, ANN))
    then = clock.now
    clock.advance(minutes=1)
    service.ask(Ask(CART, TEA, ANN))
    assert len(service.cart(CART, ANN, version=1).lines) == len(service.cart(CART, ANN, at=then).lines) == 1


def test_an_expected_version_is_kept_to(service: CartService) -> None:
    """A cart that moved on refuses, with its version."""
    service.ask(Ask(CART, SOAP, ANN, if_version=0))
    assert refusal(service, Ask(CART, TEA, ANN, if_version=0)) == "stale_version"
    assert service.ask(Ask(CART, TEA, ANN, if_version=1)).version == 2


def test_a_repeated_key_gives_the_first_answer(service: CartService) -> None:
    """A retried add is no second event, also after others were made."""
    first = service.ask(Ask(CART, SOAP, ANN, key="k1"))
    service.ask(Ask(CART, TEA, ANN, key="k2"))
    again = service.ask(Ask(CART, SOAP, ANN, key="k1"))
    assert (again.version, service.cart(CART, ANN).version) == (first.version, 2)


def test_a_repeated_key_outlives_the_service(store: Store) -> None:
    """The answer is read from the cart's events."""
    CartService(store).ask(Ask(CART, SOAP, ANN, key="k1"))
    CartService(store).ask(Ask(CART, TEA, ANN))
    assert CartService(store).ask(Ask(CART, SOAP, ANN, key="k1")).version == 1


def test_a_repeated_key_finds_the_answer_that_another_process_gave(store: Store) -> None:
    """A service that had read the cart before reads on."""
    one, other = CartService(store), CartService(store)
    one.ask(Ask(CART, SOAP, ANN, key="k1"))
    other.ask(Ask(CART, TEA, ANN, key="k2"))
    assert one.ask(Ask(CART, TEA, ANN, key="k2")).version == 2
    assert other.ask(Ask(CART, SOAP, ANN, key="k1")).version == 1
    assert store.position() == 2


def test_one_key_twice_in_one_group_is_one_command(service: CartService) -> None:
    """An impatient client sends twice at once."""
    answers = service.ask_all([Ask(CART, SOAP, ANN, key="k1"), Ask(CART, SOAP, ANN, key="k1")])
    assert [each.version for each in answers if isinstance(each, Answer)] == [1, 1]
    assert service.cart(CART, ANN).version == 1


def test_a_key_is_for_one_request(service: CartService) -> None:
    """Another command, or another product, under a known key is refused."""
    service.ask(Ask(CART, SOAP, ANN, key="k1"))
    assert refusal(service, Ask(CART, TEA, ANN, key="k1")) == "idempotency_key_reused"
    assert refusal(service, MergeAsk(CART, GUESTS, "sum", ANN, key="k1")) == "idempotency_key_reused"


def test_a_key_is_kept_as_a_hash(service: CartService) -> None:
    """A key might name a person; the events do not hold it."""
    service.ask(Ask(CART, SOAP, ANN, key="ann@shop.example"))
    assert "ann@" not in repr(service.history(CART, ANN)[0].metadata)


def test_a_repeated_undo_gives_its_first_answer(service: CartService) -> None:
    """A retried undo does not walk back twice."""
    for item in (SOAP, TEA):
        service.ask(Ask(CART, item, ANN))
    first = service.ask(Ask(CART, Undo(), ANN, key="k"))
    again = service.ask(Ask(CART, Undo(), ANN, key="k"))
    assert (again.version, again.notes["undone"]) == (first.version, "ItemAdded")
    assert [line.product_id for line in service.cart(CART, ANN).lines] == ["soap"]


def test_undo_and_redo_are_commands(service: CartService) -> None:
    """They walk back and forward over what the service wrote."""
    for item in (SOAP, TEA, AddItem("soap", "Soap", 3900)):
        service.ask(Ask(CART, item, ANN))
    before = service.cart(CART, ANN).lines
    undone = [service.ask(Ask(CART, Undo(), ANN)).notes["undone"] for _ in range(3)]
    assert undone == ["QuantityChanged", "ItemAdded", "ItemAdded"]
    assert refusal(service, Ask(CART, Undo(), ANN)) == "nothing_to_undo"
    assert [service.ask(Ask(CART, Redo(), ANN)).notes["redone"] for _ in range(3)] == undone[::-1]
    assert refusal(service, Ask(CART, Redo(), ANN)) == "nothing_to_redo"
    assert service.cart(CART, ANN).lines == before


def test_a_group_is_decided_in_its_order(service: CartService) -> None:
    """Each command of one group sees what the earlier ones of its cart will have written."""
    outcomes = service.ask_all(
        [
            Ask(CART, SOAP, ANN),
            Ask(GUESTS, TEA, GUEST),
            Ask(CART, SOAP, ANN),
            Ask(CART, RemoveItem("tea"), ANN),
            Ask(CART, Undo(), ANN),
            Ask(CART, Undo(), ANN),
            Ask(CART, Undo(), ANN),
        ]
    )
    versions = [each.version if isinstance(each, Answer) else code_of(each) for each in outcomes]
    assert versions == [1, 1, 2, "unknown_product", 3, 4, "nothing_to_undo"]


class Rival:
    """A store in which another process is quicker, as often as it is told."""

    def __init__(self, store: Store, times: int) -> None:
        self._store = store
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append_group(self, group: Any) -> Any:
        """Let the rival write into the first cart of the group first."""
        if self.times:
            self.times -= 1
            cart_id, event = group[0].cart, ItemAdded(f"rival-{self.times}", "x", 1, 1, "USD")
            self._store.append(cart_id, [event], "ann", self._store.cart(cart_id).version)
        return self._store.append_group(group)


@pytest.mark.parametrize("times", [1, 5])
def test_a_conflict_is_decided_again_on_the_new_state(store: Store, times: int) -> None:
    """Up to five times; the rival's lines and ours stand side by side."""
    service = CartService(Rival(store, times))  # type: ignore[arg-type]
    outcomes = service.ask_all([Ask(CART, SOAP, ANN), Ask(CART, RemoveItem("rival-0"), ANN), Ask(GUESTS, TEA, GUEST)])
    assert [each.version for each in outcomes if isinstance(each, Answer)] == [times + 1, times + 2, 1]


def test_a_cart_that_is_always_taken_is_given_up(store: Store) -> None:
    """After six tries the conflict is told, for each command of that cart; other carts are served."""
    service = CartService(Rival(store, 6))  # type: ignore[arg-type]
    outcomes = service.ask_all([Ask(CART, SOAP, ANN), Ask(CART, RemoveItem("nothing"), ANN), Ask(GUESTS, TEA, GUEST)])
    assert [type(each) for each in outcomes] == [ConcurrencyError, ConcurrencyError, Answer]


def test_a_conflict_with_an_expected_version_is_stale(store: Store) -> None:
    """Who names a version is told that the cart moved on, not tried again on another state."""
    service = CartService(Rival(store, 1))  # type: ignore[arg-type]
    assert refusal(service, Ask(CART, SOAP, ANN, if_version=0)) == "stale_version"


def test_no_refusal_rests_on_a_stale_cart(store: Store) -> None:
    """Another process adds a product: the next command of this one sees it."""
    one, other = CartService(store), CartService(store)
    one.ask(Ask(CART, SOAP, ANN))
    other.ask(Ask(CART, TEA, ANN))
    assert one.ask(Ask(CART, RemoveItem("tea"), ANN)).version == 3
    assert [line.product_id for line in other.cart(CART, ANN).lines] == ["soap"]


def test_a_forgotten_users_cart_is_nobodys(store: Store) -> None:
    """Also for a service that had the cart in hand."""
    service = CartService(store)
    service.ask(Ask(CART, SOAP, ANN))
    store.forget("ann")
    assert refusal(service, Ask(CART, TEA, ANN)) == "unknown_cart"


def test_a_user_finds_their_carts_again(service: CartService, clock: Any) -> None:
    """The latest touched first, by status, and never somebody else's."""
    for cart_id, who in ((CART, ANN), (GUESTS, ANN), (GUESTS.replace("b", "c"), BEN)):
        service.ask(Ask(cart_id, SOAP, who))
        clock.advance(minutes=1)
    service.ask(Ask(CART, StartCheckout(), ANN))
    assert [each.cart_id for each in service.carts_of(ANN)] == [CART, GUESTS]
    service.ask(Ask(CART, CompleteCheckout("o1", 2900), ANN))
    assert [each.cart_id for each in service.carts_of(ANN, "active")] == [GUESTS]
    assert [each.cart_id for each in service.carts_of(ANN, "checked_out")] == [CART]


def test_a_guests_cart_comes_into_the_users(service: CartService) -> None:
    """Both carts change; the guest's is marked with where its lines went."""
    service.ask(Ask(CART, SOAP, ANN))
    for what in (SOAP, TEA, ApplyCoupon("TEN", "percentage", 10)):
        service.ask(Ask(GUESTS, what, GUEST))
    answer = service.merge(MergeAsk(CART, GUESTS, "sum", ANN, GUEST))
    cart = service.cart(CART, ANN)
    assert (answer.version, cart.version) == (4, 4)
    assert [(line.product_id, line.quantity) for line in cart.lines] == [("soap", 2), ("tea", 1)]
    left = service.history(GUESTS, GUEST)
    assert not service.cart(GUESTS, GUEST).lines
    assert {each.metadata.get("merged_into") for each in left[3:]} == {CART}
    assert service.ask(Ask(CART, Undo(), ANN)).notes["undone"] == "QuantityChanged"
    assert [line.product_id for line in service.cart(CART, ANN).lines] == ["soap"]


def test_a_guests_cart_may_become_a_users_first(service: CartService) -> None:
    """The user had no cart: the target is new and theirs."""
    service.ask(Ask(GUESTS, SOAP, GUEST))
    service.merge(MergeAsk(CART, GUESTS, "sum", ANN, GUEST))
    assert service.cart(CART, ANN).user_id == "ann"


@pytest.mark.parametrize("guest", [None, BEN])
def test_another_persons_cart_is_never_merged(service: CartService, guest: Who | None) -> None:
    """Without the guest's own word there is no such cart, and nothing changes."""
    service.ask(Ask(GUESTS, SOAP, GUEST))
    assert refusal(service, MergeAsk(CART, GUESTS, "sum", ANN, guest)) == "unknown_cart"
    assert service.cart(GUESTS, GUEST).version == 1


def test_nothing_is_merged_into_another_persons_cart(service: CartService) -> None:
    """A guest cannot push lines into somebody's cart."""
    service.ask(Ask(CART, SOAP, ANN))
    service.ask(Ask(GUESTS, TEA, GUEST))
    assert refusal(service, MergeAsk(CART, GUESTS, "sum", GUEST)) == "unknown_cart"


def test_a_repeated_merge_adds_nothing(service: CartService) -> None:
    """With a key it is the first answer; without one the guest's cart is empty already."""
    service.ask(Ask(GUESTS, SOAP, GUEST))
    ask = MergeAsk(CART, GUESTS, "sum", ANN, GUEST, key="k")
    first = service.merge(ask)
    service.ask(Ask(CART, TEA, ANN))
    assert service.merge(ask).version == first.version
    assert service.merge(MergeAsk(CART, GUESTS, "sum", ANN, GUEST)).version == 2
    assert [line.quantity for line in service.cart(CART, ANN).lines] == [1, 1]


def test_a_merge_is_decided_again_when_a_cart_moves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival adds to the guest's cart at that moment: its line comes along, and none is lost."""
    service = CartService(store)
    service.ask(Ask(GUESTS, SOAP, GUEST))
    append_many = store.append_many

    def beaten(events: Any) -> Any:
        monkeypatch.setattr(store, "append_many", append_many)
        store.append(GUESTS, [ItemAdded("late", "Late", 1, 5, "USD")], "guest-1", 1)
        return append_many(events)

    monkeypatch.setattr(store, "append_many", beaten)
    service.merge(MergeAsk(CART, GUESTS, "sum", ANN, GUEST))
    assert {line.product_id for line in service.cart(CART, ANN).lines} == {"soap", "late"}
    assert not service.cart(GUESTS, GUEST).lines


def test_services_that_race_for_one_cart_lose_nothing(tmp_path: Path) -> None:
    """Eight threads, each with a service and a store of its own: every acknowledged add is in the cart."""
    path = tmp_path / "store"
    CartStore.open(path).close()
    added: list[str] = []

    def shop(number: int) -> None:
        with CartStore.open(path) as store:
            service = CartService(store)
            for item in range(10):
                product = f"{number}-{item}"
                try:
                    service.ask(Ask(CART, AddItem(product, "x", 5), ANN))
                except ConcurrencyError:
                    continue
                added.append(product)

    threads = [threading.Thread(target=shop, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with CartStore.open(path) as store:
        history = store.read(CART)
        assert {line.product_id for line in store.cart(CART).lines} == set(added)
    assert all(later.version == earlier.version + 1 for earlier, later in pairwise(history))
    assert not any(isinstance(each.event, ItemRemoved) for each in history)
