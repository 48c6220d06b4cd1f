"""The client: typed answers, named refusals, and commands that are carried out once however often they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from cart_core.api import Settings, create_app
from cart_core.client import CartClient, Charge, Step, state_from_json
from cart_core.errors import Refused, StoreBusy, StoreError
from cart_core.store import MemoryStore
from tests.cart_core.api.running import LoopTransport, looping


@pytest.fixture
def transport() -> Iterator[tuple[LoopTransport, MemoryStore]]:
    """The way to a server without tokens, and its store."""
    store = MemoryStore()
    with looping(create_app(Settings(Path("unused")), store)) as found:
        yield found, store


@pytest.fixture
def client(transport: tuple[LoopTransport, MemoryStore]) -> Iterator[CartClient]:
    """A client as the user ``ann``."""
    with CartClient("http://localhost", user="ann", transport=transport[0]) as client:
        yield client


CART = str(uuid4())


def test_every_call_has_its_method(client: CartClient, transport: tuple[LoopTransport, MemoryStore]) -> None:
    """A cart's life by the client, and the state it gives is the store's."""
    assert client.add(CART, "soap", "Soap", 2900, 2, image_url="https://shop.example/s.png") == 1
    assert client.add(CART, "tea", "Tea", 500, currency="USD", if_version=1) == 2
    assert client.set_quantity(CART, "tea", 3) == 3
    assert client.apply_coupon(CART, "TEN", "percentage", 12.5) == 4
    assert client.remove_coupon(CART, "TEN") == 5
    assert client.undo(CART) == Step("CouponRemoved", 6)
    assert client.redo(CART) == Step("CouponRemoved", 7)
    assert client.remove(CART, "tea") == 8
    assert client.change_price("soap", 3900, "USD", "supplier") == 1
    assert [row["priceCents"] for row in client.price_history(CART, "soap")] == [2900, 3900]
    other = str(uuid4())
    client.add(other, "oil", "Oil", 100)
    assert client.merge(CART, other, "keep_target") == 10
    assert client.start_checkout(CART) == 11
    assert client.complete_checkout(CART, "o1", 1) == Charge(12, 7900)
    store = transport[1]
    assert client.cart(CART) == store.cart(CART)
    assert client.cart(CART, version=1) == store.cart(CART, version=1)
    assert client.cart(CART, at="2020-01-01T00:00:00Z").version == 0
    assert client.carts("checked_out") == [store.cart(CART)]
    assert [each.event for each in client.events(CART)] == [each.event for each in store.read(CART)]
    assert client.evidence(CART, "soap")["order"]["orderId"] == "o1"
    assert client.position() == store.position()
    assert Charge(1).total_mismatch is False
    assert Charge(1, 5).total_mismatch is True


def test_a_refusal_has_its_name_and_details(client: CartClient) -> None:
    """As the server named it."""
    cart = str(uuid4())
    with pytest.raises(Refused, match="holds no product") as caught:
        client.remove(cart, "soap")
    assert caught.value.code == "unknown_product"
    client.add(cart, "soap", "Soap", 2900)
    with pytest.raises(Refused) as caught:
        client.add(cart, "soap", "Soap", 2900, if_version=7)
    assert (caught.value.code, caught.value.details["version"]) == ("stale_version", 1)


class Unlucky(httpx.BaseTransport):
    """A network that loses answers, or a server that is busy, a few times."""

    def __init__(self, inner: httpx.BaseTransport, mishaps: list[int | None]) -> None:
        self._inner = inner
        self._mishaps = mishaps

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry the request out, and sometimes lose what was answered; or do not even carry it out."""
        mishap = self._mishaps.pop(0) if self._mishaps else 0
        if mishap:
            return httpx.Response(mishap, json={"detail": "told"}, request=request)
        answer = self._inner.handle_request(request)
        if mishap is None:
            raise httpx.ReadError("the answer was lost", request=request)
        return answer


def unlucky(transport: LoopTransport, *mishaps: int | None, pauses: list[float] | None = None) -> CartClient:
    """A client behind such a network, which notes its pauses instead of waiting."""
    noted = [] if pauses is None else pauses
    return CartClient("http://localhost", transport=Unlucky(transport, list(mishaps)), pause=noted.append)


def test_a_lost_answer_is_no_second_command(transport: tuple[LoopTransport, MemoryStore]) -> None:
    """The add was carried out, its answer lost, and asked again: one event, one answer."""
    pauses: list[float] = []
    with unlucky(transport[0], None, 503, None, pauses=pauses) as client:
        assert client.add(CART, "soap", "Soap", 2900) == 1
    assert transport[1].position() == 1
    assert pauses == [0.1, 0.2, 0.4]


@pytest.mark.parametrize(("mishap", "error"), [(None, StoreError), (503, StoreBusy)])
def test_a_server_that_stays_away_is_given_up(
    transport: tuple[LoopTransport, MemoryStore], mishap: int | None, error: type[Exception]
) -> None:
    """After four tries."""
    with unlucky(transport[0], *[mishap] * 4) as client, pytest.raises(error):
        client.add(CART, "soap", "Soap", 2900)


def test_a_server_that_fails_is_told_at_once(transport: tuple[LoopTransport, MemoryStore]) -> None:
    """A failure is not tried again: nobody knows what it would do."""
    pauses: list[float] = []
    with unlucky(transport[0], 500, pauses=pauses) as client, pytest.raises(StoreError, match="told"):
        client.position()
    assert pauses == []


def test_a_state_survives_its_json(transport: tuple[LoopTransport, MemoryStore]) -> None:
    """``state_from_json`` takes back what ``to_json`` made."""
    state = transport[1].cart(CART)
    assert state_from_json(state.to_json()) == state
