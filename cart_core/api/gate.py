"""What every request passes: limits, a request id, metrics, the access log, and errors told as problem documents."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import MutableMapping
from random import getrandbits
from time import perf_counter
from typing import Any

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
        request_id = _request_id(headers.get(b"x-request-id"))
        scope["request_id"] = request_id
        status = NOT_ANSWERED

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *SECURE]
            await send(message)

        try:
            if self._loopback_only:
                _check_host(headers.get(b"host", b""))
            await self._app(scope, await _with_body(scope, headers, receive), tell)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == SERVER_ERROR:
                error_log.exception("request %s failed", request_id)
            if status != NOT_ANSWERED:
                raise
            self._metrics.refusal(problem.code)
            await response(problem, request_id)(scope, receive, tell)
        finally:
            self._note(scope, request_id, status, perf_counter() - began)

    def _note(self, scope: MutableMapping[str, Any], request_id: str, status: int, took_s: float) -> None:
        route = str(scope.get("route_path") or getattr(scope.get("route"), "path", "other"))
        self._metrics.request(scope["method"], route, status, took_s)
        if access_log.isEnabledFor(logging.INFO):
            entry = {
                "requestId": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(took_s * 1000, 2),
            }
            access_log.info(json.dumps(entry))


SECURE = ((b"cache-control", b"private, no-cache"), (b"x-content-type-options", b"nosniff"))
"""Carts are private: only the browser may keep them, and asks before it shows them."""


def _request_id(given: bytes | None) -> str:
    text = given.decode("latin-1") if given else ""
    return text if REQUEST_ID.fullmatch(text) else f"{getrandbits(128):032x}"


def _check_host(host: bytes) -> None:
    """Refuse a browser that was led here under another name."""
    name = re.sub(r":\d+$", "", host.decode("latin-1"))
    if not is_loopback(name):
        raise ApiProblem(403, "wrong_host", "a server without tokens answers to localhost and loopback addresses only")


async def _with_body(scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
    """Read a body that may be read, whole, and hand it on as one message."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return receive
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _body(receive)
    except TimeoutError as error:
        raise ApiProblem(
            408, "too_slow", f"the body took longer than {BODY_TIMEOUT_S:.0f} seconds to arrive"
        ) from error
    if body and not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
        raise ApiProblem(415, "unsupported_media_type", "send the body as application/json")
    message: Message = {"type": "http.request", "body": body, "more_body": False}

    async def once() -> Message:
        nonlocal message
        now, message = message, {"type": "http.disconnect"}
        return now

    return once


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise _too_large()
        return body
    parts, size = [], 0
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            break
        message = await receive()
    return b"".join(parts)


def _too_large() -> ApiProblem:
    return ApiProblem(
        413, "body_too_large", f"a body holds at most {BODY_BYTES} bytes", headers={"Connection": "close"}
    )
