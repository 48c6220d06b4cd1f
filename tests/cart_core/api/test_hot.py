"""The short way for hot calls, on a socket, answers as FastAPI's does, in every case."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.api import Settings, create_app, gate
from cart_core.store import MemoryStore
from tests.cart_core.api.conftest import TRUST
from tests.cart_core.api.running import running
from tests.cart_core.api.serving import serving
from tests.cart_core.api.test_carts import SOAP

Both = tuple[httpx.Client, httpx.Client]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """A server on a socket, with hot calls, and FastAPI alone, each over a store of its own, open to all."""
    with (
        serving(create_app(Settings(Path("unused")), MemoryStore())) as url,
        httpx.Client(base_url=url) as hot,
        running(create_app(Settings(Path("unused")), MemoryStore())) as plain,
    ):
        yield hot, plain


@pytest.fixture(scope="module")
def guarded() -> Iterator[Both]:
    """The same behind tokens."""
    with (
        serving(create_app(Settings(Path("unused"), trust=TRUST), MemoryStore())) as url,
        httpx.Client(base_url=url) as hot,
        running(create_app(Settings(Path("unused"), trust=TRUST), MemoryStore())) as plain,
    ):
        yield hot, plain


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """What of an answer must be equal: everything but the request's id and moments."""
    document = answer.json() if answer.content else {}
    document.pop("requestId", None)
    for name in ("firstEventAt", "lastEventAt", "lastActivityAt"):
        document.pop(name, None)
    for item in document.get("items", ()):
        item.pop("addedAt")
    if "errors" in document:  # pydantic words the same fault of a JSON text and of Python values differently
        document.update(errors=[each["field"] for each in document["errors"]], detail="")
    if document.get("code") == "malformed_json":
        document["detail"] = ""
    kept = ("etag", "content-type", "allow", "www-authenticate", "cache-control", "x-content-type-options")
    return answer.status_code, document, {name: answer.headers.get(name) for name in kept}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.sampled_from(["soap", "USD", "EUR", 1.0, 2**63, 2**70, "\ud800"]),
)
FIELDS = ["productId", "productName", "priceCents", "quantity", "currency", "imageUrl", "extra"]
BODIES = st.one_of(
    st.builds(lambda change: {**SOAP, **change}, st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2)),
    st.builds(lambda quantity: {"productId": "soap", "quantity": quantity}, VALUES),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
    VALUES,
)
HEADERS = st.dictionaries(
    st.sampled_from(["If-Match", "Idempotency-Key", "If-None-Match", "X-User", "Authorization"]),
    st.sampled_from(['"1"', '"0"', "*", "x", "", "k" * 256, 'W/"2"']),
    max_size=2,
)
CALLS = st.one_of(
    st.tuples(st.sampled_from(["/add", "/remove", "/quantity"]), BODIES, HEADERS),
    st.tuples(st.just(""), st.none(), HEADERS),
)


@given(st.lists(CALLS, min_size=1, max_size=4))
def test_law_both_ways_answer_alike(both: Both, calls: list[Any]) -> None:
    """The same calls to a new cart: status, document and headers are equal."""
    cart = f"/v1/cart/{uuid4()}"
    for client in both:
        client.post(f"{cart}/add", json=SOAP)
    for call, body, headers in calls:
        answers = [
            client.post(cart + call, content=json.dumps(body), headers={"Content-Type": "application/json", **headers})
            if call
            else client.get(cart, headers=headers)
            for client in both
        ]
        assert told(answers[0]) == told(answers[1])


@pytest.mark.parametrize("text", [b"", b"{", b"nul", b"[", b"\xff", b'{"productId":1}{', b'"x', b"{}" + b" " * 70_000])
def test_both_ways_refuse_what_is_no_json(both: Both, text: bytes) -> None:
    """Under the same name."""
    path = f"/v1/cart/{uuid4()}/add"
    answers = [client.post(path, content=text, headers={"Content-Type": "application/json"}) for client in both]
    assert told(answers[0])[:2] == told(answers[1])[:2]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YW5uOnB3"},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Bearer " + "x" * 9_000},
        {"Authorization": "bearer"},
    ],
)
@pytest.mark.parametrize("call", ["/add", ""])
def test_both_ways_want_the_same_tokens(guarded: Both, headers: dict[str, str], call: str) -> None:
    """Whoever brings none, or one that does not count, is told so."""
    path = f"/v1/cart/{uuid4()}{call}"
    answers = [client.request("POST" if call else "GET", path, headers=headers) for client in guarded]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == 401


@pytest.mark.parametrize("length", [65_536, 65_537, 200_000])
@pytest.mark.parametrize("announced", [True, False])
def test_both_ways_have_the_same_limit(both: Both, length: int, *, announced: bool) -> None:
    """A body of 64 KiB is read, one byte more is refused, whether its length is announced or not."""
    body = json.dumps(SOAP).encode().ljust(length)
    path = f"/v1/cart/{uuid4()}/add"
    answers = [
        client.post(path, content=body if announced else iter([body]), headers={"Content-Type": "application/json"})
        for client in both
    ]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == (200 if length == 65_536 else 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_both_ways_refuse_other_kinds_of_bodies(both: Both, kind: str) -> None:
    """So that no form of another site can be a command."""
    path = f"/v1/cart/{uuid4()}/add"
    answers = [client.post(path, content=json.dumps(SOAP), headers={"Content-Type": kind}) for client in both]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == 415


@pytest.mark.parametrize("host", ["shop.example", "127.0.0.1.evil.example", "localhost", "[::1]:80"])
def test_both_ways_answer_to_the_same_names(both: Both, host: str) -> None:
    """A server without tokens is for loopback names."""
    path = f"/v1/cart/{uuid4()}/add"
    answers = [client.post(path, json=SOAP, headers={"Host": host}) for client in both]
    assert told(answers[0]) == told(answers[1])


def test_both_ways_leave_the_same_trace(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    """The log's entry, but for time and id; and the counters of /metrics."""
    traces = []
    for client in both:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="cart_core.api.access"):
            path = f"/v1/cart/{uuid4()}"
            assert (
                client.post(f"{path}/add", json=SOAP, headers={"X-Request-ID": "r-1"}).headers["x-request-id"] == "r-1"
            )
            client.get(path)
            client.post(f"{path}/remove", json={"productId": "tea"})
        entries = [json.loads(record.message) for record in caplog.records]
        assert len({each["requestId"] for each in entries}) == 3
        assert entries[0]["requestId"] == "r-1"
        traces.append([(each["method"], each["route"], each["status"], sorted(each)) for each in entries])
        counted = client.get("/metrics").text
        assert 'cart_requests_total{method="POST",route="/v1/cart/{cartId}/add",status="200"}' in counted
        assert 'cart_refusals_total{code="unknown_product"}' in counted
    assert traces[0] == traces[1]


def test_the_hot_way_is_taken() -> None:
    """Adds and shown carts never reach FastAPI on a socket, so the equality above is of two ways."""
    hot = create_app(Settings(Path("unused")), MemoryStore())

    async def fail(*_: Any) -> None:
        raise RuntimeError("FastAPI was asked")

    with serving(hot) as url, httpx.Client(base_url=url) as client:
        hot.middleware_stack = fail
        cart = f"/v1/cart/{uuid4()}"
        assert client.post(f"{cart}/add", json=SOAP).status_code == 200
        assert client.get(cart).status_code == 200
        assert client.post(f"{cart}/undo").status_code == 500


def test_requests_may_be_sent_ahead(both: Both) -> None:
    """Several in one go, hot ones and others: each is answered, in order, and what follows a close is not done."""
    address = both[0].base_url
    cart = f"/v1/cart/{uuid4()}"
    requests = [raw("POST", f"{cart}/add", SOAP), raw("POST", f"{cart}/undo"), raw("GET", cart)]
    last = raw("POST", f"{cart}/redo", close=True)
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(b"".join([*requests, last, raw("POST", f"{cart}/add", SOAP)]))
        answers = read_all(connection)
    assert [status for status, _ in answers] == [200, 200, 200, 200]
    assert [body.get("version") for _, body in answers] == [1, 2, 2, 3]
    assert both[0].get(cart).json()["version"] == 3


def test_a_request_may_come_byte_by_byte(both: Both) -> None:
    """However the network cuts it."""
    address = both[0].base_url
    cart = f"/v1/cart/{uuid4()}"
    with socket.create_connection((address.host, address.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw("POST", f"{cart}/add", SOAP, close=True):
            connection.sendall(bytes([byte]))
        assert read_all(connection) == [(200, {"version": 1})]


def test_a_body_that_stops_half_way_is_given_up(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is not held for ever, and nothing is done."""
    monkeypatch.setattr(gate, "BODY_TIMEOUT_S", 0.05)
    address, cart = both[0].base_url, f"/v1/cart/{uuid4()}"
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(raw("POST", f"{cart}/add", SOAP)[:-3])
        ((status, body),) = read_all(connection)
    assert (status, body["code"]) == (408, "too_slow")
    assert both[0].get(cart).status_code == 404


def test_half_a_request_does_nothing(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    """A caller who hangs up in the middle of a body leaves no event and no error behind."""
    address, cart = both[0].base_url, f"/v1/cart/{uuid4()}"
    with caplog.at_level(logging.WARNING):
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(raw("POST", f"{cart}/add", SOAP)[:-3])
        assert both[0].get(cart).status_code == 404
    assert not caplog.records


def raw(method: str, path: str, body: object = None, *, close: bool = False) -> bytes:
    """A request as it goes over the wire."""
    text = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(text)}"]
    lines += ["content-type: application/json"] if text else []
    lines += ["connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + text


def read_all(connection: socket.socket) -> list[tuple[int, Any]]:
    """Every answer until the server closes: status and document."""
    text = b"".join(iter(lambda: connection.recv(65_536), b""))
    answers = []
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answers.append((int(head.split()[1]), json.loads(text[:length])))
        text = text[length:]
    return answers
