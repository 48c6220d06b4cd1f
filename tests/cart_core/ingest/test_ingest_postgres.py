"""Importing the table cart_events of a running shop from its PostgreSQL database."""

from __future__ import annotations

from uuid import uuid4

import pytest

from cart_core.errors import SourceError
from cart_core.ingest import import_files
from cart_core.store import MemoryStore
from tests import postgres
from tests.builders import cart_id

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
pytestmark = pytest.mark.postgres

CREATE = """
    CREATE TABLE cart_events (
        event_id uuid PRIMARY KEY, cart_id uuid NOT NULL, user_id text, version int NOT NULL,
        event_type text NOT NULL, payload jsonb NOT NULL, created_at timestamptz NOT NULL,
        UNIQUE (cart_id, version)
    )
"""
INSERT = "INSERT INTO cart_events VALUES (%s, %s, 'u1', %s, %s, %s::jsonb, '2026-01-01T00:00:00.25+01:00')"
ADD = (
    '{"productId": "p", "productName": "Pencil", "quantity": 1, "pricePerUnitCents": 2900, '
    '"currency": "USD", "imageUrl": null}'
)


@pytest.fixture
def dsn():
    """A database of its own with the table."""
    address = postgres.server().new_database()
    with psycopg.connect(address) as database:
        database.execute(CREATE)
    return address


def insert(connection, cart, version, kind="ItemAdded", payload=ADD):
    """Add a row."""
    connection.execute(INSERT, [uuid4(), cart_id(cart), version, kind, payload])


def take(store, dsn, folder):
    """Import the table; every row is accounted for."""
    report = import_files(store, "postgres", [dsn], folder=folder).to_json()
    told = report["event_rows"] + report["already_known"] + report["views"] + sum(report["set_aside"].values())
    assert report["rows"] == told
    return report


def test_the_table_becomes_carts_and_the_next_run_reads_only_what_is_new(dsn, tmp_path):
    """Known rows are not even read again."""
    store = MemoryStore()
    with psycopg.connect(dsn) as shop:
        insert(shop, 1, 1)
        insert(shop, 1, 2, "CheckoutStarted", "{}")
        insert(shop, 2, 1)
    report = take(store, dsn, tmp_path)
    assert (report["rows"], report["events"], report["carts"]) == (3, 3, 2)
    first = store.read(cart_id(1))[0]
    assert (first.timestamp.isoformat(), first.event.image_url) == ("2025-12-31T23:00:00.250000+00:00", None)
    with psycopg.connect(dsn) as shop:
        insert(shop, 1, 3, "ItemRemoved", '{"productId": "p"}')
    assert take(store, dsn, tmp_path)["rows"] == 1
    assert take(store, dsn, tmp_path)["rows"] == 0


def test_a_row_that_commits_late_is_not_missed(dsn, tmp_path):
    """A transaction that began before others and commits after a run is found by the next run."""
    store = MemoryStore()
    with psycopg.connect(dsn) as slow:
        insert(slow, 1, 1)
        with psycopg.connect(dsn) as quick:
            insert(quick, 2, 1)
        assert take(store, dsn, tmp_path)["events"] == 1
        slow.commit()
    assert take(store, dsn, tmp_path)["events"] == 1
    assert (store.cart(cart_id(1)).version, store.cart(cart_id(2)).version) == (1, 1)


def test_a_bad_row_and_those_behind_it_wait_until_it_is_mended(dsn, tmp_path):
    """What the table let in and the rules do not is set aside by name; the mended row completes the cart."""
    store = MemoryStore()
    with psycopg.connect(dsn) as shop:
        insert(shop, 1, 1)
        insert(shop, 1, 2, payload=ADD.replace('"quantity": 1', '"quantity": "3"'))
        insert(shop, 1, 3)
    for _ in range(2):
        assert take(store, dsn, tmp_path)["set_aside"] == {"bad_quantity": 1, "version_gap": 1}
    (kept,) = (tmp_path / "set_aside").glob("*.jsonl")
    assert len(kept.read_text().splitlines()) == 2
    with psycopg.connect(dsn) as shop:
        shop.execute("UPDATE cart_events SET payload = %s::jsonb WHERE version = 2", [ADD])
    assert take(store, dsn, tmp_path)["events"] == 2


def test_what_cannot_be_read_is_told_without_the_password(tmp_path):
    """A missing table and a server that is not there are named; a secret never is."""
    with pytest.raises(SourceError, match="has no table cart_events"):
        take(MemoryStore(), postgres.server().new_database(), tmp_path)
    with pytest.raises(SourceError) as refusal:
        take(MemoryStore(), "postgresql://me:secret@127.0.0.1:1/shop", tmp_path)
    assert "secret" not in str(refusal.value)
