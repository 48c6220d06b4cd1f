"""How the system this one grew from behaved, fact by fact, and what a shopper gets here instead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cart_core.commands import MarkAbandoned
from cart_core.events import CartAbandoned, ItemAdded, ItemRemoved, PriceUpdated, QuantityChanged
from cart_core.service import SHOP, Ask, CartService
from cart_core.store import MemoryStore
from tests.cart_core.api.test_carts import SOAP, problem

COUPON = {"couponCode": "TEN", "discountType": "percentage", "discountValue": 10}


def items(client: httpx.Client, cart: str) -> list[tuple[str, int, int, int]]:
    """Product, quantity, price now and when added of each line."""
    return [
        (each["productId"], each["quantity"], each["pricePerUnitCents"], each["originalPriceCents"])
        for each in client.get(cart).json()["items"]
    ]


def post(client: httpx.Client, cart: str, *calls: tuple[str, Any]) -> None:
    """Make calls that must succeed."""
    for call, body in calls:
        assert client.post(f"{cart}/{call}", json=body).status_code == 200


def foreign(store: MemoryStore, cart: str, *events: Any) -> None:
    """Give the cart a history that another system wrote."""
    store.append(cart.rpartition("/")[2], list(events), "ann", 0)


def test_a_re_add_overwrote_the_line(client: httpx.Client, cart: str) -> None:
    """3 at 2900 and 2 at 3900 are 5, first at 2900; undo brings the 3 at 2900 back (there: 2 at 3900, then nothing)."""
    post(client, cart, ("add", {**SOAP, "quantity": 3}), ("add", {**SOAP, "quantity": 2, "priceCents": 3900}))
    assert items(client, cart) == [("soap", 5, 3900, 2900)]
    post(client, cart, ("undo", None))
    assert items(client, cart) == [("soap", 3, 2900, 2900)]


def test_undo_twice_toggled(client: httpx.Client, cart: str) -> None:
    """Add a, add b, undo, undo: an empty cart (there: both)."""
    post(client, cart, ("add", SOAP), ("add", {**SOAP, "productId": "tea"}), ("undo", None), ("undo", None))
    assert items(client, cart) == []


def test_undo_of_a_removal_lost_quantity_price_and_place(client: httpx.Client, cart: str, store: MemoryStore) -> None:
    """The line comes back whole, at its old place and age."""
    post(
        client,
        cart,
        ("add", SOAP),
        ("add", {**SOAP, "productId": "tea"}),
        ("quantity", {"productId": "soap", "quantity": 5}),
    )
    store.append(cart.rpartition("/")[2], [PriceUpdated("soap", 2900, 3900, "supplier")], "ann", 3)
    before = client.get(cart).json()["items"]
    post(client, cart, ("remove", {"productId": "soap"}), ("undo", None))
    assert client.get(cart).json()["items"] == before
    assert items(client, cart)[0] == ("soap", 5, 3900, 2900)


@pytest.mark.parametrize("told", [99, 0])
def test_undo_believed_the_old_quantity_of_an_event(
    client: httpx.Client, cart: str, store: MemoryStore, told: int
) -> None:
    """What the cart held before is what comes back (there: 99 units, or a line of 0)."""
    foreign(store, cart, ItemAdded("soap", "Soap", 2, 2900, "USD"), QuantityChanged("soap", told, 4))
    post(client, cart, ("undo", None))
    assert items(client, cart) == [("soap", 2, 2900, 2900)]


def test_coupons_could_not_be_undone_and_nothing_redone(client: httpx.Client, cart: str) -> None:
    """Both can here."""
    post(client, cart, ("add", SOAP), ("coupon", COUPON), ("undo", None))
    assert client.get(cart).json()["coupons"] == []
    post(client, cart, ("redo", None))
    assert client.get(cart).json()["discountCents"] == 290


def test_removing_an_unknown_product_said_200(client: httpx.Client, cart: str) -> None:
    """It is refused, and leaves nothing to undo."""
    assert problem(client.post(f"{cart}/remove", json={"productId": "soap"})) == (409, "unknown_product")
    assert problem(client.post(f"{cart}/undo")) == (409, "nothing_to_undo")


def test_a_paid_cart_could_be_changed(client: httpx.Client, cart: str, store: MemoryStore) -> None:
    """Adds, undo, removals, coupons, another checkout and abandonment are refused."""
    post(
        client,
        cart,
        ("add", SOAP),
        ("checkout/start", {}),
        ("checkout/complete", {"orderId": "o1", "totalCents": 2900}),
    )
    for call, body in (
        ("add", SOAP),
        ("undo", None),
        ("redo", None),
        ("remove", {"productId": "soap"}),
        ("quantity", {"productId": "soap", "quantity": 2}),
        ("coupon", COUPON),
        ("checkout/start", {}),
        ("checkout/complete", {"orderId": "o2", "totalCents": 1}),
    ):
        assert problem(client.post(f"{cart}/{call}", json=body)) == (409, "checked_out")
    outcome = CartService(store).ask_all([Ask(cart.rpartition("/")[2], MarkAbandoned(), SHOP)])[0]
    assert "checked out" in str(outcome)


def test_an_empty_cart_checked_out_at_any_total(client: httpx.Client, cart: str) -> None:
    """An empty cart is refused; a total that differs is flagged."""
    assert problem(client.post(f"{cart}/checkout/start")) == (409, "empty_cart")
    post(client, cart, ("add", SOAP), ("checkout/start", {}))
    assert (
        client.post(f"{cart}/checkout/complete", json={"orderId": "o", "totalCents": 1}).json()["totalMismatch"] is True
    )


def test_a_cart_once_abandoned_stayed_so(client: httpx.Client, cart: str, store: MemoryStore, clock: Any) -> None:
    """The shopper comes back and the cart is active again."""
    foreign(store, cart, ItemAdded("soap", "Soap", 1, 2900, "USD"), CartAbandoned(clock()))
    assert client.get(cart).json()["status"] == "abandoned"
    post(client, cart, ("add", SOAP))
    assert client.get(cart).json()["status"] == "active"


def test_yen_were_summed_with_dollars(client: httpx.Client, cart: str) -> None:
    """A second currency is refused, and the client's currency is kept (there: EUR was stored as USD)."""
    post(client, cart, ("add", {**SOAP, "currency": "EUR"}))
    assert client.get(cart).json()["currency"] == "EUR"
    assert problem(client.post(f"{cart}/add", json={**SOAP, "productId": "tea", "currency": "JPY"})) == (
        409,
        "second_currency",
    )


def test_a_missing_user_was_stored_as_null(client: httpx.Client, cart: str) -> None:
    """Nobody in particular may not add."""
    del client.headers["Authorization"]
    assert problem(client.post(f"{cart}/add", json=SOAP)) == (401, "missing_token")


@pytest.mark.parametrize(
    "cart_id", ["1", "not-a-uuid", "00000000-0000-4000-8000-00000000000g", "%00", "..", "' OR 1=1"]
)
@pytest.mark.parametrize("call", ["add", "undo"])
def test_a_bad_cart_id_was_a_500(client: httpx.Client, cart_id: str, call: str) -> None:
    """It is the caller's mistake."""
    answer = client.post(f"/v1/cart/{cart_id}/{call}", json=SOAP if call == "add" else None)
    assert problem(answer)[0] in (404, 422)


def test_a_nul_character_was_a_500(client: httpx.Client, cart: str) -> None:
    """It is refused by name."""
    assert problem(client.post(f"{cart}/add", json={**SOAP, "productName": "a\0b"})) == (422, "invalid_product_name")


def test_a_retried_add_was_a_second_event(client: httpx.Client, cart: str) -> None:
    """Under one key it is one."""
    for _ in range(3):
        assert client.post(f"{cart}/add", json=SOAP, headers={"Idempotency-Key": "k"}).json() == {"version": 1}
    assert items(client, cart) == [("soap", 1, 2900, 2900)]


@pytest.mark.parametrize(("version", "told"), [('"7"', (412, "stale_version")), ('"-1"', (422, "invalid_request"))])
def test_an_expected_version_left_a_gap(client: httpx.Client, cart: str, version: str, told: tuple[int, str]) -> None:
    """One ahead of the cart is stale, a negative one is none; versions stay 1, 2, 3."""
    post(client, cart, ("add", SOAP))
    assert problem(client.post(f"{cart}/add", json=SOAP, headers={"If-Match": version})) == told
    post(client, cart, ("add", SOAP))
    assert [each["version"] for each in client.get(f"{cart}/events").json()["events"]] == [1, 2]


def test_a_price_history_had_rows_without_a_price(client: httpx.Client, cart: str, store: MemoryStore) -> None:
    """A removal names the price it ended, every row its currency, and a change of an absent line is none."""
    foreign(
        store,
        cart,
        ItemAdded("soap", "Soap", 1, 2900, "EUR"),
        ItemRemoved("soap"),
        PriceUpdated("soap", 2900, 3900, "supplier"),
    )
    rows = client.get(f"{cart}/price-history/soap").json()["priceHistory"]
    assert [(each["type"], each["priceCents"], each["currency"]) for each in rows] == [
        ("ItemAdded", 2900, "EUR"),
        ("ItemRemoved", 2900, "EUR"),
    ]


def test_coupons_were_never_computed(client: httpx.Client, cart: str) -> None:
    """150 % is refused, a coupon counts once, and the total is what is left."""
    post(client, cart, ("add", SOAP), ("coupon", COUPON))
    assert problem(client.post(f"{cart}/coupon", json={**COUPON, "couponCode": "BIG", "discountValue": 150})) == (
        422,
        "invalid_discount",
    )
    assert problem(client.post(f"{cart}/coupon", json=COUPON)) == (409, "coupon_already_applied")
    shown = client.get(cart).json()
    assert (shown["subtotalCents"], shown["discountCents"], shown["totalCents"]) == (2900, 290, 2610)


def test_a_hot_cart_failed_most_of_its_callers(client: httpx.Client) -> None:
    """16 callers of one cart at once: every one succeeds, each at a version of its own (there: 86 % errors)."""
    cart = f"/v1/cart/{uuid4()}"

    def shop(number: int) -> list[int]:
        body = {**SOAP, "productId": f"p{number}"}
        return [client.post(f"{cart}/add", json=body).json()["version"] for _ in range(10)]

    with ThreadPoolExecutor(16) as pool:
        versions = [version for each in pool.map(shop, range(16)) for version in each]
    assert sorted(versions) == list(range(1, 161))
