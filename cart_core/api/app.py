"""The application: a FastAPI of every call, with what they share made when it starts and closed when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import cart_core
from cart_core import telemetry
from cart_core.api import carts, shop
from cart_core.api.bodies import Problem
from cart_core.api.calls import Shop, Shown, known_queries
from cart_core.api.committer import Committer
from cart_core.api.gate import Gate
from cart_core.api.metrics import Metrics
from cart_core.api.problems import ApiProblem, invalid
from cart_core.api.settings import Settings
from cart_core.api.tokens import Tokens
from cart_core.api.tracing import Traced
from cart_core.service import CartService, PriceCatalogue
from cart_core.settings import parts
from cart_core.store import CartStore
from cart_core.store.base import Clock, Store


def create_app(settings: Settings, store: Store | None = None, clock: Clock | None = None) -> FastAPI:
    """The application over a store, which it opens and closes itself unless it is handed one."""
    metrics = Metrics()

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        opened = store if store is not None else CartStore.open(settings.store, **parts(), clock=clock)
        catalogue = None if settings.prices is None else PriceCatalogue.read(settings.prices)
        service = CartService(opened, catalogue=catalogue)
        committer = Committer(service, asyncio.get_running_loop())
        tokens = None if settings.trust is None else Tokens(settings.trust, opened.clock)
        app.state.shop = Shop(settings, service, committer, tokens, metrics, Shown())
        try:
            yield
        finally:
            await asyncio.to_thread(committer.close)
            if store is None:
                opened.close()
            await asyncio.to_thread(telemetry.flush)

    app = FastAPI(
        title="Cart Workbench",
        version=cart_core.__version__,
        summary="Shopping carts that remember everything.",
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(known_queries)],
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(carts.router)
    app.include_router(shop.router)
    app.add_middleware(Gate, metrics=metrics, loopback_only=settings.open)
    if telemetry.is_on():
        app.add_middleware(Traced)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _not_routed)
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]
    return app


async def _invalid(_: Request, error: Exception) -> Response:
    """Raise the problem that a request of the wrong shape is."""
    raise invalid(error.errors() if isinstance(error, RequestValidationError) else []) from error


async def _not_routed(request: Request, error: Exception) -> Response:
    """Raise the problem that a path or method without a call is, or a body that could not be read."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    code, told = {
        400: ("malformed_json", "the body is no JSON that can be read"),
        404: ("not_found", f"{request.scope['path']} is no call of this server"),
        405: ("method_not_allowed", f"{request.method} is not the method of {request.scope['path']}"),
    }.get(status, ("failed", "the server failed"))
    raise ApiProblem(status, code, told, headers) from error


def _schema(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problem document among its schemas, and no error shape that is not ours."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for parameter in _parameters(document):
            parameter["schema"] = _not_null(parameter["schema"])
    return app.openapi_schema or {}


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for calls in document["paths"].values():
        for call in calls.values():
            yield from call.get("parameters", ())


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may be absent, but is never null: a header or query has no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]}
