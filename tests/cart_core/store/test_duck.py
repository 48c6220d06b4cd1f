"""SQL over the store: it sees one moment, and nothing but the store."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from cart_core.errors import Refused
from cart_core.projector import fold
from cart_core.store import CartStore
from cart_core.store.reading import duck
from tests.cart_core.store.builders import MUG, life, named


@pytest.fixture
def shop(tmp_path: Path):
    """One cart in a segment of its own, one sealed from the journal, one in the journal."""
    with CartStore.open(tmp_path / "store", journal_rows=0) as bulk:
        bulk.append_many(life("bulk"))
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("sealed", "bob"))
        store.seal()
        store.append(named("journal"), [MUG], "eve", 0)
        yield store


def test_events_carts_and_lines_are_there_with_text_ids(shop: CartStore):
    """The views agree with the store's own reading."""
    with shop.duckdb() as db:
        events = db.execute("SELECT event_id, cart_id, version, user_id FROM events ORDER BY position").fetchall()
        carts = db.execute("SELECT cart_id, version, total_cents FROM carts").fetchall()
        lines = db.execute("SELECT cart_id, product_id FROM lines ORDER BY ALL").fetchall()
    stored = [each for cart in ("bulk", "sealed", "journal") for each in shop.read(named(cart))]
    assert events == [(each.event_id, each.cart_id, each.version, each.user_id) for each in stored]
    states = [fold(shop.read(named(cart))) for cart in ("bulk", "sealed", "journal")]
    assert sorted(carts) == sorted((each.cart_id, each.version, each.total_cents) for each in states)
    assert lines == sorted((each.cart_id, line.product_id) for each in states for line in each.lines)


def test_recorded_at_and_positions_are_those_of_the_store(shop: CartStore):
    """Also where the catalog, not the file, knows them."""
    rows = shop.scan(columns=["position", "recorded_at"]).collect().sort("position").rows()
    with shop.duckdb() as db:
        assert db.execute("SELECT position, recorded_at FROM events ORDER BY position").fetchall() == rows


def test_carts_are_current_after_more_appends(shop: CartStore):
    """A kept projection is not used once the store has moved on."""
    assert duck.query(shop, "SELECT count(*) FROM carts")[1] == [(3,)]
    shop.append(named("new"), [MUG], "eve", 0)
    assert duck.query(shop, "SELECT count(*) FROM carts")[1] == [(4,)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM '{place}/catalog.sqlite'",
        "COPY (SELECT 1) TO '{place}/out.csv'",
        "ATTACH '{place}/other.db'",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/hostname']",
        "INSTALL httpfs",
        "COPY (SELECT 1 AS a) TO '{segment}' (FORMAT parquet)",
        "COPY (SELECT 1 AS a) TO '{segment}' (FORMAT parquet, USE_TMP_FILE false)",
    ],
)
def test_a_query_can_reach_nothing_else(shop: CartStore, statement: str):
    """Files, other databases, extensions and settings are out of reach, and segments stay as they are."""
    segment = next((shop.path / "segments").iterdir())
    before = segment.read_bytes()
    with pytest.raises(Refused):
        duck.query(shop, statement.format(place=shop.path, segment=segment))
    assert segment.read_bytes() == before
    assert shop.verify().ok


def test_a_wrong_query_is_refused_in_one_line(shop: CartStore):
    """DuckDB's own words, without its pages of context."""
    with pytest.raises(Refused, match="nothere") as caught:
        duck.query(shop, "SELECT nothere FROM events")
    assert "\n" not in str(caught.value)


def test_the_connection_is_duckdbs_own(shop: CartStore):
    """Analysts get the real thing."""
    with shop.duckdb() as db:
        assert isinstance(db, duckdb.DuckDBPyConnection)
