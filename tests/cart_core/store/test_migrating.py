"""A catalog that any earlier version laid becomes one of today, in SQLite and in PostgreSQL, and both are alike."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from cart_core.events import ItemAdded
from cart_core.store import CartStore
from cart_core.store.catalogs import users
from cart_core.store.catalogs.catalog import Connection
from cart_core.store.catalogs.tables import SCHEMA_VERSION
from tests import postgres
from tests.cart_core.store.builders import life, named
from tests.conftest import REPOSITORY
from tests.fixtures.make_store import told
from tests.forking import finish, start

FIXTURES = REPOSITORY / "tests" / "fixtures"
EARLIER = range(1, SCHEMA_VERSION)
TABLES = ("meta", "state", "users", "journal", "segments", "batches")

pytestmark = pytest.mark.postgres


@pytest.fixture(params=EARLIER, ids=lambda version: f"version {version}")
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, dict[str, Any]]:
    """The catalog of a store as an earlier version left it, but in PostgreSQL; its segments; what was read from it."""
    with ZipFile(FIXTURES / f"store-{request.param}.zip") as packed:
        packed.extractall(tmp_path)
    url = postgres.server().fresh()
    _lay(url, (FIXTURES / f"catalog-postgresql-{request.param}.sql").read_text().split(";;\n"))
    with closing(sqlite3.connect(tmp_path / "store" / "catalog.sqlite")) as old:
        for table in TABLES:
            _copy(old, url, table)
        last = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'users'").fetchone()[0]
    segments = tmp_path / "store" / "segments"
    _lay(url, [f"SELECT setval('users_user_key_seq', {last})", f"INSERT INTO meta VALUES ('segments', '{segments}')"])
    return url, segments, json.loads((tmp_path / "expected.json").read_text())


def _lay(url: str, statements: list[str]) -> None:
    schema = url.partition("schema=")[2]
    with _client(url) as client:
        client.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}")
        for statement in statements:
            client.execute(statement)


def _copy(old: sqlite3.Connection, url: str, table: str) -> None:
    cursor = old.execute(f"SELECT * FROM {table}")
    columns = [each[0] for each in cursor.description]
    marks = ", ".join(["%s"] * len(columns))
    with _client(url) as client:
        schema = url.partition("schema=")[2]
        insert = f"INSERT INTO {schema}.{table} ({', '.join(columns)}) VALUES ({marks})"
        for row in cursor.fetchall():
            client.execute(insert, row)


def _client(url: str) -> Any:
    import psycopg  # noqa: PLC0415 - an extra

    return psycopg.connect(url.partition("?")[0], autocommit=True)


@pytest.fixture
def migrated(earlier: tuple[str, Path, dict[str, Any]]) -> Iterator[CartStore]:
    """The store on it, opened by today's code."""
    url, segments, _ = earlier
    with CartStore.open(catalog=url, segments=str(segments)) as store:
        yield store


def test_an_earlier_catalog_on_postgresql_is_read_as_it_was(migrated: CartStore, earlier: tuple[Any, Any, Any]):
    """Every event, every cart and the head of the ledger; and it verifies."""
    assert told(migrated) == earlier[2] | {"schemaVersion": SCHEMA_VERSION}
    assert migrated.verify().problems == []


def test_an_earlier_catalog_on_postgresql_is_laid_as_a_new_one(migrated: CartStore, tmp_path: Path):
    """The same tables, columns, indexes, constraints and triggers."""
    url = postgres.server().fresh()
    with CartStore.open(catalog=url, segments=str(tmp_path / "new")) as new:
        assert _description(migrated) == _description(new)


def test_an_earlier_catalog_on_postgresql_goes_on(migrated: CartStore, earlier: tuple[Any, Any, Any]):
    """It takes events of known and new users, seals, and nobody gets the number of a user who was forgotten."""
    cart = earlier[2]["carts"][0]
    version = migrated.append(cart["cartId"], [ItemAdded("new", "New", 1, 1, "USD")], "ann", cart["version"])
    migrated.append_many(life("more", "someone new"))
    migrated.seal()
    with migrated.catalog.reading() as db:
        assert [each for each, _ in users.forgotten(db)] == [3]
        assert [(number, name) for number, name, _, _ in users.named(db)] == [
            (1, "ann"),
            (2, "bob"),
            (4, "someone new"),
        ]
    assert (version, migrated.verify().problems) == (cart["version"] + 1, [])


def open_and_append(url: str, segments: Path, number: int, telling: Pipe) -> None:
    """Open the store when others do, and write a cart of one's own."""
    with CartStore.open(catalog=url, segments=str(segments)) as store:
        mug = ItemAdded("mug", "Mug", 1, 1, "USD")
        telling.send(store.append(named(f"own {number}"), [mug], f"user {number}", 0))


def test_an_earlier_catalog_on_postgresql_is_migrated_by_one_of_many(earlier: tuple[str, Path, dict[str, Any]]):
    """Several processes open it at once: none fails, and all of them write."""
    url, segments, before = earlier
    children = [start(open_and_append, url, segments, number) for number in range(4)]
    assert [finish(*each) for each in children] == [[1]] * 4
    with CartStore.open(catalog=url, segments=str(segments)) as store:
        assert (store.position(), store.verify().problems) == (before["position"] + 4, [])


def test_names_of_an_earlier_catalog_are_held_from_the_next_seal_on(migrated: CartStore):
    """Two names swapped after the migration are found, and the chain vouches for the old ones, too."""
    migrated.append(named("later"), [ItemAdded("new", "New", 1, 1, "USD")], "ann", 0)
    migrated.seal()
    with migrated.catalog.writing() as db:
        db.execute("DROP TRIGGER users_keep ON users")
        for number, _, salt, _ in users.named(db):
            values = ("mallory", users.commitment(salt, number, "mallory"), number)
            db.execute("UPDATE users SET user_id = ?, commitment = ? WHERE user_key = ?", values)
            break
    assert [each for each in migrated.verify().problems if "the names of users 1 to 3 are not" in each]


def test_both_catalogs_have_the_same_tables_and_columns(tmp_path: Path):
    """So that what is written for one holds for the other; only the names of types differ."""
    url = postgres.server().fresh()
    with CartStore.open(catalog=url, segments=str(tmp_path / "segments")) as store, store.catalog.reading() as db:
        sql = "SELECT table_name, column_name, is_nullable = 'NO' FROM information_schema.columns WHERE table_schema = "
        there = db.execute(f"{sql} current_schema()").fetchall()
    with CartStore.open(tmp_path / "store") as store, store.catalog.reading() as db:
        here = [(table, *column) for table in _tables(db) for column in _columns(db, table)]
    assert sorted(here) == sorted(there)


def _tables(db: Connection) -> list[str]:
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [row[0] for row in db.execute(sql).fetchall()]


def _columns(db: Connection, table: str) -> list[tuple[str, bool]]:
    rows = db.execute(f"PRAGMA table_info({table})").fetchall()
    return [(name, bool(not_null or key)) for _, name, _, not_null, _, key in rows]


def _description(store: CartStore) -> dict[str, list[Any]]:
    with store.catalog.reading() as db:
        schema = db.execute("SELECT current_schema()").fetchone()[0]
        asked = {
            "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default "
            "FROM information_schema.columns WHERE table_schema = current_schema()",
            "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()",
            "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = current_schema()::regnamespace",
            "triggers": "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid "
            "WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal",
        }
        found = {name: db.execute(sql).fetchall() for name, sql in asked.items()}
    return {
        name: sorted([str(each).replace(f"{schema}.", "") for each in row] for row in rows)
        for name, rows in found.items()
    }
