"""The fold of one cart, in plain Python: what its events mean.

Everything else that folds (the compiled fold of whole tables, SQL, Spark) is held equal to this file by tests.
Apply events in version order to an empty cart, or to a state that was kept, and read the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Literal

from cart_core import rules
from cart_core.errors import OutOfOrder
from cart_core.events import (
    CouponApplied,
    CouponRemoved,
    Envelope,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.rules import INT64_MAX, PERCENT_STEPS

Status = Literal["active", "abandoned", "checked_out"]
UNIT_STEPS = 100 * PERCENT_STEPS
ADDED_AT_KEY = "added_at"


@dataclass(frozen=True, slots=True)
class Line:
    """One product in a cart: its quantity, its price now and when it was added, in minor units."""

    product_id: str
    product_name: str
    quantity: int
    price_cents: int
    original_price_cents: int
    added_at: datetime
    currency: str
    image_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The line as an item of ``cart show``."""
        shown = {
            "productId": self.product_id,
            "productName": self.product_name,
            "quantity": self.quantity,
            "pricePerUnitCents": self.price_cents,
            "originalPriceCents": self.original_price_cents,
            "addedAt": rules.format_time(self.added_at),
            "currency": self.currency,
        }
        return shown if self.image_url is None else shown | {"imageUrl": self.image_url}


@dataclass(frozen=True, slots=True)
class Coupon:
    """One coupon on a cart; ``discount_value`` is a percentage, or minor units where the type is ``fixed``."""

    code: str
    discount_type: str
    discount_value: float

    def to_json(self) -> dict[str, Any]:
        """The coupon as in ``cart show``; a whole value is shown without a fraction."""
        value = self.discount_value
        return {
            "code": self.code,
            "discountType": self.discount_type,
            "discountValue": int(value) if value.is_integer() else value,
        }


@dataclass(frozen=True, slots=True)
class CartState:
    """A cart after some of its events.

    Lines stand in order of (added_at, product_id), coupons in order of application. Money is in minor units and
    stops at 2**63 - 1. ``currency`` is None where no line stands or where lines mix currencies; totals are 0 in the
    first case and None in the second. ``user_id`` is the user of the first event. Times are those of the events with
    the highest version of their kind, which need not be the latest clock time.
    """

    cart_id: str
    user_id: str | None = None
    status: Status = "active"
    version: int = 0
    lines: tuple[Line, ...] = ()
    coupons: tuple[Coupon, ...] = ()
    currency: str | None = None
    subtotal_cents: int | None = 0
    discount_cents: int | None = 0
    total_cents: int | None = 0
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None
    last_activity_at: datetime | None = None
    checkout_started_at: datetime | None = None
    order_id: str | None = None
    charged_total_cents: int | None = None

    @classmethod
    def empty(cls, cart_id: str) -> CartState:
        """The cart before its first event: version 0, active, nobody's."""
        return cls(cart_id)

    @property
    def line_count(self) -> int:
        """How many products stand in the cart."""
        return len(self.lines)

    @property
    def unit_count(self) -> int:
        """The sum of all quantities."""
        return sum(line.quantity for line in self.lines)

    def line(self, product_id: str) -> Line | None:
        """The line of a product, or None where it is not in the cart."""
        return next((line for line in self.lines if line.product_id == product_id), None)

    def _repr_html_(self) -> str:
        from cart_core.projector.showing import state_html

        return state_html(self)

    def to_json(self) -> dict[str, Any]:
        """The state as the camelCase document of ``cart show``."""
        return {
            "cartId": self.cart_id,
            "userId": self.user_id,
            "status": self.status,
            "version": self.version,
            "items": [line.to_json() for line in self.lines],
            "coupons": [coupon.to_json() for coupon in self.coupons],
            "currency": self.currency,
            "subtotalCents": self.subtotal_cents,
            "discountCents": self.discount_cents,
            "totalCents": self.total_cents,
            "firstEventAt": _shown(self.first_event_at),
            "lastEventAt": _shown(self.last_event_at),
            "lastActivityAt": _shown(self.last_activity_at),
            "checkoutStartedAt": _shown(self.checkout_started_at),
            "orderId": self.order_id,
            "chargedTotalCents": self.charged_total_cents,
        }


def fold(envelopes: Iterable[Envelope], start: CartState | None = None) -> CartState:
    """The state of one cart after these events, given in any order, applied in version order on top of ``start``.

    Versions may have gaps (a history filtered by time has them). No events and no start give an empty cart whose id
    is the empty text. Raises OutOfOrder where two events share a version, one is not above the start's version, or
    an event belongs to another cart; it never raises otherwise.
    """
    building = CartFold(start)
    for envelope in sorted(envelopes, key=attrgetter("version")):
        building.apply(envelope)
    return building.state()


class CartFold:
    """A cart under construction: apply events one at a time, in version order, and read its state whenever needed.

    Applying costs the same however long the cart's history is; reading costs its lines and coupons.
    """

    __slots__ = (
        "_abandoned",
        "_added",
        "_cart_id",
        "_charged_total_cents",
        "_checked_out",
        "_checkout_started_at",
        "_coupons",
        "_first_event_at",
        "_last_activity_at",
        "_last_event_at",
        "_lines",
        "_order_id",
        "_user_id",
        "version",
    )

    def __init__(self, start: CartState | None = None) -> None:
        kept = CartState.empty("") if start is None else start
        self.version = kept.version
        self._cart_id = kept.cart_id
        self._user_id = kept.user_id
        self._abandoned = kept.status == "abandoned"
        self._checked_out = kept.status == "checked_out"
        self._first_event_at = kept.first_event_at
        self._last_event_at = kept.last_event_at
        self._last_activity_at = kept.last_activity_at
        self._checkout_started_at = kept.checkout_started_at
        self._order_id = kept.order_id
        self._charged_total_cents = kept.charged_total_cents
        self._lines = {line.product_id: line for line in kept.lines}
        self._coupons: dict[str, list[tuple[int, Coupon]]] = {}
        self._added = 0
        for coupon in kept.coupons:
            self._add_coupon(coupon)

    def apply(self, envelope: Envelope) -> None:
        """Take in the cart's next event.

        Raises OutOfOrder, and changes nothing, where its version is not above the version reached or it belongs to
        another cart.
        """
        self._check(envelope)
        if self.version == 0:
            self._cart_id = envelope.cart_id
            self._user_id = envelope.user_id
            self._first_event_at = envelope.timestamp
        self.version = envelope.version
        self._last_event_at = envelope.timestamp
        self._rules[envelope.event.type](self, envelope)

    def state(self) -> CartState:
        """The cart as it stands."""
        lines = tuple(sorted(self._lines.values(), key=attrgetter("added_at", "product_id")))
        coupons = tuple(self._coupons_in_order())
        currencies = {line.currency for line in lines}
        mixed = len(currencies) > 1
        subtotal = None if mixed else subtotal_cents(lines)
        discount = None if subtotal is None else discount_cents(subtotal, coupons)
        return CartState(
            cart_id=self._cart_id,
            user_id=self._user_id,
            status=self._status(),
            version=self.version,
            lines=lines,
            coupons=coupons,
            currency=currencies.pop() if len(currencies) == 1 else None,
            subtotal_cents=subtotal,
            discount_cents=discount,
            total_cents=None if subtotal is None or discount is None else subtotal - discount,
            first_event_at=self._first_event_at,
            last_event_at=self._last_event_at,
            last_activity_at=self._last_activity_at,
            checkout_started_at=self._checkout_started_at,
            order_id=self._order_id,
            charged_total_cents=self._charged_total_cents,
        )

    def _check(self, envelope: Envelope) -> None:
        if envelope.version <= self.version:
            raise OutOfOrder(envelope.cart_id, envelope.version, self.version)
        if self._cart_id and envelope.cart_id != self._cart_id:
            raise OutOfOrder(envelope.cart_id, envelope.version, self.version, other=self._cart_id)

    def _status(self) -> Status:
        if self._checked_out:
            return "checked_out"
        return "abandoned" if self._abandoned else "active"

    def _shopper_acted(self, envelope: Envelope) -> None:
        self._abandoned = False
        self._last_activity_at = envelope.timestamp

    def _item_added(self, envelope: Envelope) -> None:
        event: ItemAdded = envelope.event  # type: ignore[assignment]
        self._lines[event.product_id] = Line(
            product_id=event.product_id,
            product_name=event.product_name,
            quantity=event.quantity,
            price_cents=event.price_per_unit_cents,
            original_price_cents=event.price_per_unit_cents,
            added_at=added_at(envelope),
            currency=event.currency,
            image_url=event.image_url,
        )
        self._shopper_acted(envelope)

    def _item_removed(self, envelope: Envelope) -> None:
        event: ItemRemoved = envelope.event  # type: ignore[assignment]
        self._lines.pop(event.product_id, None)
        self._shopper_acted(envelope)

    def _quantity_changed(self, envelope: Envelope) -> None:
        event: QuantityChanged = envelope.event  # type: ignore[assignment]
        line = self._lines.get(event.product_id)
        if line is not None:
            self._lines[event.product_id] = _with(line, quantity=event.new_quantity, price_cents=line.price_cents)
        self._shopper_acted(envelope)

    def _price_updated(self, envelope: Envelope) -> None:
        event: PriceUpdated = envelope.event  # type: ignore[assignment]
        line = self._lines.get(event.product_id)
        if line is not None:
            self._lines[event.product_id] = _with(line, quantity=line.quantity, price_cents=event.new_price_cents)

    def _coupon_applied(self, envelope: Envelope) -> None:
        event: CouponApplied = envelope.event  # type: ignore[assignment]
        self._add_coupon(Coupon(event.coupon_code, event.discount_type, float(event.discount_value)))
        self._shopper_acted(envelope)

    def _coupon_removed(self, envelope: Envelope) -> None:
        event: CouponRemoved = envelope.event  # type: ignore[assignment]
        self._coupons.pop(event.coupon_code, None)
        if event.reason not in ("expired", "invalid"):
            self._shopper_acted(envelope)

    def _cart_abandoned(self, _: Envelope) -> None:
        self._abandoned = True

    def _checkout_started(self, envelope: Envelope) -> None:
        self._checkout_started_at = envelope.timestamp
        self._shopper_acted(envelope)

    def _checkout_completed(self, envelope: Envelope) -> None:
        self._checked_out = True
        self._order_id = envelope.event.order_id  # type: ignore[union-attr]
        self._charged_total_cents = envelope.event.total_cents  # type: ignore[union-attr]

    def _add_coupon(self, coupon: Coupon) -> None:
        self._added += 1
        self._coupons.setdefault(coupon.code, []).append((self._added, coupon))

    def _coupons_in_order(self) -> Iterator[Coupon]:
        applied = [each for same_code in self._coupons.values() for each in same_code]
        return (coupon for _, coupon in sorted(applied, key=lambda each: each[0]))

    _rules: ClassVar[dict[str, Callable[[CartFold, Envelope], None]]] = {
        "ItemAdded": _item_added,
        "ItemRemoved": _item_removed,
        "QuantityChanged": _quantity_changed,
        "CouponApplied": _coupon_applied,
        "CouponRemoved": _coupon_removed,
        "PriceUpdated": _price_updated,
        "CartAbandoned": _cart_abandoned,
        "CheckoutStarted": _checkout_started,
        "CheckoutCompleted": _checkout_completed,
    }


def added_at(envelope: Envelope) -> datetime:
    """When a line counts as added: ``metadata.added_at`` where that is an RFC 3339 time, else the event's time."""
    told = envelope.metadata.get(ADDED_AT_KEY)
    if told is None:
        return envelope.timestamp
    try:
        return rules.parse_time(told)
    except ValueError:
        return envelope.timestamp


def subtotal_cents(lines: Iterable[Line]) -> int:
    """The sum of price times quantity, at most 2**63 - 1."""
    return min(sum(line.price_cents * line.quantity for line in lines), INT64_MAX)


def discount_cents(subtotal: int, coupons: Iterable[Coupon]) -> int:
    """What all coupons together take off, at most the subtotal.

    Each percentage is taken of the undiscounted subtotal and rounded half-up on its own; fixed sums are added.
    """
    return min(sum(_worth(subtotal, coupon) for coupon in coupons), subtotal)


def _worth(subtotal: int, coupon: Coupon) -> int:
    if coupon.discount_type == "fixed":
        return int(coupon.discount_value)
    steps = math.floor(coupon.discount_value * PERCENT_STEPS + 0.5)
    return (subtotal * steps + UNIT_STEPS // 2) // UNIT_STEPS


def _with(line: Line, *, quantity: int, price_cents: int) -> Line:
    return Line(
        line.product_id,
        line.product_name,
        quantity,
        price_cents,
        line.original_price_cents,
        line.added_at,
        line.currency,
        line.image_url,
    )


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else rules.format_time(moment)
