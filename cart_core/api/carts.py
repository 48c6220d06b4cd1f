"""The calls about one cart. They hold no rule: each turns a request into a command and an answer into a response."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from cart_core import prices, rules
from cart_core.api import docs
from cart_core.api.bodies import (
    AddBody,
    Charged,
    CheckoutBody,
    CouponBody,
    CouponRemovalBody,
    EmptyBody,
    MergeBody,
    QuantityBody,
    Redone,
    RemoveBody,
    ShownCart,
    ShownEvents,
    ShownEvidence,
    ShownPrices,
    Undone,
    Written,
)
from cart_core.api.calls import CartCall, TheCall, TheView, etag
from cart_core.api.problems import ApiProblem
from cart_core.commands import (
    AddItem,
    ApplyCoupon,
    CompleteCheckout,
    RemoveCoupon,
    RemoveItem,
    SetQuantity,
    StartCheckout,
)
from cart_core.errors import shown
from cart_core.evidence import make_pack
from cart_core.service import Answer, Redo, Undo

router = APIRouter(prefix="/v1/cart/{cartId}", tags=["cart"])


@router.get("", response_model=ShownCart, responses=docs.reading("A cart"), summary="Show a cart, now or as it was")
async def show(
    call: TheView,
    version: Annotated[int | None, Query(ge=0, le=rules.INT32_MAX, description="As of this version.")] = None,
    at: Annotated[
        str | None, Query(description="As of this moment (RFC 3339).", json_schema_extra={"format": "date-time"})
    ] = None,
    if_none_match: Annotated[str | None, Header(description="Answer 304 if the cart is at this version.")] = None,
) -> Response:
    """Show a cart. Its ETag is its version."""
    if version is None and at is None:
        return shown_cart(call, if_none_match)
    state = await asyncio.to_thread(call.shop.service.cart, call.cart_id, call.who, version, moment_of(at))
    return json_response(state.to_json())


@router.post("/add", response_model=Written, responses=docs.WRITING, summary="Add a product")
async def add(call: TheCall, body: AddBody) -> Response:
    """Add units of a product; one that is there already gets more units and the newer price."""
    return await call.give(add_item(body))


@router.post("/remove", response_model=Written, responses=docs.WRITING, summary="Remove a product")
async def remove(call: TheCall, body: RemoveBody) -> Response:
    """Take a product's line out of the cart."""
    return await call.give(remove_item(body))


@router.post("/quantity", response_model=Written, responses=docs.WRITING, summary="Set a quantity")
async def quantity(call: TheCall, body: QuantityBody) -> Response:
    """Set the units of a line; 0 takes it out."""
    return await call.give(set_quantity(body))


@router.post("/coupon", response_model=Written, responses=docs.WRITING, summary="Apply a coupon")
async def coupon(call: TheCall, body: CouponBody) -> Response:
    """Put a coupon on the cart."""
    return await call.give(ApplyCoupon(body.coupon_code, body.discount_type, body.discount_value))


@router.post("/coupon/remove", response_model=Written, responses=docs.WRITING, summary="Remove a coupon")
async def remove_coupon(call: TheCall, body: CouponRemovalBody) -> Response:
    """Take a coupon off the cart."""
    return await call.give(RemoveCoupon(body.coupon_code, body.reason))


@router.post("/checkout/start", response_model=Written, responses=docs.WRITING, summary="Start the checkout")
async def start_checkout(call: TheCall, _: EmptyBody | None = None) -> Response:
    """Go to the checkout with at least one line."""
    return await call.give(StartCheckout())


@router.post(
    "/checkout/complete",
    response_model=Charged,
    response_model_exclude_unset=True,
    responses=docs.WRITING,
    summary="Complete the checkout",
)
async def complete_checkout(call: TheCall, body: CheckoutBody) -> Response:
    """State the order and what was charged; a total that differs from the cart's own is accepted and flagged."""
    return await call.give(CompleteCheckout(body.order_id, body.total_cents), _charged)


@router.post("/undo", response_model=Undone, responses=docs.WRITING, summary="Undo")
async def undo(call: TheCall, _: EmptyBody | None = None) -> Response:
    """Take back the shopper's last command; repeated, it walks further back."""
    return await call.give(Undo(), lambda answer: {"undone": answer.notes["undone"]})


@router.post("/redo", response_model=Redone, responses=docs.WRITING, summary="Redo")
async def redo(call: TheCall, _: EmptyBody | None = None) -> Response:
    """Carry out again what was taken back last."""
    return await call.give(Redo(), lambda answer: {"redone": answer.notes["redone"]})


@router.post("/merge", response_model=Written, responses=docs.MERGING, summary="Merge a guest's cart into this one")
async def merge(call: TheCall, body: MergeBody) -> Response:
    """Bring a guest's lines and coupons into a user's cart at log-in; the guest's cart ends empty."""
    tokens = call.shop.tokens
    guest = None
    if body.guest_token is not None and tokens is not None:
        try:
            guest = tokens.who(body.guest_token)
        except ApiProblem as problem:
            raise ApiProblem(403, "invalid_guest_token", problem.detail) from problem
    if not rules.UUID_TEXT.fullmatch(body.from_cart_id):
        raise ApiProblem(422, "invalid_request", f"fromCartId is {shown(body.from_cart_id)}, but must be a UUID")
    return await call.merge(body.from_cart_id, body.strategy, guest)


@router.get("/events", response_model=ShownEvents, responses=docs.reading("Events"), summary="Every event")
async def events(call: TheView) -> Response:
    """List every event of the cart, by version."""
    history = await asyncio.to_thread(call.shop.service.history, call.cart_id, call.who)
    return json_response({"events": [each.to_json() for each in history]})


@router.get(
    "/price-history/{productId}",  # noqa: FAST003 - the alias of product_id
    response_model=ShownPrices,
    responses=docs.reading("Prices"),
    summary="What a product cost in the cart",
)
async def price_history(call: TheView, product_id: docs.ProductId) -> Response:
    """List every price that a product had in the cart, and since when."""
    history = await asyncio.to_thread(call.shop.service.history, call.cart_id, call.who)
    return json_response(prices.price_history(history, product_id))


@router.get(
    "/evidence/{productId}",  # noqa: FAST003 - the alias of product_id
    response_model=ShownEvidence,
    responses=docs.reading("Evidence", "unknown_product"),
    summary="The proof of what a product cost in the cart",
)
async def evidence(call: TheView, product_id: docs.ProductId) -> Response:
    """Give the evidence pack's document; events that are not sealed yet have no proof in it."""
    history = await asyncio.to_thread(call.shop.service.history, call.cart_id, call.who)
    store = call.shop.service.store
    return json_response(await asyncio.to_thread(make_pack, store, history, product_id, store.clock()))


def shown_cart(call: CartCall, if_none_match: str | None) -> Response:
    """The cart as it is now, or 304 where the caller has it already."""
    state = call.shop.service.cart(call.cart_id, call.who)
    tag = etag(state.version)
    if if_none_match is not None and tag in if_none_match:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(call.shop.shown.bytes_of(state), headers={"ETag": tag}, media_type="application/json")


def add_item(body: AddBody) -> AddItem:
    """The command that a body asks for."""
    return AddItem(body.product_id, body.product_name, body.price_cents, body.quantity, body.currency, body.image_url)


def remove_item(body: RemoveBody) -> RemoveItem:
    """The command that a body asks for."""
    return RemoveItem(body.product_id)


def set_quantity(body: QuantityBody) -> SetQuantity:
    """The command that a body asks for."""
    return SetQuantity(body.product_id, body.quantity)


def moment_of(text: str | None) -> Any:
    """An RFC 3339 time from a query, in which a plus sign may have become a space. Raises ApiProblem 422."""
    if text is None:
        return None
    try:
        return rules.parse_time(text[:-6] + text[-6:].replace(" ", "+"))
    except ValueError as error:
        raise ApiProblem(422, "invalid_request", f"at: {error}") from error


def json_response(document: object) -> Response:
    """A JSON document as a response."""
    return Response(json.dumps(document, ensure_ascii=False), media_type="application/json")


def _charged(answer: Answer) -> dict[str, Any]:
    if "total_mismatch" not in answer.notes:
        return {}
    projected = answer.notes["projected_total_cents"]
    return {"totalMismatch": True, "projectedTotalCents": int(projected) if projected.isdigit() else None}
