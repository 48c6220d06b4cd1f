"""The calls about a user's carts, about prices, and about the server itself."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from cart_core.api import docs, metrics
from cart_core.api.bodies import Health, PriceBody, Repriced, ShownCarts
from cart_core.api.calls import Caller, Shop, TheShop
from cart_core.api.carts import json_response
from cart_core.api.problems import ApiProblem
from cart_core.service import Changed, Price, carry_out, price_asks

router = APIRouter()
Status = Literal["active", "abandoned", "checked_out"]


@router.get("/v1/carts", tags=["carts"], response_model=ShownCarts, responses=docs.ALWAYS, summary="The caller's carts")
async def carts(
    shop: TheShop,
    who: Caller,
    status: Annotated[Status | None, Query(description="Only carts of this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
) -> Response:
    """List the carts of the token's user, the latest touched first: how a browser that lost everything finds them."""
    states = await asyncio.to_thread(shop.service.carts_of, who, status, limit)
    return json_response({"carts": [state.to_json() for state in states]})


@router.post("/v1/prices", tags=["prices"], response_model=Repriced, responses=docs.PRICING, summary="Change a price")
async def change_price(shop: TheShop, who: Caller, body: PriceBody) -> Response:
    """Change a product's price in every open cart that holds it in this currency. Needs the scope ``service``."""
    if not who.any_cart:
        raise ApiProblem(403, "scope_needed", "changing prices needs the scope service")
    changed = await asyncio.to_thread(_reprice, shop, body)
    return json_response({"carts": changed.carts})


@router.get(
    "/health", tags=["server"], response_model=Health, responses=docs.HEALTH, summary="Whether the store answers"
)
async def health(shop: TheShop) -> Response:
    """Answer with the store's last position."""
    return json_response({"status": "ok", "position": shop.service.store.position()})


@router.get("/metrics", tags=["server"], response_class=Response, responses=docs.METRICS, summary="Counters")
async def counters(shop: TheShop) -> Response:
    """Everything counted, in Prometheus' text format."""
    return Response(shop.metrics.text(shop.service.store.position()), media_type=metrics.MEDIA_TYPE)


def _reprice(shop: Shop, body: PriceBody) -> Changed:
    price = Price(body.product_id, body.price_cents, body.currency.upper(), reason=body.reason)
    return carry_out(shop.committer.ask_all, price_asks(shop.service.store, [price]))
