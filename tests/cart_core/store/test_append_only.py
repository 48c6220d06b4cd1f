"""P1: an accepted event is never changed or removed, not even through a plain SQL client."""

from __future__ import annotations

import sqlite3
import stat

import pytest

from cart_core.store import CartStore
from tests.cart_core.store.builders import life, named


@pytest.fixture
def client(durable: CartStore):
    """A plain connection to a catalog with a sealed cart and one in the journal."""
    durable.append_many(life("sealed"))
    durable.seal()
    durable.append_many(life("journal"))
    db = sqlite3.connect(durable.path / "catalog.sqlite")
    yield db
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET quantity = 99",
        "UPDATE journal SET position = position + 1",
        "DELETE FROM journal WHERE version = 5",
        "UPDATE segments SET file = 'other.parquet'",
        "UPDATE segments SET last_position = 3",
        "DELETE FROM segments",
        "UPDATE batches SET root = x'00'",
        "DELETE FROM batches",
    ],
)
def test_p1_a_statement_that_changes_history_is_refused(client: sqlite3.Connection, durable: CartStore, statement: str):
    """Triggers in the catalog answer, whoever asks."""
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        client.execute(statement)
    assert len(durable.read(named("sealed"))) == len(durable.read(named("journal"))) == 5


def test_p1_a_position_cannot_be_given_twice(client: sqlite3.Connection):
    """The journal's own keys refuse a second event at a position, a version, or with an id."""
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        client.execute("INSERT INTO journal SELECT * FROM journal WHERE version = 1")


def test_p1_sealed_files_are_read_only(durable: CartStore):
    """Nobody may write to a segment."""
    durable.append_many(life("sealed"))
    durable.seal()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (durable.path / "segments").iterdir()]
    assert modes == [0o444]
