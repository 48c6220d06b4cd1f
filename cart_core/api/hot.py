"""The calls that a shop makes all day, without the cost of FastAPI's dependencies.

Measured with 16 connections, FastAPI's own work for an add was three times that of everything else together (resolving
dependencies above all). The calls here do what the ones of ``carts`` do, with the same bodies, commands and errors, and
a test holds the answers of both equal. What is not written in the plainest form is left to FastAPI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cart_core import rules
from cart_core.api import calls, carts
from cart_core.api.bodies import AddBody, Body, QuantityBody, RemoveBody
from cart_core.api.calls import CartCall, Shop
from cart_core.api.problems import ApiProblem, invalid
from cart_core.commands import Command

PATH = re.compile(rf"/v1/cart/(?P<cart>{rules.UUID_TEXT.pattern})(?:/(?P<name>add|remove|quantity))?")
COMMANDS: dict[str, tuple[type[Body], Callable[[Any], Command]]] = {
    "add": (AddBody, carts.add_item),
    "remove": (RemoveBody, carts.remove_item),
    "quantity": (QuantityBody, carts.set_quantity),
}
ROUTES = {name: "/v1/cart/{cartId}" + (f"/{name}" if name else "") for name in (None, *COMMANDS)}


class HotCalls:
    """An ASGI middleware that answers a few calls itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        found = PATH.fullmatch(scope["path"]) if scope["type"] == "http" and not scope["query_string"] else None
        if found is None or scope["method"] != ("POST" if found["name"] else "GET"):
            await self._app(scope, receive, send)
            return
        scope["route_path"] = ROUTES[found["name"]]
        answer = await _answer(scope["app"].state.shop, scope, found["cart"].lower(), found["name"], receive)
        await answer(scope, receive, send)


async def _answer(shop: Shop, scope: Scope, cart_id: str, name: str | None, receive: Receive) -> Response:
    headers = dict(scope["headers"])

    def header(name: bytes) -> str | None:
        value = headers.get(name)
        return None if value is None else value.decode("latin-1")

    who = calls.who_of(shop, header(b"authorization"), header(b"x-user"))
    if name is None:
        return carts.shown_cart(CartCall(shop, who, cart_id), header(b"if-none-match"))
    call = CartCall(shop, who, cart_id, calls.version_of(header(b"if-match")), calls.key_of(header(b"idempotency-key")))
    model, command = COMMANDS[name]
    return await call.give(command(_body(model, (await receive())["body"])))


def _body(model: type[Body], text: bytes) -> Body:
    if not text:
        raise invalid([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    try:
        return model.model_validate(json.loads(text))
    except ValidationError as error:
        raise invalid([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    except (ValueError, RecursionError) as error:
        raise ApiProblem(400, "malformed_json", f"the body is no JSON: {error}") from error
