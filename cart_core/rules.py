"""The fields of every event type and the rule of each, as data: one value and a whole column are checked by them.

``schema.violations`` checks columns by the same numbers and patterns, and a property test holds both equal.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
EXACT_FLOAT_MAX = 2**53
TEXT_CHARS = 4096
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run as a formula begins with one of these."""
PERCENT_MAX = 100
PERCENT_STEPS = 10_000
MIN_TIME_US = -62_135_596_800_000_000
MAX_TIME_US = 253_402_300_799_999_999

RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3])(:[0-5]\d:[0-5]\d)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
SURROGATE = re.compile("[\ud800-\udfff]")
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer in a range; booleans, floats and text are none."""

    low: int
    high: int

    @property
    def wording(self) -> str:
        """The rule as an error states it."""
        if self.low == 1:
            return f"a whole number above 0 and at most {self.high}"
        return f"a whole number from {self.low} to {self.high}"

    def allows(self, value: object) -> bool:
        """Whether one value keeps the rule."""
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Text:
    """Text of ``least`` to 4096 characters without NUL; ``pattern`` is a regular expression for all of it."""

    least: int = 1
    pattern: str | None = None
    called: str = "text"

    @property
    def wording(self) -> str:
        """The rule as an error states it."""
        return self.called if self.pattern else f"text of {self.least} to {TEXT_CHARS} characters without NUL"

    def allows(self, value: object) -> bool:
        """Whether one value keeps the rule."""
        if type(value) is not str or not self.least <= len(value) <= TEXT_CHARS or "\0" in value:
            return False
        if not value.isascii() and SURROGATE.search(value):
            return False
        return self.pattern is None or _compiled(self.pattern).fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def wording(self) -> str:
        """The rule as an error states it."""
        return "one of " + ", ".join(self.words)

    def allows(self, value: object) -> bool:
        """Whether one value keeps the rule."""
        return type(value) is str and value in self.words


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment with a zone, from year 1 to 9999."""

    wording: str = "an RFC 3339 time with a zone, such as 2026-01-31T09:30:00Z"

    def allows(self, value: object) -> bool:
        """Whether one value keeps the rule."""
        if not isinstance(value, datetime) or value.utcoffset() is None:
            return False
        return MIN_TIME_US <= to_micros(value) <= MAX_TIME_US


@dataclass(frozen=True, slots=True)
class Amount:
    """A finite number above 0, exact as a float; the discount type narrows it further."""

    wording: str = f"a number above 0 and at most {EXACT_FLOAT_MAX}"

    def allows(self, value: object) -> bool:
        """Whether one value keeps the rule."""
        return type(value) in (int, float) and 0 < value <= EXACT_FLOAT_MAX  # type: ignore[operator]


Rule = Whole | Text | OneOf | Moment | Amount
_compiled = cache(re.compile)

QUANTITY = Whole(1, INT32_MAX)
PRICE = Whole(1, INT64_MAX)
CENTS = Whole(0, INT64_MAX)
ANY_QUANTITY = Whole(-INT32_MAX - 1, INT32_MAX)
ANY_CENTS = Whole(-INT64_MAX - 1, INT64_MAX)
NAME = Text()
FREE_TEXT = Text(least=0)
VERSION = Whole(1, INT32_MAX)
CURRENCY = Text(pattern="[A-Za-z]{3}", called="a currency code of 3 letters, such as USD")
URL = Text(
    pattern=r"[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20/?#\x7f]+[^\x00-\x20\x7f]*",
    called="an http or https URL of at most 4096 characters",
)
DISCOUNT_TYPE = OneOf(("percentage", "fixed"))
REMOVAL_REASON = OneOf(("shopper", "expired", "invalid"))
UUID_WORDING = "a UUID, such as 7f9c24e5-2f0b-4c1e-9d3a-0a4b8c6d1e2f"
TYPE_WORDING = "an object with one of the nine event types"
PERCENT_WORDING = "a percentage above 0 and at most 100 with at most 4 decimals"
METADATA_WORDING = f"a text key with a text value, each of at most {TEXT_CHARS} characters"
FIXED_WORDING = "a whole number of minor units (cents)"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event type: its JSON name, Python name, column of the events table, and rule."""

    json: str
    python: str
    column: str
    rule: Rule
    required: bool = True


PRODUCT_ID = Field("productId", "product_id", "product_id", NAME)
COUPON_CODE = Field("couponCode", "coupon_code", "coupon_code", NAME)

FIELDS: dict[str, tuple[Field, ...]] = {
    "ItemAdded": (
        PRODUCT_ID,
        Field("productName", "product_name", "product_name", FREE_TEXT),
        Field("quantity", "quantity", "quantity", QUANTITY),
        Field("pricePerUnitCents", "price_per_unit_cents", "price_cents", PRICE),
        Field("currency", "currency", "currency", CURRENCY),
        Field("imageUrl", "image_url", "image_url", URL, required=False),
    ),
    "ItemRemoved": (PRODUCT_ID,),
    "QuantityChanged": (
        PRODUCT_ID,
        Field("oldQuantity", "old_quantity", "old_quantity", ANY_QUANTITY),
        Field("newQuantity", "new_quantity", "quantity", QUANTITY),
    ),
    "CouponApplied": (
        COUPON_CODE,
        Field("discountType", "discount_type", "discount_type", DISCOUNT_TYPE),
        Field("discountValue", "discount_value", "discount_value", Amount()),
    ),
    "CouponRemoved": (COUPON_CODE, Field("reason", "reason", "reason", REMOVAL_REASON, required=False)),
    "PriceUpdated": (
        PRODUCT_ID,
        Field("oldPriceCents", "old_price_cents", "old_price_cents", CENTS),
        Field("newPriceCents", "new_price_cents", "price_cents", CENTS),
        Field("reason", "reason", "reason", FREE_TEXT),
    ),
    "CartAbandoned": (Field("lastActivityAt", "last_activity_at", "last_activity_at", Moment()),),
    "CheckoutStarted": (),
    "CheckoutCompleted": (
        Field("orderId", "order_id", "order_id", NAME),
        Field("totalCents", "total_cents", "total_cents", ANY_CENTS),
    ),
}
TYPES = tuple(FIELDS)
NAMED_TYPE_WORDING = "one of " + ", ".join(TYPES)


def percentage_allowed(value: float) -> bool:
    """Whether a discount value may be a percentage: at most 100, at most four decimals."""
    return value <= PERCENT_MAX and math.floor(value * PERCENT_STEPS + 0.5) / PERCENT_STEPS == value


def fixed_allowed(value: float) -> bool:
    """Whether a discount value may be a fixed discount: whole minor units."""
    return math.floor(value) == value


def parse_time(text: str) -> datetime:
    """RFC 3339 text as a UTC moment; digits below a microsecond are cut.

    Raises ValueError where the text has no zone, is no calendar time, or names a leap second.
    """
    match = RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time with a zone")
    day, hour, rest, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{day}T{hour}{rest}{(fraction or '.0')[:7]:0<7}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no day of the years 1 to 9999") from error


def format_time(moment: datetime) -> str:
    """A moment as RFC 3339 text in UTC, with a fraction only where there is one."""
    seconds, micros = divmod(to_micros(moment), 1_000_000)
    return f"{_whole_second(seconds)}.{micros:06d}Z" if micros else f"{_whole_second(seconds)}Z"


@lru_cache(maxsize=4096)
def _whole_second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exactly."""
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
