"""What may be asked of a cart, what an answer is made of, and every refusal by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, overload

from cart_core.events import Event

if TYPE_CHECKING:
    from cart_core.projector import CartState

MAX_QUANTITY = 999
"""The most units that one line may hold."""

Strategy = Literal["sum", "keep_target", "keep_source"]


@dataclass(frozen=True, slots=True)
class AddItem:
    """Put units of a product into the cart; a product that is there already gets more units and the newer price."""

    product_id: str
    product_name: str
    price_cents: int
    quantity: int = 1
    currency: str = "USD"
    image_url: str | None = None


@dataclass(frozen=True, slots=True)
class RemoveItem:
    """Take a product's line out of the cart."""

    product_id: str


@dataclass(frozen=True, slots=True)
class SetQuantity:
    """Set a line's units; 0 takes the line out."""

    product_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class ApplyCoupon:
    """Put a coupon on the cart: a percentage, or a fixed sum in minor units."""

    coupon_code: str
    discount_type: str
    discount_value: float


@dataclass(frozen=True, slots=True)
class RemoveCoupon:
    """Take a coupon off the cart."""

    coupon_code: str
    reason: str | None = "shopper"


@dataclass(frozen=True, slots=True)
class UpdatePrice:
    """The shop changes a product's price; ``currency`` None means the line's own."""

    product_id: str
    price_cents: int
    reason: str
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class ExpireCoupon:
    """A coupon is past its end: the shop takes it off."""

    coupon_code: str


@dataclass(frozen=True, slots=True)
class MarkAbandoned:
    """The shop notes that the shopper has been silent."""


@dataclass(frozen=True, slots=True)
class StartCheckout:
    """The shopper goes to the checkout."""


@dataclass(frozen=True, slots=True)
class CompleteCheckout:
    """The order is placed and a total charged, in minor units."""

    order_id: str
    total_cents: int


@dataclass(frozen=True, slots=True)
class MergeCart:
    """Another cart's lines and coupons come into this one; where both hold a product, ``strategy`` decides."""

    source: CartState
    strategy: Strategy = "sum"


@dataclass(frozen=True, slots=True)
class HandOver:
    """The other half of a merge: this cart's lines and coupons have gone into the cart ``into``."""

    into: str


Command = (
    AddItem
    | RemoveItem
    | SetQuantity
    | ApplyCoupon
    | RemoveCoupon
    | UpdatePrice
    | ExpireCoupon
    | MarkAbandoned
    | StartCheckout
    | CompleteCheckout
    | MergeCart
    | HandOver
)


@dataclass(frozen=True, slots=True)
class Decision(Sequence[Event]):
    """The events that carry out one command, in order, each with the metadata it needs; none where all stands so."""

    events: tuple[Event, ...] = ()
    metadata: tuple[Mapping[str, str], ...] = ()

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self.events[index]

    def __len__(self) -> int:
        return len(self.events)


@dataclass(slots=True)
class Draft:
    """A decision while it is being made."""

    events: list[Event] = field(default_factory=list)
    metadata: list[Mapping[str, str]] = field(default_factory=list)

    def add(self, event: Event, **metadata: str) -> None:
        """Append one event with its metadata."""
        self.events.append(event)
        self.metadata.append(metadata)

    def done(self, **metadata: str) -> Decision:
        """The decision, with ``metadata`` on each of its events."""
        return Decision(tuple(self.events), tuple({**own, **metadata} for own in self.metadata))


REFUSALS: dict[str, str] = {
    "checked_out": "the cart was checked out; nothing in it may change any more",
    "unknown_product": "the cart holds no such product",
    "unknown_coupon": "the cart holds no such coupon",
    "coupon_already_applied": "the cart holds this coupon already",
    "second_currency": "the cart's lines are in another currency",
    "too_many": f"a line holds at most {MAX_QUANTITY} units",
    "empty_cart": "the cart holds no line",
    "already_abandoned": "the cart is marked as abandoned already",
    "checkout_not_started": "the checkout was not started",
    "same_cart": "a cart cannot be merged into itself",
    "source_checked_out": "the cart to merge was checked out",
    "nothing_to_undo": "no command of the shopper is left to take back",
    "nothing_to_redo": "nothing was taken back since the last new command",
    "invalid_quantity": "a quantity is a whole number, above 0 when adding",
    "invalid_price": "a price is a whole number of minor units above 0 (0 is allowed when the shop changes it)",
    "invalid_discount": "a discount is a percentage above 0 and at most 100, or a fixed whole sum above 0",
    "invalid_total": "a total is a whole number of minor units, not below 0",
    "invalid_strategy": "a merge strategy is sum, keep_target or keep_source",
    "invalid_product_id": "a product id is text of 1 to 4096 characters",
    "invalid_product_name": "a product name is text of at most 4096 characters",
    "invalid_currency": "a currency is a code of 3 letters",
    "invalid_image_url": "an image is an http or https URL",
    "invalid_coupon_code": "a coupon code is text of 1 to 4096 characters",
    "invalid_order_id": "an order id is text of 1 to 4096 characters",
    "invalid_reason": "a coupon is removed for shopper, expired or invalid; a price changes for any text",
}
"""Every refusal of a command: its code and what it says."""
