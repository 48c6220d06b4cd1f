"""P1: an accepted event is never changed or removed, not even through a plain SQL client."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from cart_core.store import CartStore
from cart_core.store.at_rest import JOURNAL_COLUMNS
from tests.cart_core.store.builders import life, named

OTHERS = ", ".join((*JOURNAL_COLUMNS[1:], "running_hash"))


@pytest.fixture
def client(durable: CartStore):
    """A plain connection to a catalog with a sealed cart and one in the journal."""
    durable.append_many(life("sealed"))
    durable.seal()
    durable.append_many(life("journal"))
    durable.append_many(life("of somebody else", "bob"))
    durable.forget("bob")
    db = sqlite3.connect(durable.path / "catalog.sqlite")
    yield db
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET quantity = 99",
        "UPDATE journal SET position = position + 1",
        "UPDATE OR REPLACE journal SET position = 6 WHERE position = 7",
        "DELETE FROM journal",
        "DELETE FROM journal WHERE version = 5",
        "INSERT OR REPLACE INTO journal SELECT * FROM journal WHERE position = 7",
        f"INSERT OR REPLACE INTO journal SELECT 99, {OTHERS} FROM journal WHERE position = 7",
        "INSERT OR IGNORE INTO journal SELECT * FROM journal WHERE position = 7",
        "UPDATE segments SET file = 'other.parquet'",
        "UPDATE segments SET last_position = 3",
        "UPDATE segments SET min_timestamp = 0",
        "UPDATE segments SET retired_at = 1",
        "INSERT OR REPLACE INTO segments SELECT * FROM segments",
        "DELETE FROM segments",
        "UPDATE batches SET root = x'00'",
        "INSERT OR REPLACE INTO batches SELECT * FROM batches",
        "DELETE FROM batches",
        "UPDATE users SET user_id = 'eve'",
        "UPDATE users SET salt = NULL",
        "INSERT INTO users (user_id) VALUES ('eve')",
        "UPDATE forgotten SET commitment = NULL",
        "INSERT OR REPLACE INTO forgotten SELECT * FROM forgotten",
        "DELETE FROM forgotten",
        "UPDATE state SET user_key = 0",
        "UPDATE state SET position = 3",
        "UPDATE state SET recorded_at = 0",
        "DELETE FROM state",
    ],
)
def test_p1_a_statement_that_changes_history_is_refused(client: sqlite3.Connection, durable: CartStore, statement: str):
    """Triggers in the catalog answer, whoever asks."""
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        client.execute(statement)
    assert len(durable.read(named("sealed"))) == len(durable.read(named("journal"))) == 5


def test_p1_a_position_cannot_be_given_twice(client: sqlite3.Connection):
    """A second event at a position, at a version, or with an id is refused."""
    with pytest.raises(sqlite3.IntegrityError, match="never replaced"):
        client.execute("INSERT INTO journal SELECT * FROM journal WHERE version = 1")


def test_p1_triggers_that_were_dropped_are_back_after_opening(client: sqlite3.Connection, durable: CartStore):
    """Opening the store lays them anew."""
    client.execute("DROP TRIGGER journal_keeps")
    client.commit()
    CartStore.open(durable.path).close()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        client.execute("UPDATE journal SET quantity = 99")


def test_p1_sealed_files_are_read_only(tmp_path: Path):
    """Nobody may write to a segment, whether sealed, imported or compacted, and a read leaves it so."""
    with CartStore.open(tmp_path / "store", journal_rows=5) as store:
        store.append_many(life("sealed"))
        store.seal()
        store.append_many([*life("imported"), *life("too")])
        store.compact()
        store.verify()
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (store.path / "segments").iterdir()]
    assert modes == [0o444] * 3


def test_p1_maintenance_changes_no_file_that_it_keeps(tmp_path: Path):
    """Every segment file has the bytes that it was born with, until it goes."""
    born: dict[str, bytes] = {}
    with CartStore.open(tmp_path / "store", journal_rows=5) as store:
        for number in range(6):
            store.append_many([*life(f"a {number}"), *life(f"b {number}")] if number % 2 else life(f"c {number}"))
            store.seal()
            store.compact()
            store.forget(f"nobody {number}")
            store.verify()
            now = {path.name: path.read_bytes() for path in (store.path / "segments").iterdir()}
            assert {name: now[name] for name in born} == born
            born = now


def test_p1_everything_is_there_after_opening_again(tmp_path: Path):
    """Rows, positions and moments of recording are the same after each action and a new start."""
    actions = (lambda store: store.seal(), lambda store: store.compact(), lambda store: store.verify())
    with CartStore.open(tmp_path / "store", journal_rows=5) as store:
        store.append_many([*life("a"), *life("b")])
        store.append_many(life("c"))
        before = store.scan().collect().sort("position")
    for action in actions:
        with CartStore.open(tmp_path / "store", journal_rows=5) as store:
            action(store)
        with CartStore.open(tmp_path / "store", create=False) as store:
            assert store.scan().collect().sort("position").equals(before)
