from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules, schema
from cart_core.errors import InvalidEvent
from cart_core.events import Envelope
from cart_core.importers import jsonl
from cart_core.importers.json_columns import EVENT_FIELDS, JsonColumns
from cart_core.importers.sources import Options
from tests.strategies import envelopes

SOUND = {
    "eventId": "00000000-0000-4000-8000-000000000001",
    "cartId": "00000000-0000-4000-8000-000000000002",
    "userId": "u1",
    "timestamp": "2026-01-01T00:00:00Z",
    "version": 1,
    "event": {
        "type": "ItemAdded",
        "productId": "p",
        "productName": "Pencil",
        "quantity": 2,
        "pricePerUnitCents": 2900,
        "currency": "USD",
    },
    "metadata": {"session": "s1"},
}
WRONG_VALUES = (
    None,
    "",
    "2",
    0,
    -1,
    1.5,
    2.0,
    2**31,
    2**53 + 1,
    2**63,
    True,
    [],
    {},
    "US",
    "2026-01-01T00:00:00",
    "x\0y",
)
HUGE_COUPON = {"type": "CouponApplied", "couponCode": "c", "discountType": "fixed", "discountValue": 2**53 + 1}
HUGE_CHANGE = {"type": "QuantityChanged", "productId": "p", "oldQuantity": 2**31, "newQuantity": 1}
values = st.sampled_from(WRONG_VALUES) | st.text(max_size=3) | st.floats() | st.integers()


def line(change=None, event=None):
    """The sound envelope as a line, with some of its fields or its event's fields changed."""
    document = SOUND | (change or {}) | {"event": SOUND["event"] | (event or {})}
    return json.dumps(document if change is None or "event" not in change else SOUND | change).encode()


def parse(lines):
    """(envelopes by place, reasons by place) of lines."""
    table, kept, refused = jsonl.parse(JsonColumns(["session"]), "f", lines, list(range(len(lines))))
    return dict(zip(kept, schema.to_envelopes(table), strict=True)), {each.row: each.reason for each in refused}


def one_by_one(lines):
    """What ``Envelope.from_line`` makes of each line."""
    found, refused = {}, {}
    for place, text in enumerate(lines):
        try:
            found[place] = Envelope.from_line(text)
        except InvalidEvent as error:
            refused[place] = str(error)
    return found, refused


@st.composite
def changed_lines(draw):
    """A random envelope as a line, with something in it changed, cut, doubled or added."""
    document = draw(envelopes()).to_json()
    kind = draw(st.sampled_from(["sound", "sound", "sound", "value", "event value", "drop", "add", "cut", "text"]))
    if kind == "value":
        document[draw(st.sampled_from(sorted(document)))] = draw(values)
    elif kind == "event value":
        document["event"][draw(st.sampled_from(sorted(document["event"])))] = draw(values)
    elif kind == "drop":
        del document["event"][draw(st.sampled_from(sorted(document["event"])))]
    elif kind == "add":
        draw(st.sampled_from([document, document["event"]]))[draw(st.sampled_from(["extra", "reason", "orderId"]))] = (
            draw(values)
        )
    text = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if kind == "cut":
        return text[: draw(st.integers(1, len(text)))]
    if kind == "text":
        return text.replace(
            *draw(
                st.sampled_from(
                    [(b"}", b"}}"), (b'"version"', b'"version": 1, "version"'), (b": ", b":\t"), (b"{", b"[")]
                )
            )
        )
    return text


whole_numbers = st.sampled_from([0, 1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1])
amounts = st.sampled_from([2**53 + 1, 2**53, 1, 0, 2**60, 33.3333, 33.33333, 100.5, 0.5])
moments = st.sampled_from(
    ["2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01t00:00:00z", "0000-01-01T00:00:00Z"]
)
words = st.sampled_from(["", "USD", "US", "fixed", "percentage", "shopper", "x\0", "n" * 4097, "http://x", "ItemAdded"])
OF_RULE = {rules.Whole: whole_numbers, rules.Amount: amounts, rules.Moment: moments}


@st.composite
def subtly_wrong_lines(draw):
    """A random envelope as a line in which one value may break a rule, though each is of the kind that it should be."""
    document = draw(envelopes()).to_json() | {"metadata": {"a": "1"}}
    own = [name for name in document["event"] if name != "type"]
    outer = ["sound", "timestamp", "version", "userId", "cartId", "metadata", "recordedAt"]
    name = draw(st.sampled_from(own or outer) | st.sampled_from([*outer, *EVENT_FIELDS]))
    if name in EVENT_FIELDS:
        document["event"][name] = draw(st.none() | OF_RULE.get(type(EVENT_FIELDS[name].rule), words))
    elif name == "metadata":
        document[name] = draw(st.dictionaries(st.sampled_from("abc"), st.none() | words))
    elif name != "sound":
        document[name] = draw(
            {"version": whole_numbers, "timestamp": moments, "recordedAt": moments | st.none()}.get(name, words)
        )
    return json.dumps(document).encode()


@given(st.lists(subtly_wrong_lines(), min_size=1, max_size=8))
def test_columns_refuse_what_one_line_at_a_time_refuses(lines):
    """Values of the right kind that break a rule are found in columns too, and sound ones read alike."""
    columns = JsonColumns(["a", "b", "c"])
    wanted, refused = one_by_one(lines)
    read = columns.read(lines)
    table, sure = read if read is not None else (schema.EVENTS.empty_table(), [])
    places = [place for place, plain in enumerate(sure) if plain]
    assert not refused.keys() & set(places)
    stored = zip(places, schema.to_envelopes(table), strict=True)
    assert {place: _stored(each) for place, each in stored} == {place: _stored(wanted[place]) for place in places}


@given(st.lists(changed_lines(), min_size=1, max_size=12), st.integers(1, 4))
def test_columns_read_exactly_what_one_line_at_a_time_reads(lines, block_lines):
    """Fast and slow agree on every line: the same envelopes, and refusals of the same lines."""
    lines = [text for text in lines if _is_utf8(text)]
    before, jsonl.BLOCK_LINES = jsonl.BLOCK_LINES, block_lines
    try:
        found, reasons = parse(lines)
    finally:
        jsonl.BLOCK_LINES = before
    wanted, refused = one_by_one(lines)
    assert {place: _stored(each) for place, each in found.items()} == {
        place: _stored(each) for place, each in wanted.items()
    }
    assert reasons.keys() == refused.keys()


def test_sound_lines_need_no_slow_way(monkeypatch):
    """A file of sound lines is read as columns alone, but for the first look at new metadata keys."""
    columns = JsonColumns()
    lines = [line({"eventId": f"00000000-0000-4000-8000-{number:012}"}) for number in range(3000)]
    jsonl.parse(columns, "f", lines[:1], [0])
    monkeypatch.setattr(Envelope, "from_line", lambda *_: pytest.fail("the slow way was taken"))
    table, kept, refused = jsonl.parse(columns, "f", lines, list(range(3000)))
    assert (len(table), len(kept), refused) == (3000, 3000, [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(line(event={"type": "ItemBought"}), "unknown_type", id="unknown type"),
        pytest.param(line({"event": {"type": "ItemRemoved"}}), "missing_field", id="missing field"),
        pytest.param(line({"event": {"productId": "p"}}), "missing_field", id="missing type"),
        pytest.param(line(event={"quantity": 0}), "bad_quantity", id="quantity 0"),
        pytest.param(line(event={"quantity": -3}), "bad_quantity", id="negative quantity"),
        pytest.param(line(event={"quantity": 1.5}), "bad_quantity", id="fractional quantity"),
        pytest.param(line(event={"quantity": "2"}), "bad_quantity", id="quantity as text"),
        pytest.param(line(event={"quantity": True}), "bad_quantity", id="quantity true"),
        pytest.param(line(event={"quantity": 2**31}), "bad_quantity", id="quantity too large"),
        pytest.param(line(event={"pricePerUnitCents": 0}), "bad_price", id="price 0"),
        pytest.param(line(event={"currency": "US"}), "bad_currency", id="currency of two letters"),
        pytest.param(line({"cartId": "not-a-uuid"}), "bad_id", id="bad UUID"),
        pytest.param(line({"timestamp": "2026-01-01T00:00:00"}), "bad_time", id="no zone"),
        pytest.param(line({"recordedAt": "yesterday"}), "bad_time", id="bad recordedAt"),
        pytest.param(line({"version": 0}), "bad_version", id="version 0"),
        pytest.param(line({"userId": ""}), "bad_user", id="empty user"),
        pytest.param(line({"metadata": {"a": 1}}), "bad_metadata", id="number in metadata"),
        pytest.param(line({"metadata": {"a": None}}), "bad_metadata", id="null in metadata"),
        pytest.param(line(event={"colour": "red"}), "unknown_field", id="unknown field"),
        pytest.param(line(event={"orderId": None}), "unknown_field", id="another type's field, null"),
        pytest.param(line({"shop": 3}), "unknown_field", id="unknown envelope field"),
        pytest.param(line({"event": HUGE_COUPON}), "bad_coupon", id="a discount that no double tells apart"),
        pytest.param(line({"event": HUGE_CHANGE}), "bad_quantity", id="an old quantity beyond 32 bits"),
        pytest.param(line()[:150], "not_json", id="cut in the middle"),
        pytest.param(line() + line(), "not_json", id="two objects in a line"),
        pytest.param(b"[1]", "not_json", id="a list"),
        pytest.param(line({"version": 1}).replace(b'"version": 1', b'"version": NaN'), "not_json", id="NaN"),
    ],
)
def test_a_bad_line_is_set_aside_by_name_and_its_neighbours_are_taken(text, reason):
    """The reason names what is wrong, and the sound lines around it become events."""
    found, reasons = parse([line(), text, line()])
    assert reasons == {1: reason}
    assert list(found) == [0, 2]


def test_a_lone_bad_line_among_thousands_is_found(tmp_path):
    """One bad line spoils neither its block nor the file."""
    lines = [line({"eventId": f"00000000-0000-4000-8000-{number:012}"}) for number in range(5000)]
    lines[2500] = line(event={"quantity": "2"})
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(lines))
    (batch,) = jsonl.batches([str(path)], Options())
    assert len(batch.events) == 4999
    assert [(each.row, each.reason) for each in batch.set_aside] == [(2501, "bad_quantity")]
    assert batch.rows.tolist() == [row for row in range(1, 5001) if row != 2501]
    assert batch.raw(2500) == lines[2501]


def test_recorded_at_is_taken_and_not_kept(tmp_path):
    """The store says itself when it accepted an event."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(line({"recordedAt": "2020-01-01T00:00:00Z"}) + b"\n")
    (batch,) = jsonl.batches([str(path)], Options())
    assert batch.events["recorded_at"].to_pylist() == [None]


def test_times_keep_their_microseconds_and_lose_their_zone():
    """A time in any zone is the same moment in UTC."""
    found, _ = parse([line({"timestamp": "2026-01-01T05:30:00.123456789+05:30"})])
    assert found[0].timestamp == datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


def _stored(envelope):
    """An envelope as the events table holds it."""
    return schema.to_table([envelope]).drop(["recorded_at"]).to_pylist()


def _is_utf8(text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return bool(text.strip())
