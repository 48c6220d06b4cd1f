"""A typed client of the HTTP API; what it writes is written once, however often the network makes it ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from cart_core import rules
from cart_core.commands import Strategy
from cart_core.errors import Refused, StoreBusy, StoreError
from cart_core.events import Envelope
from cart_core.projector import CartState, Coupon, Line

TRIES = 4
FIRST_PAUSE_S = 0.1
TIMEOUT_S = 30.0
BUSY = 503
SERVER_ERRORS = 500
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """An undo or redo: the type of the event it took back or carried out again, and the cart's version after it."""

    type: str
    version: int


@dataclass(frozen=True, slots=True)
class Charge:
    """A completed checkout: the cart's version, and the cart's own total where the one charged differs from it."""

    version: int
    projected_total_cents: int | None = None

    @property
    def total_mismatch(self) -> bool:
        """Whether another total was charged than the cart's own."""
        return self.projected_total_cents is not None


class CartClient:
    """Calls a server for one user. Safe for several threads.

    Every command carries an idempotency key, and is asked again under it where the server is busy or cannot be reached,
    so an answer that was lost on the way is no second command. ``if_version`` makes it fail where the cart is at
    another version. Methods that command return the cart's new version.

    All raise Refused, with the server's name for it, where the server refuses; StoreBusy or StoreError where it fails
    or cannot be reached after four tries.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        """Call the server at ``url`` with a bearer ``token``; on a server without tokens, as ``user``."""
        headers = {"Authorization": f"Bearer {token}"} if token else {"X-User": user} if user else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, transport=transport)
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def add(
        self,
        cart_id: str,
        product_id: str,
        product_name: str,
        price_cents: int,
        quantity: int = 1,
        *,
        currency: str = "USD",
        image_url: str | None = None,
        if_version: int | None = None,
    ) -> int:
        """Add units of a product."""
        body = {
            "productId": product_id,
            "productName": product_name,
            "priceCents": price_cents,
            "quantity": quantity,
            "currency": currency,
        }
        picture = {} if image_url is None else {"imageUrl": image_url}
        return self._version(cart_id, "add", {**body, **picture}, if_version)

    def remove(self, cart_id: str, product_id: str, *, if_version: int | None = None) -> int:
        """Remove a product."""
        return self._version(cart_id, "remove", {"productId": product_id}, if_version)

    def set_quantity(self, cart_id: str, product_id: str, quantity: int, *, if_version: int | None = None) -> int:
        """Set the units of a line; 0 removes it."""
        return self._version(cart_id, "quantity", {"productId": product_id, "quantity": quantity}, if_version)

    def apply_coupon(
        self,
        cart_id: str,
        coupon_code: str,
        discount_type: str,
        discount_value: float,
        *,
        if_version: int | None = None,
    ) -> int:
        """Apply a coupon: a ``percentage``, or a ``fixed`` sum of minor units."""
        body = {"couponCode": coupon_code, "discountType": discount_type, "discountValue": discount_value}
        return self._version(cart_id, "coupon", body, if_version)

    def remove_coupon(self, cart_id: str, coupon_code: str, *, if_version: int | None = None) -> int:
        """Remove a coupon."""
        return self._version(cart_id, "coupon/remove", {"couponCode": coupon_code}, if_version)

    def start_checkout(self, cart_id: str, *, if_version: int | None = None) -> int:
        """Start the checkout."""
        return self._version(cart_id, "checkout/start", {}, if_version)

    def complete_checkout(
        self, cart_id: str, order_id: str, total_cents: int, *, if_version: int | None = None
    ) -> Charge:
        """State the order and the total that was charged."""
        body = {"orderId": order_id, "totalCents": total_cents}
        told = self._command(f"/v1/cart/{cart_id}/checkout/complete", body, if_version)
        return Charge(told["version"], told.get("projectedTotalCents"))

    def undo(self, cart_id: str, *, if_version: int | None = None) -> Step:
        """Take back the shopper's last command."""
        told = self._command(f"/v1/cart/{cart_id}/undo", {}, if_version)
        return Step(told["undone"], told["version"])

    def redo(self, cart_id: str, *, if_version: int | None = None) -> Step:
        """Carry out again what was taken back last."""
        told = self._command(f"/v1/cart/{cart_id}/redo", {}, if_version)
        return Step(told["redone"], told["version"])

    def merge(
        self, cart_id: str, from_cart_id: str, strategy: Strategy = "sum", *, guest_token: str | None = None
    ) -> int:
        """Bring a guest's cart into this one, with the guest's own token."""
        proof = {} if guest_token is None else {"guestToken": guest_token}
        return self._version(cart_id, "merge", {"fromCartId": from_cart_id, "strategy": strategy, **proof}, None)

    def change_price(self, product_id: str, price_cents: int, currency: str, reason: str) -> int:
        """Change a product's price in every open cart that holds it; in how many carts it changed."""
        body = {"productId": product_id, "priceCents": price_cents, "currency": currency, "reason": reason}
        carts: int = self._call("POST", "/v1/prices", body, {})["carts"]
        return carts

    def cart(self, cart_id: str, *, version: int | None = None, at: str | None = None) -> CartState:
        """A cart as it is, or as it was at a version or a moment (RFC 3339)."""
        bounds = {"version": version, "at": at}
        query = {name: value for name, value in bounds.items() if value is not None}
        return state_from_json(self._call("GET", f"/v1/cart/{cart_id}", None, {}, query))

    def carts(self, status: str | None = None) -> list[CartState]:
        """The user's carts, the latest touched first."""
        found = self._call("GET", "/v1/carts", None, {}, {} if status is None else {"status": status})
        return [state_from_json(each) for each in found["carts"]]

    def events(self, cart_id: str) -> list[Envelope]:
        """Every event of a cart, by version."""
        return [
            Envelope.from_json(each) for each in self._call("GET", f"/v1/cart/{cart_id}/events", None, {})["events"]
        ]

    def price_history(self, cart_id: str, product_id: str) -> Sequence[Document]:
        """Every price that a product had in a cart."""
        path = f"/v1/cart/{cart_id}/price-history/{quote(product_id, safe='')}"
        rows: Sequence[Document] = self._call("GET", path, None, {})["priceHistory"]
        return rows

    def evidence(self, cart_id: str, product_id: str) -> Document:
        """The evidence pack's document."""
        return self._call("GET", f"/v1/cart/{cart_id}/evidence/{quote(product_id, safe='')}", None, {})

    def position(self) -> int:
        """The position of the store's last event."""
        position: int = self._call("GET", "/health", None, {})["position"]
        return position

    def _version(self, cart_id: str, call: str, body: Document, if_version: int | None) -> int:
        version: int = self._command(f"/v1/cart/{cart_id}/{call}", body, if_version)["version"]
        return version

    def _command(self, path: str, body: Document, if_version: int | None) -> Document:
        condition = {} if if_version is None else {"If-Match": f'"{if_version}"'}
        return self._call("POST", path, body, {"Idempotency-Key": uuid4().hex, **condition})

    def _call(
        self,
        method: str,
        path: str,
        body: Document | None,
        headers: Mapping[str, str],
        query: Mapping[str, Any] | None = None,
    ) -> Document:
        for tried in range(1, TRIES + 1):
            try:
                answer = self._http.request(method, path, json=body, headers=headers, params=query)
            except httpx.TransportError as error:
                if tried == TRIES:
                    raise StoreError(f"{self._http.base_url} cannot be reached: {error!r}") from error
            else:
                if answer.status_code != BUSY or tried == TRIES:
                    return _document(answer)
            self._pause(FIRST_PAUSE_S * 2 ** (tried - 1))
        raise AssertionError  # the last try returned or raised


def state_from_json(document: Mapping[str, Any]) -> CartState:
    """A cart from the document that ``CartState.to_json`` made."""
    lines = tuple(
        Line(
            item["productId"],
            item["productName"],
            item["quantity"],
            item["pricePerUnitCents"],
            item["originalPriceCents"],
            rules.parse_time(item["addedAt"]),
            item["currency"],
            item.get("imageUrl"),
        )
        for item in document["items"]
    )
    coupons = tuple(
        Coupon(each["code"], each["discountType"], float(each["discountValue"])) for each in document["coupons"]
    )
    moments: Document = {
        python: None if document[json] is None else rules.parse_time(document[json]) for python, json in MOMENTS.items()
    }
    plain = {python: document[json] for python, json in PLAIN.items()}
    return CartState(lines=lines, coupons=coupons, **moments, **plain)


MOMENTS = {
    "first_event_at": "firstEventAt",
    "last_event_at": "lastEventAt",
    "last_activity_at": "lastActivityAt",
    "checkout_started_at": "checkoutStartedAt",
}
PLAIN = {
    "cart_id": "cartId",
    "user_id": "userId",
    "status": "status",
    "version": "version",
    "currency": "currency",
    "subtotal_cents": "subtotalCents",
    "discount_cents": "discountCents",
    "total_cents": "totalCents",
    "order_id": "orderId",
    "charged_total_cents": "chargedTotalCents",
}


def _document(answer: httpx.Response) -> Document:
    """What an answer says. Raises what it says went wrong."""
    try:
        told: Document = answer.json()
    except ValueError:
        told = {}
    if answer.is_success:
        return told
    detail = str(told.get("detail", f"status {answer.status_code}"))
    if answer.status_code == BUSY:
        raise StoreBusy(detail)
    if answer.status_code >= SERVER_ERRORS:
        raise StoreError(detail)
    known = ("type", "title", "status", "detail", "code")
    raise Refused(
        str(told.get("code", "refused")), detail, **{name: value for name, value in told.items() if name not in known}
    )
