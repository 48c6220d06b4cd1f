"""The OpenAPI document says what the server does: drawn requests get documented answers, and never a 5xx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from cart_core.api import Settings, create_app
from cart_core.api.problems import TITLES
from cart_core.store import MemoryStore
from tests.cart_core.api.conftest import SECRET, TRUST
from tests.cart_core.api.serving import serving

DOCUMENT = create_app(Settings(Path("unused")), MemoryStore()).openapi()
CLAIMS = {"sub": "shop", "scope": "service", "iss": TRUST.issuer, "aud": TRUST.audience, "exp": 2**33}
HEADERS = {"Authorization": f"Bearer {jwt.encode(CLAIMS, SECRET, 'HS256')}"}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
BEYOND_A_SCHEMA = {"idempotency_key_reused", "stale_version", "invalid_discount", "headers_too_large"}
"""What a schema cannot say: keys and versions of before, a value that depends on a type, a head that is too long."""
CALLS = {
    "GET /v1/cart/{cartId}",
    *(
        f"POST /v1/cart/{{cartId}}/{call}"
        for call in (
            "add",
            "remove",
            "quantity",
            "coupon",
            "coupon/remove",
            "checkout/start",
            "checkout/complete",
            "undo",
            "redo",
            "merge",
        )
    ),
    "GET /v1/cart/{cartId}/price-history/{productId}",
    "GET /v1/cart/{cartId}/events",
    "GET /v1/cart/{cartId}/evidence/{productId}",
    "GET /v1/carts",
    "POST /v1/prices",
    "GET /health",
    "GET /metrics",
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that wants tokens, over an empty store."""
    with serving(create_app(Settings(Path("unused"), trust=TRUST), MemoryStore())) as url:
        yield url


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_drawn_requests_get_documented_answers(case: Any, server: str) -> None:
    """Good and bad requests: status, media type, headers and body as documented, bad ones refused, no 5xx."""
    response = case.call(base_url=server, headers=HEADERS)
    called = DOCUMENT["paths"][case.path].get(case.method.lower())
    assert response.status_code < 500
    assert str(response.status_code) in (["405"] if called is None else called["responses"])
    beyond = response.json()["code"] in BEYOND_A_SCHEMA if response.status_code in (412, 422, 431) else False
    case.validate_response(
        response,
        excluded_checks=[positive_data_acceptance, negative_data_rejection] if beyond else [],
        headers=HEADERS,
        transport_kwargs={"base_url": server, "headers": HEADERS},
    )


def test_every_call_is_documented() -> None:
    """Each of the interface's calls stands in the document, and no other."""
    found = {f"{method.upper()} {path}" for path, calls in DOCUMENT["paths"].items() for method in calls}
    assert found == CALLS


def test_every_error_has_an_example() -> None:
    """Each error response of each call names its codes and shows one document for each."""
    for calls in DOCUMENT["paths"].values():
        for call in calls.values():
            for status, response in call["responses"].items():
                if status < "400":
                    continue
                shown = response["content"]["application/problem+json"]["examples"]
                assert set(re.findall(r"`(\w+)`", response["description"])) >= set(shown)
                assert all(each["value"]["status"] == int(status) for each in shown.values())


def test_every_code_is_documented_somewhere() -> None:
    """No error of the server is a surprise."""
    codes = {
        code
        for calls in DOCUMENT["paths"].values()
        for call in calls.values()
        for response in call["responses"].values()
        for content in response.get("content", {}).values()
        for code in content.get("examples", {})
    }
    assert codes == set(TITLES) - {"not_found", "method_not_allowed"}


def test_every_body_has_an_example() -> None:
    """A reader sees what to send."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if name.endswith("Body") and name != "EmptyBody":
            assert schema["examples"]
