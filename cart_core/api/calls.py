"""What a call carries beside its body: who asks, for which cart, under which conditions."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Path, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.responses import Response

from cart_core.api.committer import Committer
from cart_core.api.metrics import Metrics
from cart_core.api.problems import ApiProblem
from cart_core.api.settings import Settings
from cart_core.api.tokens import Tokens
from cart_core.commands import Command, Strategy
from cart_core.errors import shown
from cart_core.projector import CartState
from cart_core.service import Answer, Ask, CartService, MergeAsk, Redo, Undo, Who

SHOWN_CARTS = 20_000
OPEN_USER = "local"
ETAG = re.compile(r'([*]|(W/)?"[0-9]{1,10}")')
KEY = re.compile(r"[!-~]{1,255}")


@dataclass(slots=True)
class Shop:
    """What every call of one running server shares."""

    settings: Settings
    service: CartService
    committer: Committer
    tokens: Tokens | None
    metrics: Metrics
    shown: Shown


class Shown:
    """Carts as the bytes that were sent last, for as long as the cart is the same."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[CartState, bytes]] = OrderedDict()

    def bytes_of(self, state: CartState) -> bytes:
        """A cart's JSON document."""
        kept = self._kept.get(state.cart_id)
        if kept is not None and kept[0] is state:
            return kept[1]
        body = json.dumps(state.to_json(), ensure_ascii=False).encode()
        self._kept[state.cart_id] = (state, body)
        while len(self._kept) > SHOWN_CARTS:
            self._kept.popitem(last=False)
        return body


async def shop_of(request: Request) -> Shop:
    """The running server's shop."""
    shop: Shop = request.app.state.shop
    return shop


async def known_queries(request: Request) -> None:
    """Refuse a query that the call does not know: a misspelt one would be passed over in silence."""
    if request.query_params:
        known = _queries(request.scope["route"].dependant)
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            told = f"the call has no query {', '.join(map(shown, unknown))}"
            raise ApiProblem(422, "invalid_request", f"{told}; it knows {', '.join(sorted(known)) or 'none'}")


def _queries(dependant: Dependant) -> set[str]:
    own = {each.alias for each in dependant.query_params}
    return own.union(*map(_queries, dependant.dependencies))


bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A JWT whose `sub` is the user.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
TheShop = Annotated[Shop, Depends(shop_of)]


async def caller(request: Request, shop: TheShop, _: Bearer) -> Who:
    """Who calls. Raises ApiProblem 401 where a token is needed and does not count."""
    return who_of(shop, request.headers.get("authorization"), request.headers.get("x-user"))


def who_of(shop: Shop, authorization: str | None, open_user: str | None) -> Who:
    """Who calls, by the header of a bearer token; on a server without tokens, whoever the caller says."""
    if shop.tokens is None:
        return Who(open_user or OPEN_USER, any_cart=True, may_read=True)
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ApiProblem(
            401, "missing_token", "send a header Authorization: Bearer <token>", headers={"WWW-Authenticate": "Bearer"}
        )
    return shop.tokens.who(token.strip())


Caller = Annotated[Who, Depends(caller)]


@dataclass(slots=True)
class CartCall:
    """One call about one cart: who asks, under which expected version and idempotency key."""

    shop: Shop
    who: Who
    cart_id: str
    if_version: int | None = None
    key: str | None = None

    async def give(
        self, what: Command | Undo | Redo, tell: Callable[[Answer], dict[str, Any]] | None = None
    ) -> Response:
        """Give the cart a command; the answer is its new version and what ``tell`` adds."""
        return self.told(
            await self.shop.committer.ask(Ask(self.cart_id, what, self.who, self.if_version, self.key)), tell
        )

    async def merge(self, from_cart_id: str, strategy: Strategy, guest: Who | None) -> Response:
        """Bring another cart into this one."""
        ask = MergeAsk(self.cart_id, from_cart_id, strategy, self.who, guest, self.if_version, self.key)
        return self.told(await self.shop.committer.ask(ask), None)

    def told(self, answer: Answer, tell: Callable[[Answer], dict[str, Any]] | None) -> Response:
        """An answer as a response with its ETag."""
        document = {**(tell(answer) if tell else {}), "version": answer.version}
        return Response(json.dumps(document), headers={"ETag": etag(answer.version)}, media_type="application/json")


CartId = Annotated[UUID, Path(alias="cartId", description="The cart's id; a new one starts a cart.")]


async def cart_call(
    cart_id: CartId,
    shop: TheShop,
    who: Caller,
    if_match: Annotated[
        str | None,
        Header(
            description='Carry out only if the cart is at this version, such as `"3"`.',
            json_schema_extra={"pattern": f"^{ETAG.pattern}$"},
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="A retry under the same key is given the first answer.",
            json_schema_extra={"pattern": f"^{KEY.pattern}$"},
        ),
    ] = None,
) -> CartCall:
    """The call that a request makes. Raises ApiProblem where a header cannot be read."""
    return CartCall(shop, who, str(cart_id), version_of(if_match), key_of(idempotency_key))


async def cart_view(cart_id: CartId, shop: TheShop, who: Caller) -> CartCall:
    """The call that a request to see a cart makes."""
    return CartCall(shop, who, str(cart_id))


TheCall = Annotated[CartCall, Depends(cart_call)]
TheView = Annotated[CartCall, Depends(cart_view)]


def etag(version: int) -> str:
    """A version as an ETag."""
    return f'"{version}"'


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match header names; None where it names none. Raises ApiProblem 422."""
    if not if_match or if_match == "*":
        return None
    if ETAG.fullmatch(if_match) is None:
        raise ApiProblem(422, "invalid_request", f'If-Match is {shown(if_match)}, but must be one version such as "3"')
    return int(if_match.strip('W/"'))


def key_of(idempotency_key: str | None) -> str | None:
    """The key that an Idempotency-Key header gives. Raises ApiProblem 422 where it is none."""
    if idempotency_key is not None and KEY.fullmatch(idempotency_key) is None:
        raise ApiProblem(422, "invalid_request", "Idempotency-Key must be 1 to 255 visible letters of ASCII, no blanks")
    return idempotency_key
