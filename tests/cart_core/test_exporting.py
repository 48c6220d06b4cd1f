"""Exports: what other programs read is what the store holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from cart_core.errors import Refused
from cart_core.events import CheckoutCompleted, Envelope, ItemAdded
from cart_core.exporting import export
from cart_core.projector import fold
from cart_core.store import CartStore
from tests.cart_core.store.builders import envelope, life, named


@pytest.fixture
def shop(tmp_path: Path):
    """Three carts, one sealed in part, one with text that a spreadsheet would run."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("a") + life("b", "bob"))
        store.seal()
        formula = ItemAdded("=1+1", '@SUM(A1:A9)"quoted"\n', 1, 100, "USD")
        store.append_many(
            [envelope("c", 1, formula, metadata={"k": "v"}), envelope("c", 2, CheckoutCompleted("o1", 100))]
        )
        yield store


def test_exported_envelopes_are_those_that_were_written(shop: CartStore, tmp_path: Path):
    """Each line is an envelope that can be imported elsewhere."""
    assert export(shop, "events", tmp_path / "events.jsonl") == 12
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    found = [Envelope.from_line(line) for line in lines]
    expected = [each for cart in "abc" for each in shop.read(named(cart))]
    assert sorted((each.to_json() for each in found), key=str) == sorted((each.to_json() for each in expected), key=str)


def test_an_exported_cart_is_the_fold_of_its_history(shop: CartStore, tmp_path: Path):
    """One document a cart, equal to what ``cart show`` says."""
    assert export(shop, "carts", tmp_path / "carts.jsonl") == 3
    documents = map(json.loads, (tmp_path / "carts.jsonl").read_text(encoding="utf-8").splitlines())
    assert {each["cartId"]: each for each in documents} == {
        named(cart): fold(shop.read(named(cart))).to_json() for cart in "abc"
    }


def test_exported_tables_have_text_ids_and_all_columns(shop: CartStore, tmp_path: Path):
    """Parquet files that any tool reads."""
    export(shop, "carts", tmp_path / "carts.parquet")
    export(shop, "lines", tmp_path / "lines.parquet")
    carts, lines = pl.read_parquet(tmp_path / "carts.parquet"), pl.read_parquet(tmp_path / "lines.parquet")
    assert sorted(carts["cart_id"]) == sorted(named(cart) for cart in "abc")
    assert dict(carts.select("cart_id", "version").iter_rows()) == {named("a"): 5, named("b"): 5, named("c"): 2}
    assert lines.height == 3


def test_cells_that_a_spreadsheet_would_run_are_escaped(shop: CartStore, tmp_path: Path):
    """A formula begins with a quote mark; everything else is as it was."""
    export(shop, "events", tmp_path / "events.csv")
    with (tmp_path / "events.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["cart_id"] == named("c")]
    assert rows[0]["product_id"] == "'=1+1"
    assert rows[0]["product_name"] == '\'@SUM(A1:A9)"quoted"\n'
    assert json.loads(rows[0]["metadata"]) == {"k": "v"}
    assert (rows[1]["order_id"], rows[1]["total_cents"]) == ("o1", "100")


def test_an_unknown_ending_is_refused_and_nothing_written(shop: CartStore, tmp_path: Path):
    """The three endings are named."""
    with pytest.raises(Refused, match=r"\.jsonl, \.parquet or \.csv"):
        export(shop, "events", tmp_path / "events.xlsx")
    assert not (tmp_path / "events.xlsx").exists()


def test_an_empty_store_exports_headers(tmp_path: Path):
    """No rows, but a file with the table's columns."""
    with CartStore.open(tmp_path / "store") as store:
        assert export(store, "carts", tmp_path / "carts.csv") == 0
        assert export(store, "lines", tmp_path / "lines.jsonl") == 0
    assert (tmp_path / "carts.csv").read_text().startswith("cart_id,user_id,status,version")
