"""A store that any earlier version wrote is read as it was; what a later version wrote is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cart_core.errors import StoreTooNew
from cart_core.events import ItemAdded
from cart_core.schema import EVENTS
from cart_core.store import CartStore
from cart_core.store.catalogs.tables import MIGRATIONS, SCHEMA_VERSION
from cart_core.store.reading import duck
from cart_core.store.segments import upcasting
from tests.cart_core.store.builders import life, named
from tests.conftest import REPOSITORY
from tests.fixtures.make_store import told

FIXTURES = sorted((REPOSITORY / "tests" / "fixtures").glob("store-*.zip"))
KEPT_BYTES = 100_000


@pytest.fixture
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[CartStore, dict[str, Any]]:
    """A store as an earlier version left it, and what was read from it then."""
    with ZipFile(request.param) as packed:
        packed.extractall(tmp_path)
    return CartStore.open(tmp_path / "store", create=False), json.loads((tmp_path / "expected.json").read_text())


every_version = pytest.mark.parametrize("kept", FIXTURES, ids=lambda path: path.stem, indirect=True)


def test_a_store_of_every_version_is_kept():
    """From the first to the one of today, each small."""
    assert [path.name for path in FIXTURES] == [f"store-{version}.zip" for version in range(1, SCHEMA_VERSION + 1)]
    assert all(path.stat().st_size < KEPT_BYTES for path in FIXTURES)
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


@every_version
def test_an_earlier_store_is_read_as_it_was(kept: tuple[CartStore, dict[str, Any]]):
    """Every event, every cart and the head of the ledger, through every door; and it verifies."""
    store, expected = kept
    with store:
        assert store.verify().problems == []
        assert told(store) == expected | {"schemaVersion": SCHEMA_VERSION}
        asked = duck.query(store, "SELECT position, event_id FROM events ORDER BY 1")[1]
        assert asked == [(each["position"], each["eventId"]) for each in expected["events"]]
        totals = duck.query(store, "SELECT cart_id, total_cents FROM carts ORDER BY 1")[1]
        assert totals == [(each["cartId"], each["totalCents"]) for each in expected["carts"]]


@every_version
def test_an_earlier_store_goes_on(kept: tuple[CartStore, dict[str, Any]]):
    """It takes new events, seals and compacts, and what was there stays as it was."""
    store, expected = kept
    cart = expected["carts"][0]
    with store:
        head = store.append(cart["cartId"], [ItemAdded("new", "New", 1, 1, "USD")], "ann", cart["version"])
        store.append_many(life("new"))
        store.seal()
        store.compact(grace=timedelta(0))
        after = told(store)
        assert (head, store.verify().problems) == (cart["version"] + 1, [])
        assert after["events"][: expected["position"]] == expected["events"]


@every_version
def test_an_earlier_catalog_is_migrated_once(kept: tuple[CartStore, dict[str, Any]]):
    """Opening it again finds the tables of today, which are those of a new store."""
    store, _ = kept
    with store, CartStore.open(store.path) as again, CartStore.open(store.path / "new") as new:
        assert again.status()["schema_version"] == SCHEMA_VERSION
        assert _columns(store.path) == _columns(new.path)


def test_a_store_of_a_later_version_is_refused_and_left_alone(tmp_path: Path):
    """The error says what to do; no byte of the catalog changes."""
    home = tmp_path / "store"
    with CartStore.open(home) as store:
        store.append_many(life("a"))
    with closing(sqlite3.connect(home / "catalog.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION + 1,))
    before = (home / "catalog.sqlite").read_bytes()
    wording = f"schema version {SCHEMA_VERSION + 1}, this package reads up to {SCHEMA_VERSION}: upgrade"
    with pytest.raises(StoreTooNew, match=wording):
        CartStore.open(home)
    assert (home / "catalog.sqlite").read_bytes() == before


def _to_version_1(rows: pa.Table) -> pa.Table:
    """From an invented version 0: prices had another name, quantities more bits, and no row a moment of recording."""
    assert "recorded_at" not in rows.column_names
    rows = rows.rename_columns([{"unit_price": "price_cents"}.get(name, name) for name in rows.column_names])
    recorded = pa.nulls(len(rows), EVENTS.field("recorded_at").type)
    rows = rows.add_column(rows.column_names.index("type"), "recorded_at", recorded)
    place = rows.column_names.index("quantity")
    return rows.set_column(place, "quantity", pc.cast(rows["quantity"], pa.int32()))


@pytest.fixture
def invented(tmp_path: Path, ticking: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[CartStore, Any]]:
    """A store whose first segment is of the invented version, and what was read from it before it was."""
    monkeypatch.setattr(upcasting, "UPCASTERS", {0: _to_version_1})
    home = tmp_path / "store"
    with CartStore.open(home, clock=ticking, journal_rows=0) as store:
        store.append_many([*life("a"), *life("b", "bob")])
        store.append_many(life("c"))
        store.append(named("d"), [ItemAdded("mug", "Mug", 1, 2900, "USD")], "ann", 0)
        before = told(store)
    segment = min((home / "segments").glob("*.parquet"))
    rows = pq.read_table(segment).drop_columns(["recorded_at"])
    rows = rows.rename_columns([{"price_cents": "unit_price"}.get(name, name) for name in rows.column_names])
    place = rows.column_names.index("quantity")
    segment.chmod(0o644)
    pq.write_table(rows.set_column(place, "quantity", rows["quantity"].cast(pa.int64())), segment, row_group_size=4)
    content = segment.read_bytes()
    with closing(sqlite3.connect(home / "catalog.sqlite")) as db, db:
        db.execute("DROP TRIGGER segments_stand")
        db.execute(
            "UPDATE segments SET schema_version = 0, size_bytes = ?, sha256 = ? WHERE file = ?",
            (len(content), sha256(content).hexdigest(), segment.name),
        )
    with CartStore.open(home, clock=ticking) as store:
        yield store, before


def test_a_segment_of_an_invented_earlier_version_is_read_as_one_of_today(invented: tuple[CartStore, Any]):
    """Renamed, retyped and missing columns: every door gives the same rows, and the ledger still holds."""
    store, before = invented
    assert store.verify().problems == []
    assert told(store) == before
    assert [row[0] for row in duck.query(store, "SELECT price_cents FROM events WHERE position = 1")[1]] == [2900]
    assert sum(len(each) for each in store.batches(["cart_id", "quantity"])) == before["position"]
    assert store.carts_of("bob") == [named("b")]
    assert store.append_many(life("a")).appended == 0


def test_compaction_writes_a_segment_of_an_earlier_version_anew(invented: tuple[CartStore, Any]):
    """In today's columns, though it is alone; nothing that is read changes."""
    store, before = invented
    store.compact(grace=timedelta(0))
    for path in (store.path / "segments").glob("*.parquet"):
        assert "price_cents" in pq.read_schema(path).names
    assert told(store) == before
    assert store.verify().problems == []


def test_upcasters_run_one_after_another_from_the_version_of_the_file(monkeypatch: pytest.MonkeyPatch):
    """A version without an upcaster has the columns of the next; one of today is not touched."""
    steps = {-2: lambda rows: rows.append_column("two", rows["one"]), 0: lambda rows: rows.drop_columns(["one"])}
    monkeypatch.setattr(upcasting, "UPCASTERS", steps)
    rows = pa.table({"one": [1]})
    assert upcasting.upcast(rows, -2).to_pydict() == {"two": [1]}
    assert upcasting.upcast(rows, -1).to_pydict() == {}
    assert upcasting.upcast(rows, SCHEMA_VERSION) is rows
    assert [upcasting.is_current(version) for version in (-2, 0, 1, SCHEMA_VERSION)] == [False, False, True, True]


def _columns(home: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Tables and their columns: name, type, whether it may be null, default."""
    with closing(sqlite3.connect(home / "catalog.sqlite")) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: {tuple(row[1:5]) for row in db.execute(f"PRAGMA table_info({name})")} for name in names}
