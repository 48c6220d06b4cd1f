"""The envelope and the nine events: what is taken, what is refused and how, and the way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from cart_core import rules
from cart_core.errors import InvalidEvent
from cart_core.events import (
    CLASSES,
    FIELDS,
    CartAbandoned,
    CheckoutStarted,
    CouponApplied,
    Envelope,
    Event,
    ItemAdded,
    PriceUpdated,
    QuantityChanged,
    event_from_json,
)
from tests import strategies

EVENT_ID = "7f9c24e5-2f0b-4c1e-9d3a-0a4b8c6d1e2f"
CART_ID = "0a4b8c6d-1e2f-4c1e-9d3a-7f9c24e52f0b"
VALID_EVENTS: dict[str, dict[str, Any]] = {
    "ItemAdded": {
        "productId": "p1",
        "productName": "Socks",
        "quantity": 2,
        "pricePerUnitCents": 1_250,
        "currency": "USD",
        "imageUrl": "https://shop.example/p1.png",
    },
    "ItemRemoved": {"productId": "p1"},
    "QuantityChanged": {"productId": "p1", "oldQuantity": 2, "newQuantity": 3},
    "CouponApplied": {"couponCode": "TEN", "discountType": "percentage", "discountValue": 10},
    "CouponRemoved": {"couponCode": "TEN", "reason": "expired"},
    "PriceUpdated": {"productId": "p1", "oldPriceCents": 1_250, "newPriceCents": 990, "reason": "sale"},
    "CartAbandoned": {"lastActivityAt": "2026-01-31T09:30:00Z"},
    "CheckoutStarted": {},
    "CheckoutCompleted": {"orderId": "o1", "totalCents": 2_500},
}


def document(type_: str = "ItemAdded", **changes: object) -> dict[str, Any]:
    """A valid envelope of a type as JSON, with changes to its event."""
    return {
        "eventId": EVENT_ID,
        "cartId": CART_ID,
        "userId": "u1",
        "timestamp": "2026-01-31T09:30:00Z",
        "version": 1,
        "event": {"type": type_, **VALID_EVENTS[type_], **changes},
    }


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields but one."""
    return {key: value for key, value in fields.items() if key != name}


def problems(read: Callable[[], object]) -> list[tuple[str, object, str]]:
    """Field, value and rule of everything that is refused."""
    with pytest.raises(InvalidEvent) as refusal:
        read()
    return [(problem.field, problem.value, problem.rule) for problem in refusal.value.problems]


@given(strategies.envelopes())
def test_an_envelope_survives_json(envelope: Envelope):
    """Through JSON text and back nothing is lost, added or rounded."""
    assert Envelope.from_line(json.dumps(envelope.to_json())) == envelope


@given(strategies.envelopes())
def test_json_is_stable(envelope: Envelope):
    """What was read from a document is written as the same document."""
    shown = envelope.to_json()
    assert json.dumps(Envelope.from_json(shown).to_json()) == json.dumps(shown)


@given(strategies.events())
def test_an_event_survives_json(event: Event):
    """The event alone goes the same way."""
    assert event_from_json(event.to_json()) == event


@pytest.mark.parametrize("name", FIELDS)
def test_every_type_is_taken(name: str):
    """A plain document of each of the nine types is read and written as it came."""
    assert Envelope.from_json(document(name)).to_json() == document(name)


@pytest.mark.parametrize("name", FIELDS)
def test_python_names_are_snake_case(name: str):
    """Each class has exactly the fields of its type's rules, in their order."""
    assert [each.name for each in dataclasses.fields(CLASSES[name])] == [spec.python for spec in FIELDS[name]]


def test_json_names_become_python_names():
    """The name outside is the name inside, in each one's own manner."""
    event = Envelope.from_json(document()).event
    assert event == ItemAdded(
        product_id="p1",
        product_name="Socks",
        quantity=2,
        price_per_unit_cents=1_250,
        currency="USD",
        image_url="https://shop.example/p1.png",
    )


REQUIRED = [(name, spec.json, spec.rule) for name in FIELDS for spec in FIELDS[name] if spec.required]
OPTIONAL = [(name, spec.json) for name in FIELDS for spec in FIELDS[name] if not spec.required]


@pytest.mark.parametrize("missing", ["absent", None])
@pytest.mark.parametrize(("name", "field", "rule"), REQUIRED)
def test_a_required_field_must_stand(name: str, field: str, rule: rules.Rule, missing: str | None):
    """Missing and null are refused alike, by the field's name and rule."""
    spoilt = document(name, **{field: None})
    if missing == "absent":
        spoilt["event"] = without(spoilt["event"], field)
    assert problems(lambda: Envelope.from_json(spoilt)) == [(field, None, rule.wording)]


@pytest.mark.parametrize(("name", "field"), OPTIONAL)
def test_an_optional_field_may_be_missing_or_null(name: str, field: str):
    """Both are read as None and written as nothing."""
    bare = document(name)
    bare["event"] = without(bare["event"], field)
    assert Envelope.from_json(document(name, **{field: None})).to_json() == bare
    assert Envelope.from_json(bare).to_json() == bare


@pytest.mark.parametrize(
    ("name", "field", "value", "rule"),
    [
        *(
            ("ItemAdded", "quantity", value, rules.QUANTITY.wording)
            for value in (0, -2, 1.5, 2.0, "2", True, 2**31, [2], {"a": 2})
        ),
        *(("ItemAdded", "pricePerUnitCents", value, rules.PRICE.wording) for value in (0, -500, 9.99, "1250", 2**63)),
        *(("ItemAdded", "currency", value, rules.CURRENCY.wording) for value in ("US", "", "USDX", "U5D", 840)),
        *(("ItemAdded", "imageUrl", value, rules.URL.wording) for value in ("", "p1.png", "ftp://h/p1.png", 1)),
        *(("ItemAdded", "productId", value, rules.NAME.wording) for value in ("", "p" * 4097, "a\0b", 1, "\udc00")),
        ("ItemAdded", "productName", 1, rules.FREE_TEXT.wording),
        ("QuantityChanged", "newQuantity", 0, rules.QUANTITY.wording),
        ("QuantityChanged", "oldQuantity", "2", rules.ANY_QUANTITY.wording),
        ("CouponApplied", "discountType", "percent", rules.DISCOUNT_TYPE.wording),
        *(("CouponApplied", "discountValue", value, rules.Amount().wording) for value in (0, -10, "10", True, 1e300)),
        *(("CouponApplied", "discountValue", value, rules.PERCENT_WORDING) for value in (100.0001, 150, 33.33333)),
        ("CouponRemoved", "reason", "bored", rules.REMOVAL_REASON.wording),
        ("PriceUpdated", "newPriceCents", -1, rules.CENTS.wording),
        ("PriceUpdated", "oldPriceCents", -1, rules.CENTS.wording),
        *(("CartAbandoned", "lastActivityAt", value, rules.Moment().wording) for value in ("2026-01-31T09:30:00", 1)),
        ("CheckoutCompleted", "totalCents", 25.0, rules.ANY_CENTS.wording),
        ("CheckoutCompleted", "orderId", "", rules.NAME.wording),
    ],
)
def test_a_broken_field_is_refused_by_name(name: str, field: str, value: object, rule: str):
    """The refusal names the field, what stood there and the rule, and nothing else."""
    assert problems(lambda: Envelope.from_json(document(name, **{field: value}))) == [(field, value, rule)]


def test_a_fixed_discount_has_no_fraction():
    """Half a cent is refused where a percentage of the same value would be taken."""
    spoilt = document("CouponApplied", discountType="fixed", discountValue=0.5)
    assert problems(lambda: Envelope.from_json(spoilt)) == [("discountValue", 0.5, rules.FIXED_WORDING)]


NO_IDS: tuple[object, ...] = (
    None,
    "",
    "cart-1",
    "7f9c24e52f0b4c1e9d3a0a4b8c6d1e2f",
    f"{{{EVENT_ID}}}",
    EVENT_ID[:-1] + "g",
    7,
)
NO_TIMES: tuple[object, ...] = ("", "2026-01-31T09:30:00", "2026-01-31", 1_769_851_800, "2026-02-30T00:00:00Z")
BROKEN_ENVELOPES: list[tuple[str, str, tuple[object, ...]]] = [
    ("eventId", rules.UUID_WORDING, NO_IDS),
    ("cartId", rules.UUID_WORDING, NO_IDS),
    ("userId", rules.NAME.wording, (None, "", 7, "a\0b")),
    ("timestamp", rules.Moment().wording, (None, *NO_TIMES)),
    ("recordedAt", rules.Moment().wording, NO_TIMES),
    ("version", rules.VERSION.wording, (None, 0, -1, 1.0, "1", True, 2**31)),
    ("event", rules.TYPE_WORDING, (None, "ItemAdded", [])),
    ("metadata", "a map of text to text", (["a"], "a", 7, False)),
    ("position", "absent: put extras into metadata", (7, None)),
]


@pytest.mark.parametrize(
    ("field", "rule", "value"), [(field, rule, value) for field, rule, values in BROKEN_ENVELOPES for value in values]
)
def test_a_broken_envelope_is_refused_by_name(field: str, rule: str, value: object):
    """What stands around the event is held to its rules as the event is."""
    assert problems(lambda: Envelope.from_json({**document(), field: value})) == [(field, value, rule)]


@pytest.mark.parametrize("field", ["eventId", "cartId", "userId", "timestamp", "version", "event"])
def test_an_envelope_field_must_stand(field: str):
    """A missing field is named as one that is null."""
    (broken,) = problems(lambda: Envelope.from_json(without(document(), field)))
    assert broken[:2] == (field, None)


@pytest.mark.parametrize("name", ["ItemAddedd", "itemAdded", "", None, 7, ["ItemAdded"]])
def test_an_unknown_type_is_refused(name: object):
    """A tenth type is refused by name, and its fields are not guessed at."""
    spoilt = {**document(), "event": {"type": name, "quantity": 0}}
    assert problems(lambda: Envelope.from_json(spoilt)) == [("type", name, rules.NAMED_TYPE_WORDING)]


@pytest.mark.parametrize("name", FIELDS)
def test_an_unknown_field_is_refused(name: str):
    """Extras belong into metadata, in every type."""
    extra = ("colour", "red", f"absent: {name} has no such field")
    assert problems(lambda: Envelope.from_json(document(name, colour="red"))) == [extra]


@pytest.mark.parametrize(
    ("metadata", "field", "value"),
    [
        ({"source": 7}, "metadata.source", 7),
        ({"source": None}, "metadata.source", None),
        ({"": "x"}, "metadata.", "x"),
        ({"source": "x" * 4097}, "metadata.source", "x" * 4097),
        ({"a\0b": "x"}, "metadata.'a\\x00b'", "x"),
        ({"\udc00": "x"}, "metadata.'\\udc00'", "x"),
    ],
)
def test_metadata_is_text_to_text(metadata: dict[str, object], field: str, value: object):
    """A broken pair is named by its key, printable whatever the key holds."""
    spoilt = {**document(), "metadata": metadata}
    assert problems(lambda: Envelope.from_json(spoilt)) == [(field, value, rules.METADATA_WORDING)]


def test_all_problems_are_told_at_once():
    """One reading tells everything that is wrong, also where an extra field has the name of a broken one."""
    spoilt = {**document(quantity=0, currency="US", userId="u1"), "userId": "", "version": 0, "colour": "red"}
    assert {field for field, _, _ in problems(lambda: Envelope.from_json(spoilt))} == {
        "quantity",
        "currency",
        "userId",
        "version",
        "colour",
    }
    assert len(problems(lambda: Envelope.from_json(spoilt))) == 6


def test_a_refusal_names_row_field_value_and_rule():
    """The message alone tells where to look and what to put there."""
    with pytest.raises(InvalidEvent) as refusal:
        Envelope.from_json(document(quantity=-2), row=17)
    assert str(refusal.value) == f"row 17: quantity is -2, but must be {rules.QUANTITY.wording}"
    assert (refusal.value.row, refusal.value.field, refusal.value.value) == (17, "quantity", -2)
    assert refusal.value.rule == rules.QUANTITY.wording


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "one JSON object"),
        (b"null", "one JSON object"),
        (b"[1]", "one JSON object"),
        (b'"ItemAdded"', "one JSON object"),
        (json.dumps(document()).encode()[:-20], "one JSON object"),
        (json.dumps(document()).encode() + b"}", "one JSON object"),
        (b'{"eventId": "\xff"}', "UTF-8 text (byte 13 is not)"),
        (b'{"version": NaN}', "NaN is not JSON"),
        (b'{"version": Infinity}', "Infinity is not JSON"),
        (b'{"version": 1, "version": 2}', "a key stands twice in one object"),
        (b'{"version": ' + b"1" * 5_000 + b"}", "one JSON object"),
        (b"[" * 100_000, "one JSON object"),
        (b"{}{}", "one JSON object"),
        (b"\xef\xbb\xbf{}", "one JSON object"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused(line: bytes, told: str):
    """Cut, doubled, garbled or deep beyond measure: one refusal that says what the line is not."""
    ((field, _, rule),) = problems(lambda: Envelope.from_line(line, row=3))
    assert field == "line"
    assert told in rule


def test_ids_are_kept_in_lower_case():
    """One id has one spelling, so that equal ids compare equal."""
    envelope = Envelope.from_json({**document(), "eventId": EVENT_ID.upper(), "cartId": CART_ID.upper()})
    assert (envelope.event_id, envelope.cart_id) == (EVENT_ID, CART_ID)


def test_moments_are_kept_in_utc():
    """Whatever zone a time came in, it leaves in UTC."""
    there = timezone(timedelta(hours=5, minutes=45))
    moment = datetime(2026, 1, 31, 15, 15, tzinfo=there)
    envelope = Envelope(EVENT_ID, CART_ID, "u1", moment, 1, CartAbandoned(moment), recorded_at=moment)
    assert isinstance(envelope.event, CartAbandoned)
    kept = (envelope.timestamp, envelope.recorded_at, envelope.event.last_activity_at)
    assert [(each, each and each.tzinfo) for each in kept] == [(moment, UTC)] * 3


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (lambda: ItemAdded("p1", "Socks", 0, 1_250, "USD"), "quantity"),
        (lambda: QuantityChanged("p1", 1, -1), "newQuantity"),
        (lambda: PriceUpdated("p1", 100, -1, "sale"), "newPriceCents"),
        (lambda: CouponApplied("TEN", "percentage", 101), "discountValue"),
        (lambda: CartAbandoned(datetime(2026, 1, 31)), "lastActivityAt"),
        (lambda: Envelope("e1", CART_ID, "u1", rules.EPOCH, 1, CheckoutStarted()), "eventId"),
        (lambda: Envelope(EVENT_ID, CART_ID, "u1", rules.EPOCH, 1, "CheckoutStarted"), "event"),  # type: ignore[arg-type]
        (lambda: Envelope(EVENT_ID, CART_ID, "u1", rules.EPOCH, 1, CheckoutStarted(), {"a": 1}), "metadata.a"),  # type: ignore[dict-item]
    ],
)
def test_no_broken_event_can_be_made(made: Callable[[], object], field: str):
    """Python callers meet the same rules as JSON."""
    assert [told for told, _, _ in problems(made)] == [field]


def test_an_event_cannot_be_changed():
    """What happened stays as it was said."""
    event = ItemAdded("p1", "Socks", 2, 1_250, "USD")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.quantity = 3  # type: ignore[misc]
