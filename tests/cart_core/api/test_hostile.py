"""Requests that mean harm, over a socket: each gets the right 4xx as a problem document, and nothing is written."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest

from cart_core.api import Settings, create_app
from cart_core.events import ItemAdded
from cart_core.store import MemoryStore
from tests.cart_core.api.conftest import SECRET, TRUST
from tests.cart_core.api.serving import serving
from tests.cart_core.api.test_carts import SOAP, problem

ANNS = "00000000-0000-4000-8000-00000000000a"
BENS = "00000000-0000-4000-8000-00000000000b"
PATH = f"/v1/cart/{ANNS}"
FAR = 2**33


def bearer(key: Any = SECRET, algorithm: str | None = "HS256", **claims: Any) -> dict[str, str]:
    """The header of a token of ann's, or of what claims to be one."""
    told = {"sub": "ann", "iss": TRUST.issuer, "aud": TRUST.audience, "exp": FAR, **claims}
    return {"Authorization": f"Bearer {jwt.encode(told, key, algorithm)}"}


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    """A store with a cart of ann's and one of ben's."""
    store = MemoryStore()
    for cart, user in ((ANNS, "ann"), (BENS, "ben")):
        store.append(cart, [ItemAdded("soap", "Soap", 1, 2900, "USD")], user, 0)
    return store


@pytest.fixture(scope="module")
def url(store: MemoryStore) -> Iterator[str]:
    """A server over it that wants tokens."""
    with serving(create_app(Settings(Path("unused"), trust=TRUST), store)) as url:
        yield url


@pytest.fixture(scope="module")
def caller(url: str) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_written(store: MemoryStore) -> Iterator[None]:
    """Whatever a test asks for, the store stands where it stood."""
    before = store.position()
    yield
    assert store.position() == before


HUGE = [2**31, 2**53, 2**63, 2**64, 10**400, 1e308, -(2**63), 1e-300]
ODD_TEXTS = ["\0", "a\0b", "", "x" * 4097, "\ud800", "a\udfffb"]
BODIES: list[tuple[str, dict[str, Any]]] = [
    *(("add", {**SOAP, "priceCents": value}) for value in HUGE if value != 2**31),
    *(("add", {**SOAP, "quantity": value}) for value in HUGE),
    *(("quantity", {"productId": "soap", "quantity": value}) for value in HUGE),
    *(("checkout/complete", {"orderId": "o", "totalCents": value}) for value in HUGE),
    *(
        ("coupon", {"couponCode": "A", "discountType": "fixed", "discountValue": value})
        for value in HUGE
        if not 0 < value <= 2**53
    ),
    *(("add", {**SOAP, "productId": text}) for text in ODD_TEXTS),
    *(("add", {**SOAP, "productName": text}) for text in ODD_TEXTS if text),
    *(("coupon", {"couponCode": text, "discountType": "fixed", "discountValue": 5}) for text in ODD_TEXTS),
    *(
        ("add", {**SOAP, "currency": text})
        for text in ("US\uff24", "\uff35\uff33\uff24", "U5D", "us", "usdd", "\u1e9e\u1e9e\u1e9e", "\u202eUSD")
    ),
    *(
        ("add", {**SOAP, "imageUrl": text})
        for text in ("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd")
    ),
    ("add", {**SOAP, "imageUrl": "https://a\r\nSet-Cookie: x=1"}),
    *(("add", {**SOAP, name: 1}) for name in ("userId", "version", "eventId", "metadata", "__proto__", "price_cents")),
    *(("add", {**SOAP, "quantity": value}) for value in (True, None, "3", [1], {"$gt": 0}, 1.5, 0, -2)),
    *(("merge", {"fromCartId": value}) for value in (BENS, "x", "../" + BENS, BENS + "\0", f"{{{BENS}}}")),
    ("remove", {"productId": {"$ne": None}}),
    ("remove", {"productId": "' OR 1=1 --"}),
]


@pytest.mark.parametrize(("call", "body"), BODIES)
def test_bodies(caller: httpx.Client, call: str, body: dict[str, Any]) -> None:
    """Huge numbers, odd text, other types, fields that are none of the caller's business."""
    headers = {**bearer(), "Content-Type": "application/json"}
    answer = caller.post(f"{PATH}/{call}", content=json.dumps(body), headers=headers)
    assert problem(answer)[0] in (404, 409, 422)


TEXTS = {
    "deep lists": b"[" * 30_000,
    "deep objects": b'{"a":' * 10_000,
    "deep inside": b'{"productId":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "no UTF-8": b'{"productId": "\xff\xfe"}',
    "another encoding": json.dumps(SOAP).encode("utf-16"),
    "NaN": b'{"productId":"a","productName":"a","priceCents":NaN}',
    "Infinity": b'{"productId":"a","productName":"a","priceCents":-Infinity}',
    "a number of many digits": b'{"productId":"a","productName":"a","priceCents":' + b"9" * 5_000 + b"}",
    "a number of many more digits": b'{"productId":"a","productName":"a","priceCents":1e' + b"9" * 300 + b"}",
    "two documents": b"{}{}",
    "a text": b'"x"',
    "a list": b"[]",
    "null": b"null",
    "a comment": b'{"productId":"a" /* */}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("call", ["add", "coupon", "merge"])
def test_texts_that_are_no_json(caller: httpx.Client, call: str, text: bytes) -> None:
    """Or no object, or one without end: told apart from what is malformed by its fields."""
    answer = caller.post(f"{PATH}/{call}", content=text, headers={**bearer(), "Content-Type": "application/json"})
    status, code = problem(answer)
    assert (status, code == "malformed_json") in ((400, True), (422, False))


PATHS = [
    "/v1/cart/../../etc/passwd",
    "/v1/cart/%2e%2e/%2e%2e/etc/passwd",
    "/v1/cart/..%2f..%2fetc%2fpasswd/add",
    f"/v1/cart/{ANNS}%00",
    f"/v1/cart/{ANNS}/%2e%2e/add",
    f"/v1/cart//{ANNS}/add",
    f"/v1/cart/{ANNS}/add/",
    f"/v1/cart/{ANNS};x=1/add",
    f"/v1//cart/{ANNS}/add",
    f"/V1/CART/{ANNS}/ADD",
    "/v1/cart/00000000-0000-4000-8000-00000000000g/add",
    "/v1/cart/\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660-0000-4000-8000-00000000000a/add",
    f"/v1/cart/{'0' * 5_000}/add",
    f"/v1/cart/{ANNS}/price-history/{'x' * 5_000}",
    f"/v1/cart/{ANNS}/evidence/%00",
    f"/v1/cart/{ANNS}?version=99999999999999999999",
    f"/v1/cart/{ANNS}?at=9999-12-31T23:59:59-23:59",
    f"/v1/cart/{ANNS}?version=1%00",
    "/v1/carts?limit=1e9",
    "/v1/carts?status=%27%20OR%201=1",
    "/metrics/..%2fv1",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_paths(caller: httpx.Client, url: str, path: str, method: str) -> None:
    """Climbing, doubled, percent-encoded, of another alphabet, endless; with any method."""
    target = path.encode() if path.isascii() else quote(path, safe="/").encode()
    request = caller.build_request(method, url, headers=bearer())
    request.url = request.url.copy_with(raw_path=target)
    assert problem(caller.send(request))[0] in (404, 405, 409, 422)


TOKENS: dict[str, dict[str, str]] = {
    "none": {},
    "not a token": {"Authorization": "Bearer x"},
    "another scheme": {"Authorization": "Basic YW5uOmFubg=="},
    "alg none": bearer(None, None),
    "a signature cut off": {"Authorization": bearer()["Authorization"].rpartition(".")[0] + "."},
    "forged": bearer("another secret that is long enough for HS256"),
    "another algorithm": bearer(algorithm="HS512"),
    "expired": bearer(exp=1),
    "for ever": bearer(exp=None),
    "not valid yet": bearer(nbf=FAR - 1),
    "another audience": bearer(aud="shop"),
    "another issuer": bearer(iss="https://evil.example"),
    "nobody": bearer(sub=""),
    "a number": bearer(sub=7),
    "a forgotten user": bearer(sub="forgotten-1"),
    "endless": {"Authorization": "Bearer " + "a" * 10_000},
    "two": {"Authorization": bearer()["Authorization"] + ", " + bearer()["Authorization"]},
}


@pytest.mark.parametrize("headers", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{PATH}/add"),
        ("GET", PATH),
        ("POST", f"{PATH}/undo"),
        ("GET", f"{PATH}/events"),
        ("POST", "/v1/prices"),
    ],
)
def test_tokens(caller: httpx.Client, headers: dict[str, str], method: str, path: str) -> None:
    """Missing, forged, expired, unsigned, for somebody else: 401 by the short way and by the long one."""
    body = None if method == "GET" else SOAP if path.endswith("add") else None
    answer = caller.request(method, path, headers=headers, json=body)
    assert problem(answer)[0] == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/price-history/soap"),
        ("GET", "/evidence/soap"),
        *(
            ("POST", f"/{call}")
            for call in ("add", "remove", "quantity", "undo", "redo", "checkout/start", "coupon/remove")
        ),
    ],
)
def test_carts_of_others(caller: httpx.Client, method: str, call: str) -> None:
    """They are answered like carts that do not exist; ``X-User`` and a support scope change nothing."""
    bodies = {"/add": SOAP, "/remove": {"productId": "soap"}, "/quantity": {"productId": "soap", "quantity": 2}}
    body = {**bodies, "/coupon/remove": {"couponCode": "A"}}.get(call)
    answer = caller.request(method, f"/v1/cart/{BENS}{call}", json=body, headers={**bearer(), "X-User": "ben"})
    assert problem(answer) == (404, "unknown_cart")
    if method == "POST":
        answer = caller.post(f"/v1/cart/{BENS}{call}", json=body, headers=bearer(sub="sue", scope="support"))
        assert problem(answer) == (404, "unknown_cart")


def test_prices_are_the_shops(caller: httpx.Client) -> None:
    """Neither a shopper nor support changes them."""
    body = {"productId": "soap", "priceCents": 1, "currency": "USD", "reason": "mine"}
    for scope in ("", "support", "SERVICE", "service-x"):
        answer = caller.post("/v1/prices", json=body, headers=bearer(scope=scope))
        assert problem(answer) == (403, "scope_needed")


def raw(url: str, text: bytes) -> tuple[int, str]:
    """What a server answers to bytes that no client would send: status and code."""
    host, _, port = url.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(text)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["code"]


def request(*lines: str, body: bytes = b"") -> bytes:
    """A request to add to ann's cart, with headers as they are given."""
    token = bearer()["Authorization"]
    head = [f"POST {PATH}/add HTTP/1.1", "Host: x", "Connection: close", f"Authorization: {token}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


BODY = json.dumps(SOAP).encode()
SMUGGLED = {
    "two lengths": request(f"Content-Length: {len(BODY)}", "Content-Length: 5", body=BODY),
    "length and chunks": request("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a negative length": request("Content-Length: -5", body=BODY),
    "a length in words": request("Content-Length: ten", body=BODY),
    "a broken chunk": request("Transfer-Encoding: chunked", body=b"zz\r\nx\r\n0\r\n\r\n"),
    "a header without a name": request(": x", "Content-Length: 0"),
    "a folded header": request("X-A: 1", " folded", "Content-Length: 0"),
    "a blank in a name": request("X A: 1", "Content-Length: 0"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
}


@pytest.mark.parametrize("text", SMUGGLED.values(), ids=SMUGGLED)
def test_requests_that_two_readers_would_read_differently(url: str, text: bytes) -> None:
    """Are refused before anybody reads them."""
    assert raw(url, text)[0] in (400, 415, 422)


def test_oversize_heads_and_bodies(url: str) -> None:
    """16 KiB of head, 64 KiB of body, announced or not."""
    assert raw(url, request("X-Large: " + "x" * 17_000)) == (431, "headers_too_large")
    assert raw(url, request(*(f"X-{number}: {'x' * 20}" for number in range(800)))) == (431, "headers_too_large")
    kind = "Content-Type: application/json"
    assert raw(url, request(kind, "Content-Length: 10000000000")) == (413, "body_too_large")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    assert raw(url, request(kind, "Transfer-Encoding: chunked", body=chunk + b"1\r\n \r\n")) == (413, "body_too_large")


def test_the_corpus_is_refused_for_what_it_is(caller: httpx.Client, store: MemoryStore) -> None:
    """The same token and path with a good request pass, so no refusal above is for something else."""
    assert caller.get(PATH, headers=bearer()).json()["version"] == 1
    assert caller.get(PATH, headers=bearer(exp=datetime.now(UTC).timestamp() + 60)).status_code == 200
    assert store.read(ANNS)[0].user_id == "ann"
