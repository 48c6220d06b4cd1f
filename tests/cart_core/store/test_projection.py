"""Carts and lines of a moment: those of now are kept up to date, those of the past folded when asked for."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from cart_core.events import ItemAdded
from cart_core.projector import kept
from cart_core.projector.streaming import Moment
from cart_core.store import CartStore
from cart_core.store.reading import projection
from tests.builders import NOON, cart_id, history

ITEM = ItemAdded("a", "the a", 1, 2900, "USD")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CartStore]:
    """A store in which ten carts have one item each."""
    with CartStore.open(tmp_path / "store") as opened:
        for number in range(10):
            opened.append_many(history(ITEM, cart=cart_id(number)))
        yield opened


def versions(files: dict[str, tuple[Path, ...]]) -> int:
    """The events behind the carts of a projection."""
    return int(pl.read_parquet(list(files["carts"]))["version"].sum())


def test_new_events_are_folded_on_top(store: CartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first time nothing is folded from the beginning."""
    assert versions(projection.current(store)) == 10
    monkeypatch.setattr(kept, "rebuilt_here", _never)
    store.append_many(history(ITEM, cart=cart_id(3), after=1))
    assert versions(projection.current(store)) == 11
    assert sum(pl.read_parquet(list(projection.current(store)["lines"]))["quantity"]) == 10


def _never(*_: object) -> int:
    raise AssertionError("folded from the beginning")


def test_a_position_behind_the_kept_tables_leaves_them_where_they_are(store: CartStore) -> None:
    """Who asks for the past is answered apart, and the present needs no second fold."""
    now = projection.current(store)
    assert versions(projection.current(store, Moment(until=4))) == 4
    assert projection.current(store) == now


def test_a_time_bound_is_never_answered_from_the_present(store: CartStore) -> None:
    """Nothing had happened a day before."""
    projection.current(store)
    assert versions(projection.current(store, Moment(at=NOON - timedelta(days=1)))) == 0
    assert versions(projection.current(store, Moment(known_at=NOON - timedelta(days=10_000)))) == 0


def test_the_present_outlives_many_moments_of_the_past(store: CartStore) -> None:
    """A few moments are kept, and the tables of now beside them."""
    now = projection.current(store)
    for until in range(1, 9):
        projection.current(store, Moment(until=until))
    assert all(path.exists() for paths in now.values() for path in paths)
    beside = {projection.STANDING, now["carts"][0].parent.name}
    assert len({each.name for each in (store.path / "cache" / "projection").iterdir()} - beside) == projection.KEPT
