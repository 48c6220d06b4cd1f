"""Every call about carts: what goes in, what comes out, and that nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from httpx import Client, Response

from cart_core.api import Settings, create_app
from cart_core.ledger import check_proof
from cart_core.store import CartStore, MemoryStore
from tests.cart_core.api.running import running

SOAP = {"productId": "soap", "productName": "Soap", "priceCents": 2900}
TEA = {"productId": "tea", "productName": "Tea", "quantity": 2, "priceCents": 500, "currency": "USD"}
Headers = Callable[..., dict[str, str]]


def problem(response: Response) -> tuple[int, str]:
    """Status and code of a problem document, which names itself as one."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["requestId"] == response.headers["x-request-id"]
    return response.status_code, document["code"]


def test_a_cart_from_the_first_add_to_the_order(client: Client, cart: str) -> None:
    """Each command answers with the cart's version, which is its ETag too."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("add", SOAP),
        ("add", TEA),
        ("quantity", {"productId": "tea", "quantity": 3}),
        ("coupon", {"couponCode": "TEN", "discountType": "percentage", "discountValue": 10}),
        ("coupon/remove", {"couponCode": "TEN"}),
        ("coupon", {"couponCode": "OFF", "discountType": "fixed", "discountValue": 400}),
        ("remove", {"productId": "soap"}),
        ("checkout/start", {}),
        ("checkout/complete", {"orderId": "o1", "totalCents": 1100}),
    ]
    for version, (call, body) in enumerate(calls, 1):
        answer = client.post(f"{cart}/{call}", json=body)
        assert (answer.status_code, answer.json()) == (200, {"version": version})
        assert answer.headers["etag"] == f'"{version}"'
    shown = client.get(cart).json()
    assert (shown["status"], shown["orderId"], shown["chargedTotalCents"]) == ("checked_out", "o1", 1100)


def test_a_cart_is_shown_with_its_totals(client: Client, cart: str) -> None:
    """Lines, coupons, totals, currency, status and version, in camelCase."""
    client.post(f"{cart}/add", json={**SOAP, "quantity": 2, "imageUrl": "https://shop.example/soap.png"})
    client.post(f"{cart}/coupon", json={"couponCode": "A", "discountType": "percentage", "discountValue": 12.5})
    answer = client.get(cart)
    assert answer.headers["etag"] == '"2"'
    assert answer.json() == {
        "cartId": cart.rpartition("/")[2],
        "userId": "ann",
        "status": "active",
        "version": 2,
        "items": [
            {
                "productId": "soap",
                "productName": "Soap",
                "quantity": 2,
                "pricePerUnitCents": 2900,
                "originalPriceCents": 2900,
                "addedAt": "2026-01-01T12:00:00Z",
                "currency": "USD",
                "imageUrl": "https://shop.example/soap.png",
            }
        ],
        "coupons": [{"code": "A", "discountType": "percentage", "discountValue": 12.5}],
        "currency": "USD",
        "subtotalCents": 5800,
        "discountCents": 725,
        "totalCents": 5075,
        "firstEventAt": "2026-01-01T12:00:00Z",
        "lastEventAt": "2026-01-01T12:00:00Z",
        "lastActivityAt": "2026-01-01T12:00:00Z",
        "checkoutStartedAt": None,
        "orderId": None,
        "chargedTotalCents": None,
    }


def test_a_cart_is_shown_as_it_was(client: Client, cart: str, clock: Any) -> None:
    """By version, and by a moment in any zone, whose plus sign may have been written plainly."""
    client.post(f"{cart}/add", json=SOAP)
    clock.advance(minutes=1)
    client.post(f"{cart}/add", json=TEA)
    for query in (
        "version=1",
        "at=2026-01-01T12:00:00Z",
        "at=2026-01-01T13:00:00%2B01:00",
        "at=2026-01-01T13:00:00+01:00",
    ):
        assert [item["productId"] for item in client.get(f"{cart}?{query}").json()["items"]] == ["soap"]


@pytest.mark.parametrize("query", ["version=-1", "version=x", "at=noon", "at=2026-01-01T12:00:00", "version=1.5"])
def test_a_past_that_is_none_is_refused(client: Client, cart: str, query: str) -> None:
    """A version is a whole number, a moment has a zone."""
    client.post(f"{cart}/add", json=SOAP)
    assert problem(client.get(f"{cart}?{query}")) == (422, "invalid_request")


@pytest.mark.parametrize(
    "path", ["{cart}?versoin=1", "{cart}?version=1&x=2", "/v1/carts?stauts=active", "/health?a", "{cart}?="]
)
def test_a_query_that_no_call_knows_is_refused(client: Client, cart: str, path: str) -> None:
    """A misspelt one is not passed over in silence."""
    client.post(f"{cart}/add", json=SOAP)
    answer = client.get(path.format(cart=cart))
    assert problem(answer) == (422, "invalid_request")


def test_a_cart_that_the_caller_has_is_not_sent_again(client: Client, cart: str) -> None:
    """If-None-Match with the current version gives 304, with an older one the cart."""
    client.post(f"{cart}/add", json=SOAP)
    assert client.get(cart, headers={"If-None-Match": '"1"'}).status_code == 304
    assert client.get(cart, headers={"If-None-Match": '"0"'}).status_code == 200


def test_undo_and_redo_tell_what_they_did(client: Client, cart: str) -> None:
    """Type and version; nothing to take back is a conflict."""
    client.post(f"{cart}/add", json=SOAP)
    assert client.post(f"{cart}/undo").json() == {"undone": "ItemAdded", "version": 2}
    assert problem(client.post(f"{cart}/undo")) == (409, "nothing_to_undo")
    assert client.post(f"{cart}/redo", json={}).json() == {"redone": "ItemAdded", "version": 3}
    assert problem(client.post(f"{cart}/redo")) == (409, "nothing_to_redo")


def test_another_total_is_flagged(client: Client, cart: str) -> None:
    """Accepted, and told beside the cart's own total."""
    client.post(f"{cart}/add", json=SOAP)
    client.post(f"{cart}/checkout/start")
    answer = client.post(f"{cart}/checkout/complete", json={"orderId": "o1", "totalCents": 3000})
    assert answer.json() == {"totalMismatch": True, "projectedTotalCents": 2900, "version": 3}


@pytest.mark.parametrize(
    ("call", "body", "refusal"),
    [
        ("add", {**SOAP, "quantity": 0}, (422, "invalid_quantity")),
        ("add", {**SOAP, "quantity": -2}, (422, "invalid_quantity")),
        ("add", {**SOAP, "quantity": 1.5}, (422, "invalid_quantity")),
        ("add", {**SOAP, "quantity": "3"}, (422, "invalid_quantity")),
        ("add", {**SOAP, "quantity": True}, (422, "invalid_quantity")),
        ("add", {**SOAP, "quantity": 1000}, (422, "too_many")),
        ("add", {**SOAP, "priceCents": 0}, (422, "invalid_price")),
        ("add", {**SOAP, "priceCents": -500}, (422, "invalid_price")),
        ("add", {"productId": "soap", "productName": "Soap"}, (422, "invalid_price")),
        ("add", {**SOAP, "currency": "EURO"}, (422, "invalid_currency")),
        ("add", {**SOAP, "productId": "so\x00ap"}, (422, "invalid_product_id")),
        ("add", {**SOAP, "imageUrl": "javascript:alert(1)"}, (422, "invalid_image_url")),
        ("add", {**SOAP, "price": 1}, (422, "invalid_request")),
        ("add", [], (422, "invalid_request")),
        ("add", {**TEA, "currency": "JPY"}, (409, "second_currency")),
        ("remove", {"productId": "tea"}, (409, "unknown_product")),
        ("quantity", {"productId": "tea", "quantity": 1}, (409, "unknown_product")),
        ("coupon", {"couponCode": "B", "discountType": "percentage", "discountValue": 150}, (422, "invalid_discount")),
        ("coupon", {"couponCode": "B", "discountType": "half", "discountValue": 5}, (422, "invalid_discount")),
        ("coupon", {"couponCode": "A", "discountType": "fixed", "discountValue": 5}, (409, "coupon_already_applied")),
        ("coupon/remove", {"couponCode": "B"}, (409, "unknown_coupon")),
        ("coupon/remove", {"couponCode": "A", "reason": "bored"}, (422, "invalid_reason")),
        ("checkout/complete", {"orderId": "o", "totalCents": 1}, (409, "checkout_not_started")),
        ("checkout/complete", {"orderId": "o", "totalCents": -1}, (422, "invalid_total")),
        ("merge", {"fromCartId": "x"}, (422, "invalid_request")),
        ("merge", {"fromCartId": str(uuid4()), "strategy": "newest"}, (422, "invalid_strategy")),
        ("merge", {"fromCartId": str(uuid4())}, (404, "unknown_cart")),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    client: Client, cart: str, call: str, body: Any, refusal: tuple[int, str]
) -> None:
    """And nothing is written."""
    client.post(f"{cart}/add", json=SOAP)
    client.post(f"{cart}/coupon", json={"couponCode": "A", "discountType": "fixed", "discountValue": 5})
    assert problem(client.post(f"{cart}/{call}", json=body)) == refusal
    assert client.get(cart).json()["version"] == 2


def test_a_stale_version_is_a_failed_precondition(client: Client, cart: str) -> None:
    """If-Match carries out a command on the version that the caller has seen, and on no other."""
    assert client.post(f"{cart}/add", json=SOAP, headers={"If-Match": '"0"'}).status_code == 200
    stale = client.post(f"{cart}/add", json=TEA, headers={"If-Match": '"0"'})
    assert problem(stale) == (412, "stale_version")
    assert stale.json()["version"] == 1
    assert client.post(f"{cart}/add", json=TEA, headers={"If-Match": '"1"'}).json() == {"version": 2}
    assert client.post(f"{cart}/undo", headers={"If-Match": "*"}).json()["version"] == 3
    assert problem(client.post(f"{cart}/undo", headers={"If-Match": "three"})) == (422, "invalid_request")


def test_a_retry_gets_the_first_answer(client: Client, cart: str) -> None:
    """Under one Idempotency-Key a request is carried out once, and the key serves no other."""
    key = {"Idempotency-Key": "k1"}
    for _ in range(2):
        assert client.post(f"{cart}/add", json=SOAP, headers=key).json() == {"version": 1}
    assert problem(client.post(f"{cart}/add", json=TEA, headers=key)) == (422, "idempotency_key_reused")
    assert problem(client.post(f"{cart}/add", json=TEA, headers={"Idempotency-Key": "k" * 256})) == (
        422,
        "invalid_request",
    )
    client.post(f"{cart}/checkout/start")
    for _ in range(2):
        answer = client.post(
            f"{cart}/checkout/complete", json={"orderId": "o", "totalCents": 1}, headers={"Idempotency-Key": "k2"}
        )
        assert answer.json() == {"totalMismatch": True, "projectedTotalCents": 2900, "version": 3}


def test_others_are_told_that_there_is_no_such_cart(client: Client, cart: str, as_user: Headers) -> None:
    """Whatever they call; unknown carts answer the same."""
    client.post(f"{cart}/add", json=SOAP)
    ben = as_user("ben")
    for path in (cart, f"{cart}/events", f"{cart}/price-history/soap", f"{cart}/evidence/soap", f"{cart}?version=1"):
        assert problem(client.get(path, headers=ben)) == (404, "unknown_cart")
    for call in ("undo", "redo", "checkout/start"):
        assert problem(client.post(f"{cart}/{call}", headers=ben)) == (404, "unknown_cart")
    assert problem(client.post(f"{cart}/add", json=TEA, headers=ben)) == (404, "unknown_cart")
    assert problem(client.get(f"/v1/cart/{uuid4()}")) == (404, "unknown_cart")
    assert client.get(cart).json()["version"] == 1


def test_support_may_read_any_cart_and_change_none(client: Client, cart: str, as_user: Headers) -> None:
    """The scope ``support`` shows what a shopper sees."""
    client.post(f"{cart}/add", json=SOAP)
    support = as_user("sue", scope="openid support")
    assert client.get(cart, headers=support).json()["userId"] == "ann"
    assert client.get(f"{cart}/price-history/soap", headers=support).status_code == 200
    assert problem(client.post(f"{cart}/undo", headers=support)) == (404, "unknown_cart")


def test_every_event_can_be_read(client: Client, cart: str) -> None:
    """As envelopes, by version."""
    client.post(f"{cart}/add", json=SOAP)
    client.post(f"{cart}/undo")
    events = client.get(f"{cart}/events").json()["events"]
    assert [(each["version"], each["event"]["type"]) for each in events] == [(1, "ItemAdded"), (2, "ItemRemoved")]
    assert events[1]["metadata"]["undoes"] == events[0]["metadata"]["command_id"]


def test_a_price_history_tells_every_price(client: Client, cart: str) -> None:
    """Of a product that was re-added at another price."""
    client.post(f"{cart}/add", json=SOAP)
    client.post(f"{cart}/add", json={**SOAP, "priceCents": 3900})
    document = client.get(f"{cart}/price-history/soap").json()
    assert document["productId"] == "soap"
    assert [(each["type"], each["priceCents"]) for each in document["priceHistory"]] == [
        ("ItemAdded", 2900),
        ("PriceUpdated", 3900),
    ]


def test_product_ids_may_hold_anything(client: Client, cart: str) -> None:
    """An id with a percent sign or letters of other scripts is found again in a path."""
    product = "100% Seife/Öl"
    client.post(f"{cart}/add", json={**SOAP, "productId": "100% Seife Öl"})
    assert client.get(f"{cart}/price-history/100%25%20Seife%20%C3%96l").json()["priceHistory"][0]["priceCents"] == 2900
    assert "/" in product


def test_the_evidence_is_given_with_its_proofs(tmp_path: Path, cart: str, clock: Any) -> None:
    """What happened, and a proof for every event that is sealed; none for a product that was never there."""
    store = CartStore.open(tmp_path / "store", clock=clock)
    with running(create_app(Settings(Path("unused")), store)) as client:
        client.post(f"{cart}/add", json=SOAP)
        store.seal()
        client.post(f"{cart}/add", json={**SOAP, "priceCents": 3900})
        document = client.get(f"{cart}/evidence/soap").json()
        assert document["sentences"][1].endswith("changed from 29.00 USD to 39.00 USD (re-added) (event 3).")
        assert [check_proof(each["proof"]) for each in document["events"] if each["proof"]] == [[]]
        assert [each["proof"] is None for each in document["events"]] == [False, True, True]
        assert problem(client.get(f"{cart}/evidence/tea")) == (409, "unknown_product")


def test_a_guests_cart_is_merged_at_log_in(client: Client, cart: str, as_user: Headers, token: Any) -> None:
    """With the guest's own token, or by the shop's service; never without."""
    guests = f"/v1/cart/{uuid4()}"
    client.post(f"{guests}/add", json=TEA, headers=as_user("guest-1"))
    body = {"fromCartId": guests.rpartition("/")[2], "strategy": "sum"}
    assert problem(client.post(f"{cart}/merge", json=body)) == (404, "unknown_cart")
    forged = {**body, "guestToken": token("guest-1", key="another secret that is just as long as ours")}
    assert problem(client.post(f"{cart}/merge", json=forged)) == (403, "invalid_guest_token")
    other = {**body, "guestToken": token("guest-2")}
    assert problem(client.post(f"{cart}/merge", json=other)) == (404, "unknown_cart")
    answer = client.post(f"{cart}/merge", json={**body, "guestToken": token("guest-1")})
    assert (answer.status_code, answer.json()) == (200, {"version": 1})
    assert client.get(guests, headers=as_user("guest-1")).json()["items"] == []
    assert client.get(cart).json()["items"][0]["quantity"] == 2
    service = as_user("shop", scope="service")
    assert client.post(f"{cart}/merge", json=body, headers=service).json() == {"version": 1}


def test_a_browser_that_lost_everything_finds_its_carts(
    client: Client, cart: str, as_user: Headers, clock: Any
) -> None:
    """The token's user's carts, the latest touched first, of a status."""
    for path, who in ((cart, "ann"), (f"/v1/cart/{uuid4()}", "ann"), (f"/v1/cart/{uuid4()}", "ben")):
        client.post(f"{path}/add", json=SOAP, headers=as_user(who))
        clock.advance(minutes=1)
    client.post(f"{cart}/checkout/start")
    carts = client.get("/v1/carts").json()["carts"]
    assert [f"/v1/cart/{each['cartId']}" == cart for each in carts] == [True, False]
    assert len(client.get("/v1/carts?status=active&limit=1").json()["carts"]) == 1
    assert client.get("/v1/carts?status=checked_out").json() == {"carts": []}
    assert problem(client.get("/v1/carts?status=lost")) == (422, "invalid_request")


def test_a_price_change_reaches_every_open_cart(client: Client, as_user: Headers, store: MemoryStore) -> None:
    """By the shop's service alone."""
    for number in range(3):
        client.post(f"/v1/cart/{uuid4()}/add", json=SOAP, headers=as_user(f"u{number}"))
    body = {"productId": "soap", "priceCents": 3900, "currency": "usd", "reason": "supplier"}
    assert problem(client.post("/v1/prices", json=body)) == (403, "scope_needed")
    service = as_user("shop", scope="service")
    assert client.post("/v1/prices", json=body, headers=service).json() == {"carts": 3}
    assert client.post("/v1/prices", json=body, headers=service).json() == {"carts": 0}
    for change in ({"priceCents": -1}, {"currency": "EURO"}, {"productId": ""}):
        assert client.post("/v1/prices", json={**body, **change}, headers=service).status_code == 422
    assert store.position() == 6


def test_health_tells_the_stores_position(client: Client, cart: str) -> None:
    """Without a token, for those who watch over servers."""
    client.post(f"{cart}/add", json=SOAP)
    answer = client.get("/health", headers={"Authorization": ""})
    assert answer.json() == {"status": "ok", "position": 1}


def test_metrics_count_requests_by_route(client: Client, cart: str) -> None:
    """By the route's pattern and the status, never by cart or user."""
    client.post(f"{cart}/add", json=SOAP)
    client.post(f"{cart}/undo")
    client.post(f"{cart}/undo")
    text = client.get("/metrics").text
    assert 'cart_requests_total{method="POST",route="/v1/cart/{cartId}/add",status="200"} 1.0' in text
    assert 'cart_requests_total{method="POST",route="/v1/cart/{cartId}/undo",status="409"} 1.0' in text
    assert 'cart_refusals_total{code="nothing_to_undo"} 1.0' in text
    assert "cart_store_position 2.0" in text
    assert cart.rpartition("/")[2] not in text
    assert "ann" not in text


def test_a_catalogue_decides_what_things_cost(tmp_path: Path, store: MemoryStore, cart: str, clock: Any) -> None:
    """A shopper's price that is not the catalogue's is refused with both."""
    prices = tmp_path / "prices.csv"
    later = (clock.now + timedelta(hours=1)).isoformat()
    prices.write_text(f"product_id,price_cents,currency,valid_from\nsoap,2900,USD,\nsoap,3900,USD,{later}\n")
    with running(create_app(Settings(Path("unused"), prices=prices), store)) as client:
        refused = client.post(f"{cart}/add", json={**SOAP, "priceCents": 1})
        assert problem(refused) == (409, "price_mismatch")
        assert (refused.json()["offeredCents"], refused.json()["catalogueCents"]) == (1, 2900)
        assert problem(client.post(f"{cart}/add", json=TEA)) == (409, "not_in_catalogue")
        assert client.post(f"{cart}/add", json=SOAP).status_code == 200
        clock.advance(hours=1)
        assert problem(client.post(f"{cart}/add", json=SOAP)) == (409, "price_mismatch")
