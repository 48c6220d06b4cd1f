"""What every request passes: limits, a request id, metrics, the access log, and errors told as problem documents."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from random import getrandbits
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cart_core.api.metrics import Metrics
from cart_core.api.problems import ApiProblem, problem_of, response
from cart_core.api.settings import is_loopback

BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
NOT_ANSWERED = 499
SERVER_ERROR = 500
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
access_log = logging.getLogger("cart_core.api.access")
error_log = logging.getLogger("cart_core.api.error")


class Gate:
    """An ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, loopback_only: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        headers = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id"))
        status = NOT_ANSWERED

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *SECURE]
            await send(message)

        try:
            if self._loopback_only:
                check_host(headers.get(b"host", b""))
            await self._app(scope, await _with_body(scope, headers, receive), tell)
        except Exception as error:
            if status != NOT_ANSWERED:
                raise
            await response(refusal(error, request_id, self._metrics), request_id)(scope, receive, tell)
        finally:
            route = str(getattr(scope.get("route"), "path", "other"))
            note(self._metrics, request_id, scope["method"], route, status, perf_counter() - began)


SECURE = ((b"cache-control", b"private, no-cache"), (b"x-content-type-options", b"nosniff"))
"""Carts are private: only the browser may keep them, and asks before it shows them."""


def request_id_of(given: bytes | None) -> str:
    """The id that a proxy gave a request, if it is one; else a new one."""
    text = given.decode("latin-1") if given else ""
    return text if REQUEST_ID.fullmatch(text) else f"{getrandbits(128):032x}"


def refusal(error: Exception, request_id: str, metrics: Metrics) -> ApiProblem:
    """The problem that an error is to the caller, counted, and logged whole where nobody foresaw it."""
    problem = problem_of(error)
    if problem.status == SERVER_ERROR:
        error_log.error("request %s failed", request_id, exc_info=error)
    metrics.refusal(problem.code)
    return problem


def note(metrics: Metrics, request_id: str, method: str, route: str, status: int, took_s: float) -> None:
    """Count a request that was answered, and tell the access log."""
    metrics.request(method, route, status, took_s)
    if access_log.isEnabledFor(logging.INFO):
        entry = {
            "requestId": request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(took_s * 1000, 2),
        }
        access_log.info(json.dumps(entry))


def check_host(host: bytes) -> None:
    """Refuse a browser that was led to a server without tokens under another name."""
    if not _is_local(host):
        raise ApiProblem(403, "wrong_host", "a server without tokens answers to localhost and loopback addresses only")


@lru_cache(maxsize=64)
def _is_local(host: bytes) -> bool:
    return is_loopback(re.sub(r":\d+$", "", host.decode("latin-1")))


def check_announced(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that says that it is too large."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > BODY_BYTES:
        raise too_large()


def check_kind(headers: Mapping[bytes, bytes], body: bytes) -> None:
    """Refuse a body that is no JSON by its own account, so that no form of another site can be a command.

    JSON between systems is UTF-8 (RFC 8259), and has no NUL in it.
    """
    if not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
        raise ApiProblem(415, "unsupported_media_type", "send the body as application/json")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ApiProblem(400, "malformed_json", f"the body is no UTF-8: byte {error.start} is not") from error
    if b"\0" in body:
        raise ApiProblem(400, "malformed_json", f"the body is no JSON: byte {body.index(0)} is NUL")


def too_large() -> ApiProblem:
    """The problem that a body over the limit is."""
    return ApiProblem(
        413, "body_too_large", f"a body holds at most {BODY_BYTES} bytes", headers={"Connection": "close"}
    )


def too_slow() -> ApiProblem:
    """The problem that a body is which does not arrive."""
    return ApiProblem(408, "too_slow", f"the body took longer than {BODY_TIMEOUT_S:.0f} seconds to arrive")


async def _with_body(scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
    """Read a body that may be read, whole, and hand it on as one message."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return receive
    check_announced(headers)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _body(receive)
    except TimeoutError as error:
        raise too_slow() from error
    if body:
        check_kind(headers, body)
    message: Message = {"type": "http.request", "body": body, "more_body": False}

    async def once() -> Message:
        nonlocal message
        now, message = message, {"type": "http.disconnect"}
        return now

    return once


async def _body(receive: Receive) -> bytes:
    message = await receive()
    parts, size = [], 0
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES:
            raise too_large()
        if not message.get("more_body"):
            break
        message = await receive()
    return b"".join(parts)
