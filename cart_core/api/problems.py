"""What goes wrong, as RFC 9457 problem documents: one place that gives every error its status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from cart_core.commands import REFUSALS as COMMAND_REFUSALS
from cart_core.errors import (
    ConcurrencyError,
    InvalidEvent,
    Refused,
    StoreBusy,
    StoreUnreachable,
)
from cart_core.service import REFUSALS as SERVICE_REFUSALS

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:cart-workbench:"

OF_THE_SERVER: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "the body is no JSON"),
    "malformed_request": (400, "the request cannot be read"),
    "missing_token": (401, "a bearer token is needed"),
    "invalid_token": (401, "the bearer token does not count"),
    "scope_needed": (403, "the token lacks the scope for this call"),
    "invalid_guest_token": (403, "the guest's token does not count"),
    "wrong_host": (403, "the server without tokens answers to loopback names only"),
    "not_found": (404, "there is no such call"),
    "method_not_allowed": (405, "the call has another method"),
    "too_slow": (408, "the request took too long to arrive"),
    "conflict": (409, "the cart was changed by others at each of six tries"),
    "body_too_large": (413, "the body is larger than 64 KiB"),
    "unsupported_media_type": (415, "the body is not application/json"),
    "invalid_request": (422, "a field is missing or unknown, or has the wrong type"),
    "headers_too_large": (431, "the headers are larger than 16 KiB"),
    "failed": (500, "the server failed; nothing is known to be wrong with the request"),
    "busy": (503, "too much to do at the moment: try again soon"),
    "keys_unavailable": (503, "the issuer's keys cannot be read at the moment"),
}
"""Every error that is the server's own: its status and what it says."""

STATUSES = {
    "unknown_cart": 404,
    "stale_version": 412,
    "idempotency_key_reused": 422,
    "too_many": 422,
    **{code: status for code, (status, _) in OF_THE_SERVER.items()},
}
TITLES = {
    **COMMAND_REFUSALS,
    **SERVICE_REFUSALS,
    **{code: title for code, (_, title) in OF_THE_SERVER.items()},
}

FIELD_CODES = {
    "priceCents": "invalid_price",
    "quantity": "invalid_quantity",
    "discountType": "invalid_discount",
    "discountValue": "invalid_discount",
    "totalCents": "invalid_total",
    "strategy": "invalid_strategy",
    "productId": "invalid_product_id",
    "productName": "invalid_product_name",
    "currency": "invalid_currency",
    "imageUrl": "invalid_image_url",
    "couponCode": "invalid_coupon_code",
    "orderId": "invalid_order_id",
    "reason": "invalid_reason",
}


class ApiProblem(Exception):
    """An error that has its status already."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def status_of(code: str) -> int:
    """The status of a refusal: 422 for a value that is wrong anywhere, 409 for one that this cart cannot take now."""
    return STATUSES.get(code, 422 if code.startswith("invalid_") else 409)


def problem_of(error: Exception) -> ApiProblem:
    """The problem that an error is to a caller."""
    if isinstance(error, ApiProblem):
        return error
    if isinstance(error, Refused):
        return ApiProblem(status_of(error.code), error.code, str(error), None, **error.details)
    if isinstance(error, InvalidEvent):
        errors = [{"field": each.field, "rule": each.rule} for each in error.problems]
        return ApiProblem(422, "invalid_request", str(error), errors=errors)
    if isinstance(error, ConcurrencyError):
        return ApiProblem(409, "conflict", str(error))
    if isinstance(error, StoreBusy | StoreUnreachable):
        return ApiProblem(503, "busy", TITLES["busy"], headers={"Retry-After": "1"})
    return ApiProblem(500, "failed", TITLES["failed"])


def invalid(found: Sequence[Any]) -> ApiProblem:
    """The problem that pydantic's errors are; its code is that of the first field that has one."""
    if any(each["type"] == "json_invalid" for each in found):
        return ApiProblem(400, "malformed_json", f"the body is no JSON: {found[0]['ctx']['error']}")
    errors = [{"field": ".".join(map(str, each["loc"][1:])), "rule": each["msg"]} for each in found]
    codes = (
        FIELD_CODES.get(str(each["loc"][1])) for each in found if each["loc"][:1] == ("body",) and len(each["loc"]) > 1
    )
    told = "; ".join(f"{each['field'] or 'the body'}: {each['rule']}" for each in errors)
    return ApiProblem(422, next(filter(None, codes), "invalid_request"), told, errors=errors)


def response(problem: ApiProblem, request_id: str) -> Response:
    """The answer that tells a problem."""
    document = {
        "type": TYPE_PREFIX + problem.code,
        "title": TITLES.get(problem.code, problem.code.replace("_", " ")),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "requestId": request_id,
        **problem.more,
    }
    return Response(json.dumps(document), problem.status, problem.headers, MEDIA_TYPE)


def table() -> str:
    """Every error of the API as a Markdown table, by status: what docs/api.md shows."""
    rows = sorted((status_of(code), code) for code in TITLES)
    lines = [f"| {status} | `{code}` | {TITLES[code]} |" for status, code in rows]
    return "\n".join(["| status | `code` | means |", "|---|---|---|", *lines]) + "\n"
