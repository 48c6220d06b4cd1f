from __future__ import annotations

import json
from itertools import pairwise

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import schema
from cart_core.errors import Refused, SourceError
from cart_core.events import CheckoutStarted, ItemAdded, ItemRemoved
from cart_core.ingest import events as chunked
from cart_core.ingest import import_files
from cart_core.store import MemoryStore
from tests.builders import cart_id, envelope, history

ADD = ItemAdded("p", "Pencil", 1, 2900, "USD")
TWO_CARTS = history(*[ADD] * 6) + history(*[ADD] * 3, cart=cart_id(5))
HISTORY = history(ADD, CheckoutStarted(), ItemRemoved("p"))


def lines(envelopes):
    """Envelopes as JSON lines."""
    return [json.dumps(each.to_json()).encode() for each in envelopes]


def write(path, texts):
    """A file of lines; returns its name."""
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    return str(path)


def take(store, folder, *files, source="jsonl", **options):
    """Import files; every row is accounted for."""
    report = import_files(store, source, files, folder=folder / "shop", **options).to_json()
    told = report["event_rows"] + report["already_known"] + report["views"] + sum(report["set_aside"].values())
    assert report["rows"] == told
    return report


def aside(folder, name="events.jsonl"):
    """(row, reason) of what was set aside."""
    kept = (folder / "shop" / "set_aside" / f"{name.removesuffix('.jsonl')}.jsonl").read_text().splitlines()
    return [(json.loads(line)["row"], json.loads(line)["reason"]) for line in kept]


def test_a_file_of_envelopes_becomes_the_carts_that_it_tells(tmp_path):
    """Counts say what was read and written, and a second import knows every row."""
    store = MemoryStore()
    file = write(tmp_path / "events.jsonl", lines(HISTORY))
    assert take(store, tmp_path, file) == {
        "rows": 3,
        "event_rows": 3,
        "events": 3,
        "carts": 1,
        "already_known": 0,
        "views": 0,
        "set_aside": {},
    }
    again = take(store, tmp_path, file)
    assert (again["events"], again["carts"], again["already_known"]) == (0, 0, 3)


@settings(max_examples=30)
@given(st.permutations(TWO_CARTS), st.integers(1, 4), st.lists(st.integers(0, 9), min_size=3, max_size=3).map(sorted))
def test_versions_may_come_in_any_order_across_chunks_and_files(tmp_path_factory, envelopes, chunk_rows, cuts):
    """An early version waits for its predecessor, wherever in the call that stands."""
    folder, store = tmp_path_factory.mktemp("shop"), MemoryStore()
    parts = [envelopes[start:stop] for start, stop in pairwise([0, *cuts, 9])]
    files = [write(folder / f"{number}.jsonl", lines(part)) for number, part in enumerate(parts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "CHUNK_ROWS", chunk_rows)
        report = take(store, folder, *files)
    assert (report["events"], report["carts"], report["set_aside"]) == (9, 2, {})


def test_a_missing_version_sets_the_later_ones_aside_until_it_comes(tmp_path):
    """The gap is named; the corrected file completes the cart."""
    store = MemoryStore()
    first, second, third = lines(HISTORY)
    bad = second.replace(b'"userId": "u1"', b'"userId": ""')
    file = tmp_path / "events.jsonl"
    assert take(store, tmp_path, write(file, [first, bad, third]))["set_aside"] == {"bad_user": 1, "version_gap": 1}
    assert aside(tmp_path) == [(2, "bad_user"), (3, "version_gap")]
    report = take(store, tmp_path, write(file, [first, second, third]))
    assert (report["events"], report["already_known"], report["set_aside"]) == (2, 1, {})


def test_a_version_repeated_with_other_content_is_set_aside(tmp_path):
    """Neither another event at a version nor other content under an id replaces what stands."""
    store = MemoryStore()
    first, *rest = lines(HISTORY)
    other_id = first.replace(HISTORY[0].event_id.encode(), cart_id(99).encode())
    other_content = first.replace(b"Pencil", b"Pen")
    file = write(tmp_path / "events.jsonl", [first, other_id, other_content, *rest])
    assert take(store, tmp_path, file)["set_aside"] == {"event_id_conflict": 1, "version_conflict": 1}
    assert store.read(HISTORY[0].cart_id)[0].event.product_name == "Pencil"


def test_a_re_run_does_not_pile_up_set_aside_rows(tmp_path):
    """Rows that are refused again are counted again and kept once."""
    store = MemoryStore()
    file = write(tmp_path / "events.jsonl", [lines(HISTORY)[0], b"{", lines(HISTORY)[2]])
    for _ in range(2):
        assert take(store, tmp_path, file)["set_aside"] == {"not_json": 1, "version_gap": 1}
    assert aside(tmp_path) == [(2, "not_json"), (3, "version_gap")]


def test_no_bytes_can_stop_an_import(tmp_path):
    """Bytes that are no text, a line of 10 MB and a cut end are set aside, and the good lines around them taken."""
    first, second, third = lines(HISTORY)
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b"\n".join([first, b"\xff\xfe{}", b'{"a":"' + b"x" * 10_000_000 + b'"}', b"", second, third, first[:40]])
    )
    report = take(MemoryStore(), tmp_path, str(path))
    assert (report["rows"], report["events"]) == (6, 3)
    assert report["set_aside"] == {"line_too_long": 1, "not_json": 1, "not_utf8": 1}


def test_an_events_table_in_parquet_is_taken_with_ids_as_bytes_or_text(tmp_path):
    """The columns of EVENTS, as the product writes them or with readable ids."""
    table = schema.to_table(HISTORY)
    texts = pl.DataFrame(
        {
            "cart_id": [str(each) for each in table["cart_id"].to_pylist()],
            "event_id": [str(each) for each in table["event_id"].to_pylist()],
        }
    )
    readable = table
    for name in texts.columns:
        readable = readable.set_column(readable.column_names.index(name), name, pa.array(texts[name].to_list()))
    for number, each in enumerate((table, readable)):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(each, path)
        assert take(MemoryStore(), tmp_path, str(path), source="parquet")["events"] == 3


def test_a_bad_row_of_a_parquet_file_is_set_aside_by_its_number(tmp_path):
    """A broken rule, an id that is none and a number that does not fit spoil their own rows alone."""
    good, zero, huge, noid = (envelope(ADD, cart=cart_id(number)) for number in range(4))
    rows = schema.to_table([good, zero, huge, noid])
    columns = {
        name: rows[name].to_pylist()
        for name in ("version", "user_id", "timestamp", "type", "product_id", "product_name", "price_cents", "currency")
    }
    columns |= {"event_id": [each.event_id for each in (good, zero, huge, noid)], "quantity": [1, 0, 2**40, 1]}
    columns["cart_id"] = [good.cart_id, zero.cart_id, huge.cart_id, "none"]
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    report = take(MemoryStore(), tmp_path, str(tmp_path / "events.parquet"), source="parquet")
    assert report["events"] == 1
    assert sorted(aside(tmp_path, "events.parquet")) == [(2, "bad_quantity"), (3, "bad_value"), (4, "bad_id")]


@pytest.mark.parametrize("columns", [{"a": [1]}, {}])
def test_a_parquet_file_that_is_no_events_table_is_refused(tmp_path, columns):
    """The file is named, and so is what is wrong with it."""
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(SourceError, match=r"x\.parquet: this is no events table"):
        take(MemoryStore(), tmp_path, str(tmp_path / "x.parquet"), source="parquet")


def test_text_named_parquet_is_refused(tmp_path):
    """A wrong source name is told at once."""
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        take(MemoryStore(), tmp_path, write(tmp_path / "x.parquet", [b"text"]), source="parquet")


def test_a_store_without_a_folder_needs_one(tmp_path):
    """Set-aside rows and views must have a place."""
    with pytest.raises(Refused, match="name one for its views"):
        import_files(MemoryStore(), "jsonl", [write(tmp_path / "events.jsonl", [])])
