"""The fold of all carts in this process, and how engines are found."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cart_core.errors import Refused
from cart_core.events import ItemAdded, ItemRemoved
from cart_core.projector import fold_table
from cart_core.projector.streaming import Moment
from cart_core.store import CartStore
from pipelines.engines import engine
from tests.builders import NOON, cart_id, envelope


@pytest.fixture
def store(tmp_path: Path) -> CartStore:
    """A store of 20 carts: an item at noon each, sealed, and for every other one its removal an hour later."""
    opened = CartStore.open(tmp_path / "store")
    item = ItemAdded("a", "the a", 1, 2900, "USD")
    opened.append_many([envelope(item, 1, cart=cart_id(number), at=NOON) for number in range(20)])
    opened.seal()
    later = NOON + timedelta(hours=1)
    opened.append_many([envelope(ItemRemoved("a"), 2, cart=cart_id(number), at=later) for number in range(0, 20, 2)])
    return opened


def test_every_cart_of_the_store_is_projected(store: CartStore, tmp_path: Path) -> None:
    """Two files with the rows of ``fold_table``; progress is told until all events are read."""
    told: list[int] = []
    done = engine("local").project(store, tmp_path / "out", tell=told.append)
    expected = fold_table(pa.concat_tables(list(store.batches())))
    assert (done.events, done.carts, done.lines, told[-1]) == (30, 20, 10, 30)
    assert pq.read_table(tmp_path / "out" / "carts.parquet") == expected.carts
    assert pq.read_table(tmp_path / "out" / "lines.parquet") == expected.lines


def test_a_moment_in_the_past_is_projected_as_it_was(store: CartStore, tmp_path: Path) -> None:
    """As of half past twelve nothing had been removed; up to position 25 half of it had."""
    at = Moment(at=NOON + timedelta(minutes=30))
    assert engine("local").project(store, tmp_path / "out", at).lines == 20
    assert engine("local").project(store, tmp_path / "out", Moment(until=25)).lines == 15


def test_kept_tables_follow_the_store(store: CartStore, tmp_path: Path) -> None:
    """The first refresh folds everything, the next one the new event alone."""
    assert engine("local").refresh(store, tmp_path / "derived").rebuilt
    store.append(cart_id(1), [ItemRemoved("a")], "u1", 1)
    done = engine("local").refresh(store, tmp_path / "derived")
    assert (done.position, done.events, done.rebuilt) == (31, 1, False)
    assert len(pq.read_table(tmp_path / "derived" / "lines.parquet")) == 9


def test_an_unknown_engine_is_refused_by_name() -> None:
    """The engines that there are stand in the message."""
    with pytest.raises(Refused, match="'abacus'; there are local, spark"):
        engine("abacus")
