"""The events table: envelopes as rows and back, foreign tables made to fit, rules over whole columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules, schema
from cart_core.errors import InvalidEvent, SourceError
from cart_core.events import (
    FIELDS,
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from tests import strategies
from tests.builders import cart_id, envelope, history

SOCKS = ItemAdded("p1", "Socks", 2, 1_250, "USD")
MAP = pa.map_(pa.string(), pa.string())

ODD_TEXTS = ("", "p1", "US", "USD", "fixed", "percentage", "expired", "https://h/a", "https://h/ a", "a\0b", "n" * 4097)
ODD_NUMBERS = (
    float("nan"),
    float("inf"),
    -1.0,
    -0.0,
    0.0,
    1e-5,
    0.5,
    33.3333,
    33.33333,
    100.0,
    100.0001,
    1e15,
    2.0**53 + 2,
)
ODD_MOMENTS = (
    -(2**63),
    rules.MIN_TIME_US - 1,
    rules.MIN_TIME_US,
    0,
    rules.MAX_TIME_US,
    rules.MAX_TIME_US + 1,
    2**63 - 1,
)
ODD_PAIRS = tuple((key, value) for key in ("", "source", "a\0b", "k" * 4097) for value in (None, *ODD_TEXTS))
ODD_CELLS: dict[pa.DataType, tuple[Any, ...]] = {
    pa.string(): ODD_TEXTS,
    pa.int32(): (-(2**31), -1, 0, 1, 2**31 - 1),
    pa.int64(): (-(2**63), -1, 0, 1, 2**63 - 1),
    pa.float64(): ODD_NUMBERS,
    schema.UTC_MICROS: ODD_MOMENTS,
    pa.map_(pa.string(), pa.string()): tuple([pair] for pair in ODD_PAIRS),
    pa.uuid(): (bytes(16), bytes(range(16))),
}
ODD_TYPES = (*FIELDS, "ItemAddedd", "")


def odd_cells(column: str) -> tuple[Any, ...]:
    """What a column may hold by its Arrow type, but not always by its rule; null among it."""
    return (None, *(ODD_TYPES if column == "type" else ODD_CELLS[schema.EVENTS.field(column).type]))


def row_of(each: Envelope) -> dict[str, Any]:
    """An envelope as a row whose times are numbers, so that a time beyond the calendar can stand beside them."""
    cells = schema.to_row(each).items()
    return {name: rules.to_micros(cell) if isinstance(cell, datetime) else cell for name, cell in cells}


@st.composite
def odd_rows(draw: st.DrawFn) -> dict[str, Any]:
    """A valid row in which some columns, also those of other types, hold what they may not."""
    spoilt = draw(st.lists(st.sampled_from(schema.EVENTS.names), max_size=4, unique=True))
    odd = {name: draw(st.sampled_from(odd_cells(name))) for name in spoilt}
    return row_of(draw(strategies.envelopes())) | odd


@st.composite
def odd_tables(draw: st.DrawFn) -> pa.Table:
    """Odd rows in any number of chunks, whole or as a part of a larger table."""
    parts = draw(st.lists(st.lists(odd_rows(), max_size=4), min_size=1, max_size=3))
    table = pa.concat_tables([schema.table_of_rows(rows) for rows in parts])
    return table.slice(draw(st.integers(0, len(table))))


def one_by_one(table: pa.Table) -> set[tuple[int, str, str]]:
    """Row, field and rule of everything that reading each row's JSON document refuses."""
    found = set()
    for row, shown in enumerate(schema.to_documents(table)):
        try:
            Envelope.from_json(shown, row)
        except InvalidEvent as error:
            found |= {(row, problem.field, problem.rule) for problem in error.problems}
    return found


def at_once(table: pa.Table) -> set[tuple[int, str, str]]:
    """The same, of the table as a whole."""
    return {(broken["row"], broken["field"], broken["rule"]) for broken in schema.violations(table).to_pylist()}


@given(odd_tables())
def test_columns_are_held_to_the_rules_that_rows_are(table: pa.Table):
    """Looking at whole columns finds exactly what reading row by row finds."""
    assert at_once(table) == one_by_one(table)


EVENTS_OF_EACH_TYPE = (
    SOCKS,
    ItemRemoved("p1"),
    QuantityChanged("p1", 1, 2),
    CouponApplied("TEN", "percentage", 10),
    CouponApplied("FIVE", "fixed", 500),
    CouponRemoved("TEN"),
    PriceUpdated("p1", 1_250, 990, "sale"),
    CartAbandoned(datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
    CheckoutStarted(),
    CheckoutCompleted("o1", 2_500),
)


@pytest.mark.parametrize("column", schema.EVENTS.names)
def test_an_odd_cell_is_judged_alike(column: str):
    """Every odd value in every column of every type is found at once if and only if it is found one by one."""
    sound = [row_of(each) for each in history(*EVENTS_OF_EACH_TYPE)]
    table = schema.table_of_rows([row | {column: cell} for row in sound for cell in odd_cells(column)])
    row_by_row = pa.concat_tables([table.slice(row, 1) for row in range(len(table))])
    assert at_once(table) == one_by_one(table)
    assert at_once(row_by_row) == at_once(table)


@given(st.lists(strategies.envelopes(), max_size=8))
def test_valid_rows_break_no_rule(envelopes: list[Envelope]):
    """A table of envelopes is sound by construction."""
    assert schema.violations(schema.to_table(envelopes)).num_rows == 0


@given(st.lists(strategies.envelopes(), max_size=8))
def test_envelopes_survive_the_table(envelopes: list[Envelope]):
    """As rows and back, nothing is lost, added or rounded."""
    assert schema.to_envelopes(schema.to_table(envelopes)) == envelopes


@given(st.lists(strategies.envelopes(), max_size=8))
def test_documents_are_the_envelopes_json(envelopes: list[Envelope]):
    """A row's document is what its envelope writes."""
    shown = [json.dumps(each, sort_keys=True) for each in schema.to_documents(schema.to_table(envelopes))]
    assert shown == [json.dumps(each.to_json(), sort_keys=True) for each in envelopes]


def test_violations_are_ordered_and_tell_what_stood_there():
    """Row by row, each with the field's JSON name, its value as text, and its rule."""
    rows = [schema.to_row(each) for each in history(SOCKS, ItemRemoved("p1"))]
    rows[0] |= {"quantity": 0, "currency": "US"}
    rows[1] |= {"price_cents": 7, "user_id": None, "timestamp": rules.MAX_TIME_US + 1}
    assert schema.violations(schema.table_of_rows(rows)).to_pylist() == [
        {"row": 0, "field": "currency", "value": "US", "rule": rules.CURRENCY.wording},
        {"row": 0, "field": "quantity", "value": "0", "rule": rules.QUANTITY.wording},
        {"row": 1, "field": "pricePerUnitCents", "value": "7", "rule": "absent: ItemRemoved has no such field"},
        {"row": 1, "field": "timestamp", "value": str(rules.MAX_TIME_US + 1), "rule": rules.Moment().wording},
        {"row": 1, "field": "userId", "value": None, "rule": rules.NAME.wording},
    ]


def test_a_metadata_key_may_stand_once():
    """A map that names a key twice, which JSON cannot say, is a violation too."""
    rows = [schema.to_row(each) for each in history(SOCKS, SOCKS, SOCKS)]
    rows[0]["metadata"] = [("source", "a")]
    rows[2]["metadata"] = [("source", "a"), ("page", "x"), ("source", "b")]
    table = schema.table_of_rows(rows)
    expected = {"field": "metadata.source", "value": "b", "rule": "named once"}
    assert schema.violations(table).to_pylist() == [{"row": 2, **expected}]
    assert schema.violations(table.slice(1)).to_pylist() == [{"row": 1, **expected}]
    assert schema.violations(table.slice(0, 2)).num_rows == 0


def test_check_raises_for_the_first_broken_row():
    """All problems of the first broken row, and of no other."""
    rows = [schema.to_row(each) for each in history(SOCKS, SOCKS, SOCKS)]
    rows[1] |= {"quantity": -2, "currency": "US"}
    rows[2] |= {"quantity": -3}
    with pytest.raises(InvalidEvent, match=r"^row 1: ") as refusal:
        schema.check(schema.table_of_rows(rows))
    assert refusal.value.row == 1
    assert {problem.field for problem in refusal.value.problems} == {"quantity", "currency"}


def test_check_lets_a_sound_table_pass():
    """A table without a broken row raises nothing."""
    schema.check(schema.to_table(history(SOCKS, SOCKS)))
    schema.check(schema.EVENTS.empty_table())


@pytest.mark.parametrize(("column", "value", "field"), [("type", "Wished", "type"), ("cart_id", None, "cartId")])
def test_a_broken_row_is_no_envelope(column: str, value: object, field: str):
    """Reading back a row that breaks a rule is refused by name."""
    table = schema.table_of_rows([schema.to_row(envelope(SOCKS)) | {column: value}])
    with pytest.raises(InvalidEvent) as refusal:
        schema.to_envelopes(table)
    assert refusal.value.field == field


def test_a_time_beyond_the_calendar_is_refused_not_stumbled_over():
    """A cell that no calendar can show is told as the number it is."""
    table = schema.table_of_rows([schema.to_row(envelope(SOCKS)) | {"timestamp": 2**62}])
    assert next(schema.to_documents(table))["timestamp"] == 2**62
    with pytest.raises(InvalidEvent, match=str(2**62)):
        schema.to_envelopes(table)


def test_the_events_table_keeps_its_columns():
    """Names, order and types are an interface; to change one is to break every store."""
    assert [f"{each.name} {each.type}" for each in schema.EVENTS] == [
        "position int64",
        "event_id extension<arrow.uuid>",
        "cart_id extension<arrow.uuid>",
        "version int32",
        "user_id string",
        "timestamp timestamp[us, tz=UTC]",
        "recorded_at timestamp[us, tz=UTC]",
        "type string",
        "product_id string",
        "product_name string",
        "quantity int32",
        "old_quantity int32",
        "price_cents int64",
        "old_price_cents int64",
        "currency string",
        "image_url string",
        "coupon_code string",
        "discount_type string",
        "discount_value double",
        "reason string",
        "last_activity_at timestamp[us, tz=UTC]",
        "order_id string",
        "total_cents int64",
        "metadata map<string, string>",
    ]


# Foreign tables


@pytest.fixture
def events() -> pa.Table:
    """Two carts' events with every kind of column filled."""
    moment = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    told = envelope(CartAbandoned(moment), metadata={"source": "job"}, cart=cart_id(77))
    return schema.to_table([*history(SOCKS, ItemRemoved("p1")), told])


def changed(table: pa.Table, **columns: object) -> pa.Table:
    """The same table with other columns in place."""
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def texts_of(column: pa.ChunkedArray) -> pa.Array:
    """Ids as text, null for null."""
    return pa.array([None if each is None else str(each) for each in column.to_pylist()], pa.string())


def test_a_table_that_fits_is_left_alone(events: pa.Table):
    """Nothing is copied that is right already."""
    assert schema.conform(events) is events


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_ids_may_be_text(events: pa.Table, kind: pa.DataType):
    """Exports show ids as text, in any of Arrow's kinds of it, in any case; they come back as the same ids."""
    ids = texts_of(events["cart_id"])
    upper = pa.array([text.upper() for text in texts_of(events["event_id"]).to_pylist()])
    assert schema.conform(changed(events, cart_id=ids.cast(kind), event_id=upper.cast(kind))).equals(events)


@given(st.lists(st.none() | st.uuids()), st.integers(0, 3))
def test_text_ids_are_read_exactly(ids: list[UUID | None], start: int):
    """Sixteen bytes for each text, null for null, also in a part of a longer column."""
    texts = pa.array([None if each is None else str(each) for each in ids], pa.string())
    table = changed(schema.table_of_rows([{}] * len(ids)), event_id=texts).slice(min(start, len(ids)))
    assert schema.conform(table)["event_id"].to_pylist() == ids[start:]


def test_a_polars_frame_fits(events: pa.Table):
    """Polars shows ids as plain binary and texts as large ones; both find their way back."""
    assert schema.conform(pl.from_arrow(events)).equals(events)


def test_optional_columns_may_be_missing(events: pa.Table):
    """A column that only some events need is null where it is not given."""
    bare = events.drop_columns(["position", "recorded_at", "reason", "coupon_code", "image_url"])
    assert schema.conform(bare).equals(events)


def test_columns_of_nulls_need_no_type(events: pa.Table):
    """A writer that never saw a value could not know its type."""
    assert schema.conform(changed(events, reason=pa.nulls(3), metadata=pa.nulls(3)))["reason"].null_count == 3


def test_a_record_batch_fits(events: pa.Table):
    """One batch is a table of one chunk."""
    assert schema.conform(events.combine_chunks().to_batches()[0]).equals(events)


def test_finer_times_are_cut(events: pa.Table):
    """Nanoseconds are cut, as in text; before 1970 too."""
    moments = pa.array([1_999, -1, 1_000], pa.timestamp("ns", "Europe/Berlin"))
    conformed = schema.conform(changed(events, timestamp=moments))
    assert conformed["timestamp"].cast(pa.int64()).to_pylist() == [1, -1, 1]


def test_whole_floats_are_whole_numbers(events: pa.Table):
    """Many writers keep whole numbers with gaps as floats."""
    assert schema.conform(changed(events, quantity=pa.array([2.0, None, None]))).equals(events)


@pytest.mark.parametrize(
    ("column", "cells", "told"),
    [
        ("quantity", pa.array(["2", None, None]), "column quantity holds string, but must hold int32"),
        ("quantity", pa.array([True, None, None]), "column quantity holds bool, but must hold int32"),
        ("quantity", pa.array([2.0, 1.5, None]), "row 1: quantity is 1.5, but must be int32"),
        ("quantity", pa.array([2, 3, 2**31]), "row 2: quantity is 2147483648, but must be int32"),
        ("price_cents", pa.array(["1250", None, None]), "column price_cents holds string, but must hold int64"),
        ("product_id", pa.array([1, 2, 3]), "column product_id holds int64, but must hold string"),
        ("version", pa.array([1, 2, -(2**40)]), "row 2: version is -1099511627776, but must be int32"),
        (
            "timestamp",
            pa.array([0, 0, 0], pa.timestamp("us")),
            r"column timestamp holds timestamp\[us\], but .* with a zone",
        ),
        ("timestamp", pa.array([0, 0, 0]), "column timestamp holds int64"),
        (
            "timestamp",
            pa.array([0, 0, 2**62], pa.timestamp("s", "UTC")),
            "row 2: timestamp is 4611686018427387904, but",
        ),
        ("event_id", pa.array([str(UUID(int=1)), "e2", None]), "row 1: event_id is 'e2', but must be a UUID"),
        ("event_id", pa.array([b"1" * 16, b"1" * 15, None]), "row 1: event_id is b'1+', but must be a UUID"),
        ("metadata", pa.array([{"a": "b"}, None, None]), "column metadata holds struct"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(events: pa.Table, column: str, cells: pa.Array, told: str):
    """Text is no number, a time without a zone no moment; a value that does not fit is named with its row."""
    with pytest.raises(SourceError, match=told):
        schema.conform(changed(events, **{column: cells}))


def test_another_table_is_no_events_table(events: pa.Table):
    """Missing and unknown columns are named."""
    other = events.drop_columns(["cart_id"]).append_column("colour", pa.nulls(3))
    with pytest.raises(SourceError, match=r"columns missing \['cart_id'\], columns unknown \['colour'\]"):
        schema.conform(other)


# Buckets


def test_a_bucket_is_a_carts_own_for_ever():
    """The last byte of the id, modulo 64: files on disk count on it."""
    assert [schema.bucket(UUID(int=number).bytes) for number in (0, 1, 63, 64, 255, 256)] == [0, 1, 63, 0, 63, 0]


@given(st.lists(st.uuids(), max_size=20), st.integers(0, 5), st.booleans())
def test_a_column_has_the_buckets_of_its_ids(ids: list[UUID], start: int, chunked: bool):
    """Whole columns and single ids agree, also in slices and chunks."""
    storage = pa.array([each.bytes for each in ids], pa.binary(16))
    column: Any = pa.ExtensionArray.from_storage(pa.uuid(), storage).slice(start)
    whole = pa.chunked_array([column, column]) if chunked else column
    expected = [schema.bucket(each.bytes) for each in ids[start:]] * (2 if chunked else 1)
    assert schema.buckets(whole).tolist() == expected


def test_id_bytes_are_the_ids():
    """One row of sixteen bytes per id."""
    ids = schema.to_table(history(SOCKS, SOCKS))["event_id"]
    assert [bytes(each) for each in schema.id_bytes(ids)] == [each.bytes for each in ids.to_pylist()]
