"""The leaner way for hot calls answers as FastAPI's does, in every case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.api import Settings, app, create_app
from cart_core.store import MemoryStore
from tests.cart_core.api.conftest import TRUST
from tests.cart_core.api.running import running
from tests.cart_core.api.test_carts import SOAP


class PassOn:
    """In place of the hot calls: everything goes to FastAPI."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, *call: Any) -> None:
        """Pass on."""
        await self._app(*call)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A server with hot calls and one without, each over a store of its own, open to all."""
    hot = create_app(Settings(Path("unused")), MemoryStore())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "HotCalls", PassOn)
        plain = create_app(Settings(Path("unused")), MemoryStore())
    with running(hot) as one, running(plain) as other:
        yield one, other


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
    kept = ("etag", "content-type", "allow", "www-authenticate")
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
def test_law_both_ways_answer_alike(both: tuple[httpx.Client, httpx.Client], calls: list[Any]) -> None:
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
def test_both_ways_refuse_what_is_no_json(both: tuple[httpx.Client, httpx.Client], text: bytes) -> None:
    """Under the same name."""
    path = f"/v1/cart/{uuid4()}/add"
    answers = [client.post(path, content=text, headers={"Content-Type": "application/json"}) for client in both]
    assert told(answers[0])[:2] == told(answers[1])[:2]


def test_the_hot_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds and shown carts never reach FastAPI's routes, so the equality above is of two ways."""
    hot = create_app(Settings(Path("unused"), trust=None), MemoryStore())
    monkeypatch.setattr(hot.router, "app", None)
    monkeypatch.setattr(hot.router, "middleware_stack", None)
    with running(hot) as client:
        cart = f"/v1/cart/{uuid4()}"
        assert client.post(f"{cart}/add", json=SOAP).status_code == 200
        assert client.get(cart).status_code == 200
        assert client.post(f"{cart}/undo").status_code == 500
    assert TRUST.secret
