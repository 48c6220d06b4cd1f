"""What the OpenAPI document says beside the code: every error of every call, with an example."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from cart_core.api.bodies import Problem
from cart_core.api.problems import MEDIA_TYPE, TITLES, TYPE_PREFIX, status_of
from cart_core.commands import REFUSALS as COMMAND_REFUSALS
from cart_core.rules import TEXT_CHARS
from cart_core.service import REFUSALS as SERVICE_REFUSALS

Responses = dict[int | str, dict[str, Any]]
ProductId = Annotated[
    str,
    Path(
        alias="productId",
        description="The product's id.",
        min_length=1,
        max_length=TEXT_CHARS,
    ),
]


def problems(*codes: str) -> Responses:
    """The documented error responses that can carry these codes, by status, each code as an example."""
    found: Responses = {}
    for code in codes:
        status = status_of(code)
        response = found.setdefault(
            status,
            {"description": "", "content": {MEDIA_TYPE: {"schema": PROBLEM_REFERENCE, "examples": {}}}},
        )
        response["description"] += f"{'; ' if response['description'] else ''}`{code}`: {TITLES[code]}"
        response["content"][MEDIA_TYPE]["examples"][code] = {"value": _example(code, status)}
    return found


def reading(what: str, *codes: str) -> Responses:
    """The responses of a call that reads a cart, and may fail with these codes beside the usual ones."""
    return {
        200: {"description": f"{what}.", "headers": ETAG_HEADER},
        304: {"description": "The caller has this version already.", "headers": ETAG_HEADER},
        **problems(*ANYWHERE, "unknown_cart", "invalid_request", *codes),
    }


def _example(code: str, status: int) -> dict[str, Any]:
    return {
        "type": TYPE_PREFIX + code,
        "title": TITLES[code],
        "status": status,
        "detail": TITLES[code],
        "code": code,
        "requestId": "6f1ed002ab5595859014ebf0951522d9",
    }


PROBLEM_REFERENCE = {"$ref": f"#/components/schemas/{Problem.__name__}"}
ETAG_HEADER = {"ETag": {"description": 'The cart\'s version, such as `"3"`.', "schema": {"type": "string"}}}
IN_OPEN = ("wrong_host", "headers_too_large", "failed", "busy")
ANYWHERE = ("missing_token", "invalid_token", "keys_unavailable", "malformed_request", *IN_OPEN)
WITH_BODY = ("malformed_json", "too_slow", "body_too_large", "unsupported_media_type", "invalid_request")
ALWAYS = problems(*ANYWHERE, "invalid_request")
WRITING: Responses = {
    200: {"description": "The cart's version after the command.", "headers": ETAG_HEADER},
    **problems(*ANYWHERE, *WITH_BODY, *SERVICE_REFUSALS, "conflict", *COMMAND_REFUSALS),
}
MERGING: Responses = {
    200: WRITING[200],
    **problems(*ANYWHERE, "invalid_guest_token", *WITH_BODY, *SERVICE_REFUSALS, "conflict", *COMMAND_REFUSALS),
}
PRICING = problems(*ANYWHERE, "scope_needed", *WITH_BODY, "conflict")
HEALTH = problems(*IN_OPEN, "invalid_request")
METRICS: Responses = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    **problems(*IN_OPEN, "invalid_request"),
}
