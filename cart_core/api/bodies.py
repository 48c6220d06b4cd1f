"""The shapes of requests and answers; what values mean is for the commands to say, so the checks here are of type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat, StrictInt, StrictStr
from pydantic.alias_generators import to_camel

from cart_core.commands import MAX_QUANTITY, Strategy
from cart_core.rules import EXACT_FLOAT_MAX, TEXT_CHARS

EXACT_JSON_MAX = 2**53 - 1
"""The largest whole number that every reader of JSON reads as it was written (RFC 7493)."""


def _whole(value: object) -> object:
    """3.0 as 3: JSON knows one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[
    StrictStr, Field(json_schema_extra={"minLength": 1, "maxLength": TEXT_CHARS, "pattern": "^[^\\x00]+$"})
]
FreeText = Annotated[StrictStr, Field(json_schema_extra={"maxLength": TEXT_CHARS, "pattern": "^[^\\x00]*$"})]
Currency = Annotated[StrictStr, Field(json_schema_extra={"pattern": "^[A-Za-z]{3}$"})]
Url = Annotated[StrictStr, Field(json_schema_extra={"pattern": "^https?://[!-~]+$", "maxLength": TEXT_CHARS})]


def _money(least: int) -> Any:
    return Field(le=EXACT_JSON_MAX, json_schema_extra={"minimum": least})


def _quantity(least: int) -> Any:
    return Field(json_schema_extra={"minimum": least, "maximum": MAX_QUANTITY})


Price = Annotated[StrictInt, _money(1), BeforeValidator(_whole)]
Cents = Annotated[StrictInt, _money(0), BeforeValidator(_whole)]
Quantity = Annotated[StrictInt, _quantity(1), BeforeValidator(_whole)]
QuantityOrNone = Annotated[StrictInt, _quantity(0), BeforeValidator(_whole)]


class Body(BaseModel):
    """A request body: camelCase, and nothing in it that is not named."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", validate_by_alias=True, validate_by_name=False)


def example(body: dict[str, Any]) -> ConfigDict:
    """The configuration of a body with an example for the OpenAPI document."""
    return ConfigDict(json_schema_extra={"examples": [body]})


class AddBody(Body):
    """A product to add; a product that is there already gets more units and the newer price."""

    model_config = example(
        {"productId": "soap", "productName": "Soap", "quantity": 2, "priceCents": 2900, "currency": "USD"}
    )

    product_id: Name
    product_name: FreeText
    price_cents: Price
    quantity: Quantity = 1
    currency: Currency = "USD"
    image_url: Url | None = None


class RemoveBody(Body):
    """A product to take out."""

    model_config = example({"productId": "soap"})

    product_id: Name


class QuantityBody(Body):
    """A line's units; 0 takes it out."""

    model_config = example({"productId": "soap", "quantity": 3})

    product_id: Name
    quantity: QuantityOrNone


class CouponBody(Body):
    """A coupon to put on: a percentage with at most four decimals, or a fixed whole sum of minor units."""

    model_config = example({"couponCode": "TEN", "discountType": "percentage", "discountValue": 10})

    coupon_code: Name
    discount_type: Literal["percentage", "fixed"]
    discount_value: Annotated[
        StrictInt | StrictFloat, Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": EXACT_FLOAT_MAX})
    ]


class CouponRemovalBody(Body):
    """A coupon to take off."""

    model_config = example({"couponCode": "TEN"})

    coupon_code: Name
    reason: Literal["shopper", "expired", "invalid"] = "shopper"


class CheckoutBody(Body):
    """The order that was placed, and the total that was charged in minor units."""

    model_config = example({"orderId": "order-1", "totalCents": 5220})

    order_id: Name
    total_cents: Cents


class PriceBody(Body):
    """A product's new price, for every open cart that holds it in that currency."""

    model_config = example({"productId": "soap", "priceCents": 3900, "currency": "USD", "reason": "supplier"})

    product_id: Name
    price_cents: Cents
    currency: Currency
    reason: FreeText


class MergeBody(Body):
    """The guest's cart to bring in; the guest's own token, unless the caller has the scope ``service``."""

    model_config = example(
        {"fromCartId": "0b9d2c3e-1f4a-4b5c-8d6e-7f8a9b0c1d2e", "strategy": "sum", "guestToken": "eyJhbGciOi..."}
    )

    from_cart_id: Annotated[StrictStr, Field(json_schema_extra={"format": "uuid"})]
    strategy: Strategy = "sum"
    guest_token: StrictStr | None = None


class EmptyBody(Body):
    """Nothing needs to be said."""


class Shown(BaseModel):
    """An answer: camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class Written(Shown):
    """The cart's version after the command."""

    version: int


class Charged(Written):
    """The cart's version, and whether the total charged differs from the cart's own."""

    total_mismatch: bool | None = None
    projected_total_cents: int | None = None


class Undone(Written):
    """The type of the event that was taken back."""

    undone: str


class Redone(Written):
    """The type of the event that was carried out again."""

    redone: str


class Repriced(Shown):
    """In how many carts the price changed."""

    carts: int


class ShownLine(Shown):
    """A line of a cart; money in minor units."""

    product_id: str
    product_name: str
    quantity: int
    price_per_unit_cents: int
    original_price_cents: int
    added_at: str
    currency: str
    image_url: str | None = None


class ShownCoupon(Shown):
    """A coupon on a cart."""

    code: str
    discount_type: str
    discount_value: float


class ShownCart(Shown):
    """A cart; money in minor units, null where its lines mix currencies."""

    cart_id: str
    user_id: str | None
    status: Literal["active", "abandoned", "checked_out"]
    version: int
    items: list[ShownLine]
    coupons: list[ShownCoupon]
    currency: str | None
    subtotal_cents: int | None
    discount_cents: int | None
    total_cents: int | None
    first_event_at: str | None
    last_event_at: str | None
    last_activity_at: str | None
    checkout_started_at: str | None
    order_id: str | None
    charged_total_cents: int | None


class ShownCarts(Shown):
    """Carts, the latest touched first."""

    carts: list[ShownCart]


class ShownEvents(Shown):
    """Every event of a cart as envelopes, by version."""

    events: list[dict[str, Any]]


class ShownPrice(Shown):
    """A moment at which a product's price in a cart was set, or the line ended."""

    type: str
    timestamp: str
    price_cents: int
    currency: str
    version: int
    event_id: str


class ShownPrices(Shown):
    """Every price that a product had while it stood in a cart."""

    product_id: str
    price_history: list[ShownPrice]


class ShownEvidence(Shown):
    """The evidence pack's document: what happened, what was charged, every event with its proof, how to check."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    evidence: str
    made_at: str
    cart_id: str
    product_id: str | None
    sentences: list[str]
    limits: list[str]
    events: list[dict[str, Any]]


class Health(Shown):
    """The store answers, and its last position."""

    status: Literal["ok"]
    position: int


class Problem(Shown):
    """What went wrong (RFC 9457); ``code`` is the name of the refusal, for programs."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
