"""The compiled fold of tables means what the fold of one cart means."""

from collections import defaultdict
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import schema
from cart_core.errors import InvalidEvent, OutOfOrder, SourceError
from cart_core.events import CouponApplied, CouponRemoved, Envelope, ItemAdded, ItemRemoved, QuantityChanged
from cart_core.projector import CARTS, LINES, CartTables, fold, fold_table, many
from cart_core.projector.tables import tables_of
from tests.builders import NOON, cart_id, envelope, history
from tests.strategies import events, histories, shops


def folded_one_by_one(envelopes: list[Envelope]) -> CartTables:
    """The tables of the reference fold."""
    carts: dict[str, list[Envelope]] = defaultdict(list)
    for each in envelopes:
        carts[each.cart_id].append(each)
    return tables_of(fold(each) for each in carts.values())


def assert_same(actual: CartTables, expected: CartTables) -> None:
    """Both tables are equal, in columns, types, rows and order."""
    assert actual.carts.schema == CARTS
    assert actual.lines.schema == LINES
    assert actual.carts.to_pylist() == expected.carts.to_pylist()
    assert actual.lines.to_pylist() == expected.lines.to_pylist()


@given(shops())
def test_every_cart_of_a_table_is_the_fold_of_its_events(envelopes: list[Envelope]) -> None:
    """Rows in any order, carts interleaved, events after checkout, returns: one meaning."""
    assert_same(fold_table(schema.to_table(envelopes)), folded_one_by_one(envelopes))


@given(histories(event=events(), max_size=6))
def test_extreme_but_valid_values_are_folded_alike(envelopes: list[Envelope]) -> None:
    """The largest prices and quantities, the smallest percentages, any text, any year."""
    assert_same(fold_table(schema.to_table(envelopes)), folded_one_by_one(envelopes))


@given(shops(shuffled=False), st.data())
@settings(max_examples=40)
def test_a_slice_of_a_larger_table_is_folded_as_its_own_rows(envelopes: list[Envelope], data: st.DataObject) -> None:
    """Offsets into shared memory and pieces of any size change nothing."""
    size = data.draw(st.integers(0, len(envelopes)))
    table = schema.to_table(envelopes)
    pieces = [table.slice(place, 1) for place in range(size)]
    part = pa.concat_tables([schema.EVENTS.empty_table(), *pieces])
    assert_same(fold_table(part), folded_one_by_one(envelopes[:size]))
    assert_same(fold_table(table.slice(len(envelopes) - size)), _of_rest(table, len(envelopes) - size))


def _of_rest(table: pa.Table, start: int) -> CartTables:
    return folded_one_by_one(schema.to_envelopes(table)[start:])


def test_carts_stand_by_bucket_and_lines_cart_by_cart() -> None:
    """The order of both tables follows from their content alone: by key of the cart, then by age of the line."""
    rows = [
        envelope(ItemAdded(product, "x", 1, 1, "USD"), 1 + (product == "b"), cart=cart_id(number), at=NOON)
        for number in range(200)
        for product in ("a", "b")
    ]
    tables = fold_table(schema.to_table(rows))
    keys = schema.cart_keys(schema.id_bytes(tables.carts["cart_id"]))
    assert (keys[1:] > keys[:-1]).all()
    assert (np.diff(keys >> schema.KEY_BITS).astype(int) >= 0).all()
    assert tables.lines["cart_id"].to_pylist() == [each for each in tables.carts["cart_id"].to_pylist() for _ in "ab"]
    assert tables.lines["product_id"].to_pylist() == ["a", "b"] * 200


def test_a_large_table_is_folded_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are whole buckets, so that joining them gives the table that one part would."""
    rows = [each for number in range(200) for each in history(*LIFE, cart=cart_id(number * 7919))]
    table = schema.to_table(rows)
    whole = fold_table(table)
    monkeypatch.setattr(many, "PART_ROWS", 50)
    assert_same(fold_table(table), whole)


LIFE = (
    ItemAdded("a", "the a", 1, 2900, "USD"),
    CouponApplied("TEN", "percentage", 10),
    QuantityChanged("a", 1, 3),
    ItemAdded("b", "the b", 1, 100, "USD"),
    ItemRemoved("a"),
)


def test_no_rows_are_no_carts() -> None:
    """An empty table gives empty tables."""
    tables = fold_table(schema.EVENTS.empty_table())
    assert (len(tables.carts), len(tables.lines)) == (0, 0)
    assert tables.carts.schema == CARTS


def test_a_polars_frame_with_text_ids_is_a_table_too() -> None:
    """What can be conformed to an events table can be folded."""
    rows = history(*LIFE)
    table = schema.to_table(rows).drop_columns(["metadata", "position", "recorded_at", "order_id", "total_cents"])
    frame = pl.DataFrame(pl.from_arrow(table)).with_columns(
        pl.Series("cart_id", [each.cart_id for each in rows]), pl.Series("event_id", [each.event_id for each in rows])
    )
    assert_same(fold_table(frame), folded_one_by_one(rows))


def test_a_version_that_stands_twice_is_refused_by_name() -> None:
    """Two events of one cart and version cannot both be right."""
    rows = [*history(*LIFE), envelope(ItemRemoved("b"), 5)]
    with pytest.raises(OutOfOrder, match=f"event 5 of cart {rows[0].cart_id}"):
        fold_table(schema.to_table(rows))


def test_a_part_in_the_wrong_order_is_refused_unless_it_may_be_sorted() -> None:
    """The streaming path never trusts an order that it did not check."""
    table = schema.to_table(history(*LIFE)[::-1])
    with pytest.raises(OutOfOrder, match="is at version 5"):
        many.fold_part(table)
    assert_same(many.fold_part(table, sort=True), folded_one_by_one(history(*LIFE)))


def test_an_unknown_type_is_refused_by_name() -> None:
    """A row that is no cart event is not passed over in silence."""
    table = schema.to_table(history(*LIFE))
    place = table.column_names.index("type")
    wrong = table.set_column(place, "type", pa.array(["ItemAdded", "ItemLost", "ItemAdded", "ItemAdded", "ItemAdded"]))
    with pytest.raises(InvalidEvent, match="row 1: type is 'ItemLost'"):
        fold_table(wrong)


def test_a_table_of_something_else_is_refused() -> None:
    """The needed columns are named."""
    with pytest.raises(SourceError, match="cart_id"):
        fold_table(pa.table({"x": [1]}))


def test_a_cart_of_5000_lines_and_a_coupon_that_comes_and_goes_10000_times() -> None:
    """Long carts are folded exactly; nothing in them is compared with everything else in them."""
    lines = [ItemAdded(f"p{number * 7919 % 5000}", "x", 1, number + 1, "USD") for number in range(5000)]
    changes = [QuantityChanged(f"p{number}", 1, 2) for number in range(5000)]
    coupons = [event for _ in range(10_000) for event in (CouponApplied("T", "percentage", 10), CouponRemoved("T"))]
    rows = [*history(*lines, *changes, cart=cart_id(1)), *history(*coupons, cart=cart_id(2))]
    same_time = [envelope(each.event, each.version, cart=each.cart_id, at=NOON) for each in rows]
    assert_same(fold_table(schema.to_table(same_time)), folded_one_by_one(same_time))


def test_many_carts_that_differ_in_one_half_of_their_id_only() -> None:
    """Carts are told apart by all 16 bytes, and ordered by them."""
    ids = [f"{number:08x}-0000-4000-8000-00000000000a" for number in range(64)]
    ids += [f"00000000-0000-4000-8000-{number:012x}" for number in range(64)]
    rows = [each for id_ in dict.fromkeys(ids) for each in history(*LIFE, cart=id_)]
    assert_same(fold_table(schema.to_table(rows)), folded_one_by_one(rows))


def test_ages_are_read_however_they_are_written() -> None:
    """Our own way of writing a time, others of RFC 3339, and texts that are no time, in one table."""
    ages = ["2025-12-31T09:30:00Z", "2025-12-31T09:30:00.5Z", "2025-12-31t09:30:00+05:45", "2026-02-30T00:00:00Z", "x"]
    for told in ([ages[0], ages[1]], ages):
        rows = [
            envelope(ItemAdded(f"p{place}", "x", 1, 1, "USD"), place, metadata={"a": "b", "added_at": age, "z": ""})
            for place, age in enumerate(told, 1)
        ]
        assert_same(fold_table(schema.to_table(rows)), folded_one_by_one(rows))


def test_columns_that_are_null_throughout_need_no_memory() -> None:
    """A table whose payload columns were never filled in is folded like any other."""
    rows = [envelope(CouponRemoved("T", "expired"), 1, at=NOON + timedelta(seconds=1))]
    table = schema.to_table(rows)
    nulls = {name: pa.nulls(1, schema.EVENTS.field(name).type) for name in ("product_id", "quantity", "currency")}
    for name, column in nulls.items():
        table = table.set_column(table.column_names.index(name), name, column)
    assert_same(fold_table(table), folded_one_by_one(rows))


def test_a_fold_changes_nothing_in_the_table_it_reads() -> None:
    """The arrays that the kernel reads are the table's own memory, which it may not touch."""
    table = schema.to_table(history(*LIFE))
    before = table.to_pylist()
    fold_table(table)
    assert table.to_pylist() == before
    assert np.frombuffer(table["version"].chunk(0).buffers()[1], np.int32)[:5].tolist() == [1, 2, 3, 4, 5]
