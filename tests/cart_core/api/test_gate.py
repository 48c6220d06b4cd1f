"""What every request passes: limits, names, logs, and errors that give nothing away."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cart_core.api import Settings, create_app, gate
from cart_core.errors import StoreBusy, StoreError, StoreUnreachable
from cart_core.store import MemoryStore
from tests.cart_core.api.conftest import TRUST
from tests.cart_core.api.test_carts import SOAP, problem

JSON = {"Content-Type": "application/json"}


def test_a_body_over_64_kib_is_refused(client: httpx.Client, cart: str) -> None:
    """By its announced length, or once it has grown too large."""
    large = json.dumps({**SOAP, "productName": "x" * 65_536}).encode()
    assert problem(client.post(f"{cart}/add", content=large, headers=JSON)) == (413, "body_too_large")

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    assert problem(client.post(f"{cart}/add", content=pieces(), headers=JSON)) == (413, "body_too_large")


def test_a_body_in_pieces_is_one_body(client: httpx.Client, cart: str) -> None:
    """However it was cut."""
    text = json.dumps(SOAP).encode()
    answer = client.post(f"{cart}/add", content=(text[place : place + 1] for place in range(len(text))), headers=JSON)
    assert answer.json() == {"version": 1}


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/xml"])
@pytest.mark.parametrize("call", ["add", "coupon", "undo"])
def test_a_body_of_another_kind_is_refused(client: httpx.Client, cart: str, kind: str, call: str) -> None:
    """So that no form of another site can be a command."""
    answer = client.post(f"{cart}/{call}", content=json.dumps(SOAP), headers={"Content-Type": kind})
    assert problem(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("call", ["add", "coupon"])
@pytest.mark.parametrize("text", [b"{", b"", b"\xff\xfe", b'{"a": NaN', b"[" * 10_000, b'{"productId": "\\ud800"'])
def test_a_body_that_is_no_json_is_refused(client: httpx.Client, cart: str, call: str, text: bytes) -> None:
    """By the hot calls and by the others."""
    answer = client.post(f"{cart}/{call}", content=text, headers=JSON)
    assert answer.status_code in (400, 422)
    assert problem(answer)[1] in ("malformed_json", "malformed_request", "invalid_request")


def test_a_body_that_never_arrives_is_given_up(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is not held for ever."""
    monkeypatch.setattr(gate, "BODY_TIMEOUT_S", 0.0)
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/cart/{uuid4()}/add",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", b"5")],
    }
    asyncio.run(create_app(Settings(Path("unused")), store)(scope, never, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "too_slow"


def test_a_request_id_is_kept_or_given(client: httpx.Client) -> None:
    """One that a proxy gave, if it is one; else a new one."""
    assert client.get("/health", headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 65, "<script>", ""):
        given = client.get("/health", headers={"X-Request-ID": odd}).headers["x-request-id"]
        assert given != odd
        assert len(given) == 32


def test_the_log_tells_what_was_asked_and_of_nobody(
    client: httpx.Client, cart: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One JSON object for each request: route, status, time; no cart, user, product or address."""
    with caplog.at_level(logging.INFO, logger="cart_core.api.access"):
        client.post(f"{cart}/add", json=SOAP, headers={"X-Request-ID": "r1"})
        client.get(f"{cart}/price-history/secret-product")
        client.get("/nowhere/ann")
    entries = [json.loads(record.message) for record in caplog.records]
    assert [(each["route"], each["status"]) for each in entries] == [
        ("/v1/cart/{cartId}/add", 200),
        ("/v1/cart/{cartId}/price-history/{productId}", 200),
        ("other", 404),
    ]
    assert entries[0]["requestId"] == "r1"
    assert set(entries[0]) == {"requestId", "method", "route", "status", "ms"}
    for word in (cart.rpartition("/")[2], "ann", "secret-product"):
        assert word not in caplog.text


def test_an_unforeseen_error_gives_nothing_away(
    client: httpx.Client,
    cart: str,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has the whole story, the caller a number to ask for."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the password is 12345")

    monkeypatch.setattr(store, "append_group", fail)
    for call in ("add", "coupon"):
        body = SOAP if call == "add" else {"couponCode": "A", "discountType": "fixed", "discountValue": 5}
        answer = client.post(f"{cart}/{call}", json=body)
        assert problem(answer) == (500, "failed")
        assert "password" not in answer.text
    assert "the password is 12345" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreBusy("locked"), 503),
        (StoreUnreachable("postgresql://secret.example is away"), 503),
        (StoreError("/secret/path is full"), 500),
    ],
)
def test_a_store_that_cannot_is_told_apart(
    client: httpx.Client, cart: str, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """A store that is busy or away is worth another try; its paths are nobody's business."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(store, "append_group", fail)
    answer = client.post(f"{cart}/add", json=SOAP)
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "secret" not in answer.text


def test_unknown_paths_and_methods_are_told(client: httpx.Client, cart: str) -> None:
    """As problems, with the methods that there are."""
    assert problem(client.get("/v2/cart")) == (404, "not_found")
    assert problem(client.get("/v1/cart/../../etc/passwd")) == (404, "not_found")
    answer = client.delete(f"{cart}/add")
    assert problem(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert problem(client.post(f"{cart}/add/")) == (404, "not_found")


@pytest.mark.parametrize("header", [None, "", "Basic YW5uOnB3", "Bearer", "Bearer ", "ann"])
@pytest.mark.parametrize("call", ["add", "coupon", "undo"])
def test_a_call_without_a_token_is_refused(client: httpx.Client, cart: str, header: str | None, call: str) -> None:
    """And says how to bring one."""
    client.headers.pop("Authorization")
    headers = {} if header is None else {"Authorization": header}
    body = SOAP if call == "add" else {"couponCode": "A", "discountType": "fixed", "discountValue": 5}
    answer = client.post(f"{cart}/{call}", json=body if call != "undo" else None, headers=headers)
    assert problem(answer) == (401, "missing_token")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_open_server_believes_whoever_is_there(open_client: httpx.Client, cart: str) -> None:
    """A user may be named; everybody may do everything."""
    assert open_client.post(f"{cart}/add", json=SOAP, headers={"X-User": "ann"}).json() == {"version": 1}
    assert open_client.get(cart).json()["userId"] == "ann"
    assert len(open_client.get("/v1/carts", headers={"X-User": "ann"}).json()["carts"]) == 1
    assert open_client.get("/v1/carts").json() == {"carts": []}


@pytest.mark.parametrize("host", ["shop.example", "127.0.0.1.evil.example", "evil.example:8000", ""])
def test_an_open_server_answers_to_loopback_names_only(open_client: httpx.Client, host: str) -> None:
    """A page that a browser was led to under another name cannot give commands."""
    assert problem(open_client.get("/health", headers={"Host": host})) == (403, "wrong_host")
    assert open_client.get("/health", headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert open_client.get("/health", headers={"Host": "[::1]:8000"}).status_code == 200


def test_answers_are_for_the_caller_alone(client: httpx.Client, cart: str) -> None:
    """No cache on the way may keep a cart, and no browser guesses its kind."""
    answer = client.post(f"{cart}/add", json=SOAP)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_tokens_do_not_depend_on_the_host(client: httpx.Client, as_user: Callable[..., dict[str, str]]) -> None:
    """Behind a proxy the server has whatever name the shop gives it."""
    assert client.get("/v1/carts", headers={**as_user("ann"), "Host": "api.shop.example"}).status_code == 200
    assert TRUST.secret is not None
