"""The fold that one writes first: pydantic models for events and carts, one event at a time. A peer, not a part."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class ItemAdded(BaseModel):
    """As cart_core.events."""

    type: Literal["ItemAdded"]
    productId: str  # noqa: N815 - JSON's name
    productName: str  # noqa: N815
    quantity: int = Field(gt=0)
    pricePerUnitCents: int = Field(gt=0)  # noqa: N815
    currency: str = Field(min_length=3, max_length=3)
    imageUrl: str | None = None  # noqa: N815


class ItemRemoved(BaseModel):
    """As cart_core.events."""

    type: Literal["ItemRemoved"]
    productId: str  # noqa: N815


class QuantityChanged(BaseModel):
    """As cart_core.events."""

    type: Literal["QuantityChanged"]
    productId: str  # noqa: N815
    oldQuantity: int  # noqa: N815
    newQuantity: int = Field(gt=0)  # noqa: N815


class CouponApplied(BaseModel):
    """As cart_core.events."""

    type: Literal["CouponApplied"]
    couponCode: str  # noqa: N815
    discountType: Literal["percentage", "fixed"]  # noqa: N815
    discountValue: float = Field(gt=0)  # noqa: N815


class CouponRemoved(BaseModel):
    """As cart_core.events."""

    type: Literal["CouponRemoved"]
    couponCode: str  # noqa: N815
    reason: str | None = None


class PriceUpdated(BaseModel):
    """As cart_core.events."""

    type: Literal["PriceUpdated"]
    productId: str  # noqa: N815
    oldPriceCents: int = Field(ge=0)  # noqa: N815
    newPriceCents: int = Field(ge=0)  # noqa: N815
    reason: str


class CartAbandoned(BaseModel):
    """As cart_core.events."""

    type: Literal["CartAbandoned"]
    lastActivityAt: datetime  # noqa: N815


class CheckoutStarted(BaseModel):
    """As cart_core.events."""

    type: Literal["CheckoutStarted"]


class CheckoutCompleted(BaseModel):
    """As cart_core.events."""

    type: Literal["CheckoutCompleted"]
    orderId: str  # noqa: N815
    totalCents: int  # noqa: N815


Event = (
    ItemAdded
    | ItemRemoved
    | QuantityChanged
    | CouponApplied
    | CouponRemoved
    | PriceUpdated
    | CartAbandoned
    | CheckoutStarted
    | CheckoutCompleted
)


class Envelope(BaseModel):
    """As cart_core.events."""

    eventId: UUID  # noqa: N815
    cartId: UUID  # noqa: N815
    userId: str  # noqa: N815
    timestamp: datetime
    version: int = Field(ge=1)
    event: Annotated[Event, Field(discriminator="type")]
    metadata: dict[str, str] = {}


class Line(BaseModel):
    """One product of a cart."""

    product_name: str
    quantity: int
    price_cents: int
    original_price_cents: int
    added_at: datetime
    currency: str


class Cart(BaseModel):
    """A cart after some of its events."""

    status: str = "active"
    version: int = 0
    last_event_at: datetime | None = None
    lines: dict[str, Line] = {}
    coupons: list[CouponApplied] = []
    order_id: str | None = None

    def apply(self, envelope: Envelope) -> None:
        """Take in the next event."""
        event = envelope.event
        self.version, self.last_event_at = envelope.version, envelope.timestamp
        if isinstance(event, ItemAdded):
            price = event.pricePerUnitCents
            self.lines[event.productId] = Line(
                product_name=event.productName,
                quantity=event.quantity,
                price_cents=price,
                original_price_cents=price,
                added_at=envelope.timestamp,
                currency=event.currency,
            )
        elif isinstance(event, ItemRemoved):
            self.lines.pop(event.productId, None)
        elif isinstance(event, QuantityChanged) and event.productId in self.lines:
            self.lines[event.productId].quantity = event.newQuantity
        elif isinstance(event, PriceUpdated) and event.productId in self.lines:
            self.lines[event.productId].price_cents = event.newPriceCents
        elif isinstance(event, CouponApplied):
            self.coupons.append(event)
        elif isinstance(event, CouponRemoved):
            self.coupons = [each for each in self.coupons if each.couponCode != event.couponCode]
        elif isinstance(event, CheckoutCompleted):
            self.status, self.order_id = "checked_out", event.orderId
        elif isinstance(event, CartAbandoned) and self.status != "checked_out":
            self.status = "abandoned"

    def total_cents(self) -> int:
        """The total, percentages rounded half-up."""
        subtotal = sum(line.price_cents * line.quantity for line in self.lines.values())
        worth = [
            int(subtotal * each.discountValue / 100 + 0.5) if each.discountType == "percentage" else each.discountValue
            for each in self.coupons
        ]
        return subtotal - min(int(sum(worth)), subtotal)


def fold(rows: Iterable[dict[str, Any]]) -> dict[UUID, int]:
    """The total of every cart."""
    carts: dict[UUID, Cart] = {}
    for row in rows:
        envelope = Envelope.model_validate(row)
        carts.setdefault(envelope.cartId, Cart()).apply(envelope)
    return {cart_id: cart.total_cents() for cart_id, cart in carts.items()}
