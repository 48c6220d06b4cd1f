"""The calls that a shop makes all day, answered by the protocol itself.

Measured with 16 connections, FastAPI's own work for an add was three times that of everything else together (resolving
dependencies above all), and what carries an ASGI request about as much as the rest. The calls here do what the ones of
``carts`` do, with the same bodies, commands and errors, and a test holds the answers of both equal over a socket. What
is not written in the plainest form is left to FastAPI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from cart_core import rules
from cart_core.api import calls, carts, gate
from cart_core.api.bodies import AddBody, Body, QuantityBody, RemoveBody
from cart_core.api.calls import CartCall, Shop
from cart_core.api.problems import ApiProblem, invalid, response
from cart_core.commands import Command
from cart_core.service import Answer, Ask

COMMANDS: dict[bytes, tuple[type[Body], Callable[[Any], Command]]] = {
    b"add": (AddBody, carts.add_item),
    b"remove": (RemoveBody, carts.remove_item),
    b"quantity": (QuantityBody, carts.set_quantity),
}
PATH = re.compile(
    rb"/v1/cart/(?P<cart>" + rules.UUID_TEXT.pattern.encode() + rb")(?:/(?P<name>" + b"|".join(COMMANDS) + rb"))?"
)
ROUTES = {name: "/v1/cart/{cartId}" + (f"/{name.decode()}" if name else "") for name in (b"", *COMMANDS)}
SECURE = b"".join(b"%s: %s\r\n" % header for header in gate.SECURE)
Tell = Callable[["Reply"], None]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its headers as they are sent, its body, and whether the connection goes on."""

    status: int
    head: bytes
    body: bytes
    keep_alive: bool = True


class HotCall:
    """One request for a hot call, from its head on."""

    __slots__ = ("_began", "_cart_id", "_headers", "_name", "_request_id", "_shop", "_tell")

    def __init__(self, shop: Shop, cart_id: bytes, name: bytes, headers: Mapping[bytes, bytes], tell: Tell) -> None:
        self._began = perf_counter()
        self._shop = shop
        self._cart_id = cart_id.decode().lower()
        self._name = name
        self._headers = headers
        self._request_id = gate.request_id_of(headers.get(b"x-request-id"))
        self._tell = tell

    def begin(self, body: bytes) -> None:
        """Carry the call out; its reply is told once, at once or when its events are durable."""
        try:
            self._begin(body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            self.refuse(error)

    def refuse(self, error: Exception) -> None:
        """Tell a problem in place of an answer."""
        problem = gate.refusal(error, self._request_id, self._shop.metrics)
        self._answer(response(problem, self._request_id))

    def over(self, status: int) -> None:
        """Note that the call was answered."""
        method = "POST" if self._name else "GET"
        took_s = perf_counter() - self._began
        gate.note(self._shop.metrics, self._request_id, method, ROUTES[self._name], status, took_s)

    def _begin(self, body: bytes) -> None:
        if self._shop.settings.open:
            gate.check_host(self._headers.get(b"host", b""))
        if body and self._name:
            gate.check_kind(self._headers, body)
        who = calls.who_of(self._shop, self._header(b"authorization"), self._header(b"x-user"))
        if not self._name:
            call = CartCall(self._shop, who, self._cart_id)
            self._answer(carts.shown_cart(call, self._header(b"if-none-match")))
            return
        if_version = calls.version_of(self._header(b"if-match"))
        key = calls.key_of(self._header(b"idempotency-key"))
        model, command = COMMANDS[self._name]
        self._shop.committer.put(
            Ask(self._cart_id, command(_body(model, body)), who, if_version, key), self._carried_out
        )

    def _carried_out(self, outcome: Answer | BaseException) -> None:
        if isinstance(outcome, Answer):
            told = b'{"version": %d}' % outcome.version
            head = b'content-length: %d\r\netag: "%d"\r\ncontent-type: application/json\r\n'
            self._send(200, head % (len(told), outcome.version), told)
        else:
            self.refuse(outcome if isinstance(outcome, Exception) else RuntimeError(repr(outcome)))

    def _answer(self, answer: Response) -> None:
        head = b"".join([b"%s: %s\r\n" % header for header in answer.raw_headers])
        close = answer.headers.get("connection") == "close"
        self._send(answer.status_code, head, bytes(answer.body), keep_alive=not close)

    def _send(self, status: int, head: bytes, body: bytes, *, keep_alive: bool = True) -> None:
        head = b"%sx-request-id: %s\r\n%s" % (head, self._request_id.encode(), SECURE)
        self._tell(Reply(status, head, body, keep_alive))

    def _header(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")


def _body(model: type[Body], text: bytes) -> Body:
    if not text:
        raise invalid([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    try:
        return model.model_validate(json.loads(text))
    except ValidationError as error:
        raise invalid([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    except (ValueError, RecursionError) as error:
        raise ApiProblem(400, "malformed_json", f"the body is no JSON: {error}") from error
