from hashlib import sha256

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import ledger, schema
from cart_core.errors import InvalidEvent
from cart_core.events import CouponApplied, ItemAdded
from cart_core.ledger import bulk, leaves
from cart_core.ledger.sha256 import PADDING_BYTES, _digest_plain, pad, sha256_into
from tests.builders import envelope
from tests.cart_core.ledger.builders import at_rest, every_type
from tests.strategies import envelopes, letters

user_keys = st.integers(0, 2**63 - 1)
ANOTHER = {
    pa.string(): "other",
    pa.int32(): 77,
    pa.int64(): 77,
    pa.float64(): 0.5,
    schema.UTC_MICROS: 77,
    pa.uuid(): bytes(range(16)),
    schema.EVENTS.field("metadata").type: [("other", "value")],
}


def compiled(table: pa.Table) -> np.ndarray:
    """The leaves by the compiled loop, however few rows there are."""
    out = np.zeros((len(table), 32), np.uint8)
    bulk.hash_slices(table, out)
    return out


def plain(table: pa.Table) -> np.ndarray:
    """The leaves row by row, without the compiled loop."""
    return ledger.leaf_hashes(table, strict=False)


BOTH = pytest.mark.parametrize("hashed", [compiled, plain])


def texts(hashes) -> list[str]:
    """Hashes as hex."""
    return [bytes(each).hex() for each in hashes]


@BOTH
@given(rows=st.lists(st.tuples(envelopes(), user_keys), max_size=12))
def test_every_row_of_a_table_has_the_leaf_of_its_event(hashed, rows):
    """Hashing whole tables gives SHA-256(0x00 || canonical JSON), one by one, whatever the events hold."""
    table = at_rest([each for each, _ in rows], [key for _, key in rows])

    assert texts(hashed(table)) == [sha256(b"\x00" + ledger.canonical(*row)).hexdigest() for row in rows]


@BOTH
@given(metadata=st.dictionaries(st.text(letters, min_size=1, max_size=3), st.text(letters, max_size=3), max_size=60))
def test_metadata_is_hashed_in_the_order_of_utf_16(hashed, metadata):
    """However many keys there are, and whatever order the row holds them in."""
    event = envelope(ItemAdded("p1", "Mug", 1, 100, "USD"), metadata=metadata)
    table = at_rest([event], [1])
    pairs = pa.array([list(reversed(metadata.items())) or None], table["metadata"].type)
    shuffled = table.set_column(table.schema.get_field_index("metadata"), "metadata", pairs)

    assert texts(hashed(shuffled)) == [ledger.leaf_hash(event, 1).hex()]


@BOTH
@given(value=st.one_of(st.integers(1, 1_000_000).map(lambda steps: steps / 10_000), st.just(1e-4)))
def test_discounts_are_hashed_as_ecmascript_prints_them(hashed, value):
    """1e-4 is 0.0001, 100.0 is 100, 33.3333 stays."""
    event = envelope(CouponApplied("SAVE", "percentage", value))

    assert texts(hashed(at_rest([event], [1]))) == [ledger.leaf_hash(event, 1).hex()]


@BOTH
def test_the_layout_of_a_table_makes_no_difference(hashed):
    """Chunks, slices, wide or dictionary-coded text, and what Polars hands over hash alike."""
    events = every_type()
    table = at_rest(events, list(range(len(events))))
    expected = texts(ledger.leaf_hash(each, key) for key, each in enumerate(events))
    coded = pl.from_arrow(table.drop_columns(["event_id", "cart_id", "metadata"])).to_arrow()
    for name in ("event_id", "cart_id", "metadata"):
        coded = coded.append_column(name, table[name])
    kind = table.schema.get_field_index("type")
    layouts = {
        "chunks": pa.concat_tables([table.slice(0, 5), table.slice(5, 0), table.slice(5)]),
        "slice": pa.concat_tables([table, table]).combine_chunks().slice(len(events)),
        "dictionary": table.set_column(kind, "type", table["type"].dictionary_encode()),
        "Polars": coded,
    }

    for name, layout in layouts.items():
        assert texts(hashed(layout)) == expected, name


@BOTH
def test_no_cell_can_be_altered_without_altering_the_leaf(hashed):
    """Every column of every event type is bound, those that the type has no field for included."""
    table = at_rest(every_type(), [1] * len(every_type()))
    before = texts(hashed(table))

    for name in leaves.COLUMNS:
        place = table.schema.get_field_index(name)
        kind = table.schema.field(name).type
        for value in (ANOTHER[kind], None):
            column = _filled(kind, value, len(table))
            was_null = table[name].is_null().to_pylist()
            after = texts(hashed(table.set_column(place, name, column)))
            for row, null in enumerate(was_null):
                assert (after[row] != before[row]) == (not null or value is not None), (name, value, row)


def _filled(kind: pa.DataType, value: object, rows: int) -> pa.Array:
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, pa.array([value] * rows, pa.binary(16)))
    return pa.array([value] * rows, kind)


@BOTH
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", "ItemVanished"),
        ("timestamp", 253_402_300_800_000_000),
        ("timestamp", -62_135_596_800_000_001),
        ("last_activity_at", 2**62),
        ("discount_value", float("nan")),
        ("discount_value", float("inf")),
        ("product_name", None),
        ("total_cents", 5),
        ("metadata", [("key", None)]),
    ],
)
def test_a_row_that_is_no_event_has_no_leaf(hashed, column, value):
    """Its leaf is zeros, and that of its neighbours is their own."""
    table = at_rest(every_type(), [1] * len(every_type()))
    values = table[column].combine_chunks()
    row = 0 if column == "total_cents" else next(at for at, each in enumerate(values.to_pylist()) if each is not None)
    cells = pa.concat_arrays([values.slice(0, row), _filled(values.type, value, 1), values.slice(row + 1)])
    spoilt = table.set_column(table.schema.get_field_index(column), column, cells)

    expected = texts(hashed(table))
    expected[row] = "00" * 32

    assert texts(hashed(spoilt)) == expected


def test_a_row_that_is_no_event_is_refused_by_its_number():
    """Where leaves are to be sealed, the first such row is named with its broken rule."""
    table = at_rest(every_type(), [1] * len(every_type()))
    kinds = ["ItemVanished" if row == 3 else each for row, each in enumerate(table["type"].to_pylist())]
    spoilt = table.set_column(table.schema.get_field_index("type"), "type", pa.array(kinds))

    with pytest.raises(InvalidEvent, match=r"row 3: .*ItemVanished") as caught:
        ledger.leaf_hashes(spoilt)
    assert caught.value.row == 3


def test_text_that_is_no_utf_8_is_hashed_as_it_stands():
    """A damaged file gives another leaf, not an error that hides where the damage is."""
    table = at_rest(every_type(), [1] * len(every_type()))
    place = table.schema.get_field_index("product_id")
    raw = pa.array([None if each is None else b"\xff" for each in table["product_id"].to_pylist()], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)

    actual = texts(ledger.leaf_hashes(table.set_column(place, "product_id", broken)))

    assert actual[0] != texts(ledger.leaf_hashes(table))[0]
    assert actual[4] == texts(ledger.leaf_hashes(table))[4]


def test_an_empty_table_has_no_leaves():
    """No rows, no hashes."""
    assert ledger.leaf_hashes(at_rest([], [])).shape == (0, 32)
    assert compiled(at_rest([], [])).shape == (0, 32)


def test_large_tables_take_the_compiled_loop_and_agree():
    """From 20 000 rows on, over many slices and both halves of each."""
    events = every_type()
    table = pa.concat_tables([at_rest(events, list(range(len(events))))] * 6_000)

    actual = ledger.leaf_hashes(table)

    expected = np.array([np.frombuffer(ledger.leaf_hash(each, key), np.uint8) for key, each in enumerate(events)])
    assert np.array_equal(actual, np.tile(expected, (6_000, 1)))


@pytest.mark.parametrize("size", [*range(150), 4_000])
def test_the_compiled_sha_256_is_that_of_hashlib(size):
    """By the processor's instructions, where it has them, and in plain integers."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    message, state, out = np.zeros(size + PADDING_BYTES, np.uint8), np.empty(8, np.uint32), np.empty(32, np.uint8)
    message[:size] = data

    sha256_into(message, size, state, out)
    _digest_plain(message, pad(message, size), state)

    assert out.tobytes() == sha256(data.tobytes()).digest()
    assert state.astype(">u4").tobytes() == sha256(data.tobytes()).digest()
