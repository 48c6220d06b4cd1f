"""The kept events of carts are those that the store gives, whatever was asked for before and came in since."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import schema
from cart_core.events import CartAbandoned, ItemAdded
from cart_core.store import CartStore
from pipelines import recent
from pipelines.shop import History, Ids, PlainShop
from tests.builders import NOON, cart_id, envelope

SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
LEFT = CartAbandoned(NOON)
COLUMNS = ("version", "user_id", "cart_id", "type", "metadata")


def ids_of(numbers) -> Ids:
    """Carts by number as (n, 16) bytes in order of their keys."""
    raw = b"".join(bytes.fromhex(cart_id(number).replace("-", "")) for number in sorted(numbers))
    return schema.distinct(np.frombuffer(raw, np.uint8).reshape(-1, 16))


def append(folder: Path, version: int, numbers, event=SHIRT, user="user-1") -> None:
    """The next event of some carts."""
    with CartStore.open(folder) as store:
        store.append_many([envelope(event, version, cart=cart_id(number), user=user) for number in sorted(numbers)])


def rows(tables) -> list[tuple]:
    """Rows of tables in some order, versions of a cart as they come."""
    found = [row for table in tables for row in table.to_pylist()]
    return sorted((str(row["cart_id"]), place, str(row)) for place, row in _placed(found))


def _placed(found):
    seen: dict = {}
    for row in found:
        seen[row["cart_id"]] = seen.get(row["cart_id"], 0) + 1
        yield seen[row["cart_id"]], row


def asked(folder: Path, numbers, columns=COLUMNS, until=None) -> list[tuple]:
    """What is kept of some carts, which must be what the store gives."""
    with PlainShop(folder / "shop", until).history() as history:
        ids = ids_of(numbers)
        found = rows(recent.events_of(history, folder / "kept", ids, columns))
        assert found == rows(history.of(ids, columns))
    return found


CARTS = st.frozensets(st.integers(0, 6))
STEPS = st.lists(st.tuples(CARTS, CARTS.filter(bool)), min_size=1, max_size=5)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_kept_events_are_those_of_the_store(steps):
    """Whichever carts are written and asked for in turn, the answer is the store's, sealed or not."""
    with TemporaryDirectory() as name:
        folder, versions = Path(name), dict.fromkeys(range(7), 0)
        append(folder / "shop", 1, range(7))
        for written, wanted in steps:
            for number in written:
                versions[number] += 1
                append(folder / "shop", versions[number] + 1, [number], LEFT)
            assert len(asked(folder, wanted)) == sum(1 + versions[number] for number in wanted)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A shop of ten carts with an event each, of which five were asked for."""
    append(tmp_path / "shop", 1, range(10))
    asked(tmp_path, range(5))
    return tmp_path


def test_what_is_kept_is_not_looked_up_again(folder, monkeypatch):
    """Asked again, also after new events of these carts, no cart is looked up in the store; another one alone is."""
    looked_up: list[int] = []
    of = History.of

    def noted(self, ids, columns):
        looked_up.append(len(ids))
        return of(self, ids, columns)

    monkeypatch.setattr(History, "of", noted)
    append(folder / "shop", 2, range(3), LEFT)
    for numbers in (range(5), range(2), range(6)):
        with PlainShop(folder / "shop").history() as history:
            list(recent.events_of(history, folder / "kept", ids_of(numbers), COLUMNS))
    assert looked_up == [1]


def test_carts_that_nobody_asks_for_any_more_are_let_go(folder):
    """What is kept stays in proportion to what is asked for."""
    asked(folder, [7])
    assert len(pq.read_table(folder / "kept" / "recent.parquet")) == 1


def test_an_earlier_position_is_read_as_it_was(folder):
    """Bound to a position before that of the kept events, later ones are not given."""
    append(folder / "shop", 2, range(10), LEFT)
    assert len(asked(folder, range(5))) == 10
    assert len(asked(folder, range(5), until=10)) == 5


def test_another_store_in_the_same_place_is_read_anew(folder):
    """Kept events of a store that is gone are not given."""
    (folder / "shop").rename(folder / "gone")
    append(folder / "shop", 1, range(1, 11), user="user-2")
    assert all("user-2" in row for *_, row in asked(folder, range(1, 5)))


def test_who_is_forgotten_is_in_no_kept_event(folder):
    """After a user is forgotten events are read anew, under the pseudonym."""
    with CartStore.open(folder / "shop") as store:
        store.forget("user-1")
    assert not any("user-1'" in row for *_, row in asked(folder, range(5)))
    assert b"user-1" not in (folder / "kept" / "recent.parquet").read_bytes()


def test_columns_that_are_not_kept_come_from_the_store(folder):
    """Columns that hardly any table reads are looked up."""
    assert len(asked(folder, range(5), ("cart_id", "product_name", "recorded_at"))) == 5
