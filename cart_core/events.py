"""The nine cart events and the envelope around them: their fields, rules and JSON form.

Every class checks itself when it is made and raises ``InvalidEvent`` with all broken rules. JSON names are
camelCase, Python names snake_case, money is in integer minor units, times are UTC with microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, ClassVar, get_args
from uuid import UUID

from cart_core import rules
from cart_core.errors import SHOWN_CHARS, InvalidEvent, Problem, shown
from cart_core.rules import FIELDS, TYPES, Field

__all__ = [
    "CLASSES",
    "FIELDS",
    "TYPES",
    "CartAbandoned",
    "CheckoutCompleted",
    "CheckoutStarted",
    "CouponApplied",
    "CouponRemoved",
    "Envelope",
    "Event",
    "Field",
    "ItemAdded",
    "ItemRemoved",
    "PriceUpdated",
    "QuantityChanged",
    "event_from_json",
    "metadata_field",
    "metadata_problems",
    "parse_json",
    "values_getter",
]

ENVELOPE_FIELDS = frozenset(("eventId", "cartId", "userId", "timestamp", "version", "event", "recordedAt", "metadata"))


_CHECKS = {
    name: tuple((spec.python, spec.rule.allows, spec.required) for spec in specs) for name, specs in FIELDS.items()
}


class _Checked:
    """What all event types share: self-checking, and the way to and from JSON."""

    __slots__ = ()
    type: ClassVar[str]

    def __post_init__(self) -> None:
        for name, allows, required in _CHECKS[self.type]:
            value = getattr(self, name)
            if not allows(value) and (required or value is not None):
                raise InvalidEvent(self._problems())
        problems = self._cross_check()
        if problems:
            raise InvalidEvent(problems)

    def _problems(self) -> list[Problem]:
        values = ((spec, getattr(self, spec.python)) for spec in FIELDS[self.type])
        return [
            Problem(spec.json, value, spec.rule.wording)
            for spec, value in values
            if (value is not None or spec.required) and not spec.rule.allows(value)
        ]

    def _cross_check(self) -> list[Problem]:
        return []

    def to_json(self) -> dict[str, Any]:
        """The event as its camelCase JSON object; absent optional fields are left out."""
        shown = {"type": self.type}
        for spec in FIELDS[self.type]:
            value = getattr(self, spec.python)
            if isinstance(value, datetime):
                value = rules.format_time(value)
            elif isinstance(value, float) and value.is_integer():
                value = int(value)
            if value is not None:
                shown[spec.json] = value
        return shown


@dataclass(frozen=True, slots=True)
class ItemAdded(_Checked):
    """A product came into the cart; a line of it that stood is replaced."""

    type: ClassVar[str] = "ItemAdded"
    product_id: str
    product_name: str
    quantity: int
    price_per_unit_cents: int
    currency: str
    image_url: str | None = None


@dataclass(frozen=True, slots=True)
class ItemRemoved(_Checked):
    """A product's line left the cart."""

    type: ClassVar[str] = "ItemRemoved"
    product_id: str


@dataclass(frozen=True, slots=True)
class QuantityChanged(_Checked):
    """A line's quantity was set to ``new_quantity``."""

    type: ClassVar[str] = "QuantityChanged"
    product_id: str
    old_quantity: int
    new_quantity: int


@dataclass(frozen=True, slots=True)
class CouponApplied(_Checked):
    """A coupon was put on the cart: a percentage (0 < v <= 100, 4 decimals) or a fixed sum of minor units."""

    type: ClassVar[str] = "CouponApplied"
    coupon_code: str
    discount_type: str
    discount_value: float

    def _cross_check(self) -> list[Problem]:
        percentage = self.discount_type == "percentage"
        allowed = rules.percentage_allowed if percentage else rules.fixed_allowed
        if allowed(self.discount_value):
            return []
        wording = rules.PERCENT_WORDING if percentage else rules.FIXED_WORDING
        return [Problem("discountValue", self.discount_value, wording)]


@dataclass(frozen=True, slots=True)
class CouponRemoved(_Checked):
    """Every coupon with this code left the cart; ``reason`` is shopper, expired, invalid or None."""

    type: ClassVar[str] = "CouponRemoved"
    coupon_code: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PriceUpdated(_Checked):
    """The shop changed a line's current price; its original price stays."""

    type: ClassVar[str] = "PriceUpdated"
    product_id: str
    old_price_cents: int
    new_price_cents: int
    reason: str


@dataclass(frozen=True, slots=True)
class CartAbandoned(_Checked):
    """The shop noticed that nothing had happened since ``last_activity_at``."""

    type: ClassVar[str] = "CartAbandoned"
    last_activity_at: datetime

    def __post_init__(self) -> None:
        """Check itself, and keep the moment in UTC."""
        _Checked.__post_init__(self)
        object.__setattr__(self, "last_activity_at", self.last_activity_at.astimezone(UTC))


@dataclass(frozen=True, slots=True)
class CheckoutStarted(_Checked):
    """The shopper went to the checkout."""

    type: ClassVar[str] = "CheckoutStarted"


@dataclass(frozen=True, slots=True)
class CheckoutCompleted(_Checked):
    """The order was placed and ``total_cents`` charged."""

    type: ClassVar[str] = "CheckoutCompleted"
    order_id: str
    total_cents: int


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
CLASSES: dict[str, type[Any]] = {each.type: each for each in get_args(Event)}


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event of one cart: who, when, and at which version.

    ``event_id`` and ``cart_id`` are UUIDs in lower-case text. ``timestamp`` is when it happened, ``recorded_at``
    when the store accepted it, ``position`` its place in the store's one order; both are None before that.
    """

    event_id: str
    cart_id: str
    user_id: str
    timestamp: datetime
    version: int
    event: Event
    metadata: Mapping[str, str] = field(default_factory=dict)
    recorded_at: datetime | None = None
    position: int | None = None

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for name, python in (("eventId", "event_id"), ("cartId", "cart_id")):
            given = getattr(self, python)
            if (known := _uuid(name, given, problems)) is not given:
                object.__setattr__(self, python, known)
        for name, python, rule in _PLAIN_FIELDS:
            value = getattr(self, python)
            if not rule.allows(value):
                problems.append(Problem(name, value, rule.wording))
        if self.recorded_at is not None and not rules.Moment().allows(self.recorded_at):
            problems.append(Problem("recordedAt", self.recorded_at, rules.Moment().wording))
        if not isinstance(self.event, _Checked):
            problems.append(Problem("event", self.event, rules.TYPE_WORDING))
        problems.extend(metadata_problems(self.metadata))
        if problems:
            raise InvalidEvent(problems)
        if self.timestamp.tzinfo is not UTC:
            object.__setattr__(self, "timestamp", self.timestamp.astimezone(UTC))
        if self.recorded_at is not None:
            object.__setattr__(self, "recorded_at", self.recorded_at.astimezone(UTC))

    @classmethod
    def from_json(cls, document: object, row: int | None = None) -> Envelope:
        """An envelope from its JSON object, already parsed.

        Raises InvalidEvent with every broken rule; ``row`` is named in its message.
        """
        return _envelope(document, row)

    @classmethod
    def from_line(cls, line: str | bytes, row: int | None = None) -> Envelope:
        """An envelope from one line of JSON text. Raises InvalidEvent, also for what is not JSON."""
        return _envelope(parse_json(line, row), row)

    def to_json(self) -> dict[str, Any]:
        """The envelope as its camelCase JSON object; ``recordedAt`` and ``metadata`` only where there are any."""
        document: dict[str, Any] = {
            "eventId": self.event_id,
            "cartId": self.cart_id,
            "userId": self.user_id,
            "timestamp": rules.format_time(self.timestamp),
            "version": self.version,
            "event": self.event.to_json(),
        }
        if self.recorded_at is not None:
            document["recordedAt"] = rules.format_time(self.recorded_at)
        if self.metadata:
            document["metadata"] = dict(sorted(self.metadata.items()))
        return document


_PLAIN_FIELDS = (
    ("userId", "user_id", rules.NAME),
    ("timestamp", "timestamp", rules.Moment()),
    ("version", "version", rules.VERSION),
)


def event_from_json(document: object) -> Event:
    """An event from its JSON object ``{"type": ..., ...}``. Raises InvalidEvent with every broken rule."""
    if not isinstance(document, dict):
        raise InvalidEvent([Problem("event", document, rules.TYPE_WORDING)])
    name = document.get("type")
    if not isinstance(name, str) or name not in FIELDS:
        raise InvalidEvent([Problem("type", name, rules.NAMED_TYPE_WORDING)])
    specs = FIELDS[name]
    known = {spec.json for spec in specs} | {"type"}
    problems = [
        Problem(_called(key), value, f"absent: {name} has no such field")
        for key, value in document.items()
        if key not in known
    ]
    values = {spec.python: _from_json_value(spec, document, problems) for spec in specs}
    try:
        event: Event = CLASSES[name](**values)
    except InvalidEvent as error:
        told = {problem.field for problem in problems}
        problems.extend(problem for problem in error.problems if problem.field not in told)
    if problems:
        raise InvalidEvent(problems)
    return event


def values_getter(names: Sequence[str]) -> Callable[[Event], tuple[Any, ...]]:
    """A function that gives some fields of an event, by their Python names, as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda event: tuple(getattr(event, name) for name in names)


def metadata_problems(metadata: object) -> list[Problem]:
    """What is wrong with a metadata map: keys of 1 to 4096, values of 0 to 4096 characters, text only."""
    if not isinstance(metadata, Mapping):
        return [Problem("metadata", metadata, "a map of text to text")]
    return [
        Problem(metadata_field(key), value, rules.METADATA_WORDING)
        for key, value in metadata.items()
        if not (rules.NAME.allows(key) and rules.FREE_TEXT.allows(value))
    ]


def metadata_field(key: object) -> str:
    """The name by which a problem calls the metadata under a key."""
    return f"metadata.{_called(key)}"


def parse_json(line: str | bytes, row: int | None = None) -> object:
    """One JSON text as Python values; NaN, duplicate keys and bytes that are not UTF-8 are refused by name."""
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError as error:
        raise InvalidEvent([Problem("line", line[:60], f"UTF-8 text (byte {error.start} is not)")], row) from error
    except (ValueError, RecursionError) as error:
        raise InvalidEvent([Problem("line", line[:60], f"one JSON object ({error})")], row) from error


def _envelope(document: object, row: int | None) -> Envelope:
    if not isinstance(document, dict):
        raise InvalidEvent([Problem("line", document, "one JSON object")], row)
    problems = [
        Problem(_called(key), value, "absent: put extras into metadata")
        for key, value in document.items()
        if key not in ENVELOPE_FIELDS
    ]
    event: Any = None
    try:
        event = event_from_json(document.get("event"))
    except InvalidEvent as error:
        problems.extend(error.problems)
    moments = {name: _moment(name, document.get(name), problems) for name in ("timestamp", "recordedAt")}
    try:
        envelope = Envelope(
            event_id=document.get("eventId"),  # type: ignore[arg-type]
            cart_id=document.get("cartId"),  # type: ignore[arg-type]
            user_id=document.get("userId"),  # type: ignore[arg-type]
            timestamp=moments["timestamp"] or rules.EPOCH,
            version=document.get("version"),  # type: ignore[arg-type]
            event=event if event is not None else CheckoutStarted(),
            metadata={} if document.get("metadata") is None else document["metadata"],
            recorded_at=moments["recordedAt"],
        )
    except InvalidEvent as error:
        problems.extend(error.problems)
    if problems:
        raise InvalidEvent(problems, row)
    return envelope


def _called(key: object) -> str:
    """A foreign field's name as an error shows it: short and printable, whatever was sent."""
    plain = isinstance(key, str) and key.isprintable() and len(key) <= SHOWN_CHARS
    return str(key) if plain else shown(key)


def _moment(name: str, value: object, problems: list[Problem]) -> datetime | None:
    if value is None and name == "recordedAt":
        return None
    try:
        if isinstance(value, str):
            return rules.parse_time(value)
    except ValueError:
        pass
    problems.append(Problem(name, value, rules.Moment().wording))
    return None


def _from_json_value(spec: Field, document: dict[str, Any], problems: list[Problem]) -> object:
    value = document.get(spec.json)
    if isinstance(spec.rule, rules.Moment):
        return _moment(spec.json, value, problems)
    return value


def _uuid(name: str, value: object, problems: list[Problem]) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str) and rules.UUID_TEXT.fullmatch(value):
        return value.lower()
    problems.append(Problem(name, value, rules.UUID_WORDING))
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return document
