"""Folding a whole store into two files, as of any moment."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import schema
from cart_core.errors import OutOfOrder
from cart_core.events import Envelope, ItemAdded, PriceUpdated
from cart_core.projector import CartTables, fold, fold_table
from cart_core.projector.columns import ENCODED
from cart_core.projector.streaming import Moment, Projected, TableFile, in_order, project
from cart_core.projector.tables import CARTS, tables_of
from cart_core.store import CartStore, MemoryStore
from tests.builders import NOON, cart_id, envelope, history
from tests.conftest import Clock
from tests.strategies import shops


def written(folder: Path) -> CartTables:
    """The two files as tables."""
    return CartTables(pq.read_table(folder / "carts.parquet"), pq.read_table(folder / "lines.parquet"))


def item(product: str = "a", price: int = 2900) -> ItemAdded:
    """An item that comes into a cart."""
    return ItemAdded(product, f"the {product}", 1, price, "USD")


@given(shops(max_carts=4, shuffled=False), st.integers(-3_600, 3 * 86_400))
@settings(max_examples=40)
def test_as_of_a_time_is_the_fold_of_what_had_happened(envelopes: list[Envelope], seconds: int) -> None:
    """``at`` is inclusive and looks at the time alone: a late event with an early time is part of the past."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    past: dict[str, list[Envelope]] = {}
    for each in envelopes:
        if each.timestamp <= at:
            past.setdefault(each.cart_id, []).append(each)
    chosen = Moment(at=at).choose(schema.to_table(envelopes))
    assert fold_table(chosen).carts.to_pylist() == tables_of(fold(each) for each in past.values()).carts.to_pylist()


def test_a_store_becomes_two_files(tmp_path: Path) -> None:
    """Every cart and line once, in the order of ``fold_table``, with the counts told."""
    with CartStore.open(tmp_path / "store") as store:
        for number in range(30):
            store.append(cart_id(number * 31), [item(), item("b")], "u1", 0)
        store.seal()
        store.append(cart_id(0), [item("c")], "u1", 2)
        told: list[int] = []
        done = project(store.batches(Moment().columns, encoded=ENCODED), tmp_path / "out", tell=told.append)
        expected = fold_table(pa.concat_tables(list(store.batches())))
    assert done == Projected(events=61, carts=30, lines=61)
    assert told[-1] == 61
    assert written(tmp_path / "out") == expected


def test_any_moment_can_be_projected(tmp_path: Path, clock: Clock) -> None:
    """As of a time, until a position, as known at a time: each filters the events, and then they are folded."""
    store = MemoryStore(clock)
    store.append_many([envelope(item(), 1, at=NOON)])
    clock.advance(hours=1)
    store.append_many([envelope(PriceUpdated("a", 2900, 1000, "sale"), 2, at=NOON - timedelta(hours=5))])
    clock.advance(hours=1)
    store.append_many([envelope(item("b"), 3, at=NOON + timedelta(hours=2))])

    def seen(moment: Moment) -> list[int]:
        project(store.batches(moment.columns), tmp_path, moment)
        return pq.read_table(tmp_path / "carts.parquet")["version"].to_pylist()

    assert seen(Moment()) == [3]
    assert seen(Moment(until=2)) == [2]
    assert seen(Moment(at=NOON + timedelta(hours=1))) == [2]
    assert seen(Moment(known_at=NOON + timedelta(minutes=59))) == [1]
    assert seen(Moment(at=NOON, known_at=NOON + timedelta(minutes=59))) == [1]
    assert seen(Moment(at=NOON - timedelta(hours=6))) == []


def test_what_was_never_recorded_is_not_known() -> None:
    """An event without a time of recording is not known at any time."""
    table = schema.to_table(history(item()))
    assert len(Moment(known_at=datetime(9999, 1, 1, tzinfo=UTC)).choose(table)) == 0


def test_a_cart_out_of_order_is_refused_and_the_old_files_stay(tmp_path: Path) -> None:
    """A stream that does not keep versions ascending would give wrong carts, so nothing is written."""
    project([schema.to_table(history(item()))], tmp_path)
    before = written(tmp_path)
    with pytest.raises(OutOfOrder):
        project([schema.to_table(history(item(), item("b"))[::-1])], tmp_path)
    assert written(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["carts.parquet", "lines.parquet"]


def test_a_store_without_events_gives_files_without_rows(tmp_path: Path) -> None:
    """Both files are there, with all columns."""
    assert project([], tmp_path) == Projected(0, 0, 0)
    assert written(tmp_path) == fold_table(schema.EVENTS.empty_table())


@given(st.lists(st.integers(0, 40), max_size=12))
@settings(max_examples=20)
def test_a_files_bytes_follow_from_its_rows(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """However rows come, row groups are cut at the same places and hold the same bytes."""
    folder = tmp_path_factory.mktemp("files")
    rows = [each for number in range(sum(sizes)) for each in history(item(), cart=cart_id(number))]
    table = fold_table(schema.to_table(rows)).carts
    for name, parts in (("one", [len(table)]), ("many", sizes)):
        with TableFile(folder / name, CARTS, row_group_rows=16) as file:
            start = 0
            for size in parts:
                file.write(table.slice(start, size))
                start += size
            file.finish()
            file.publish()
    assert (folder / "one").read_bytes() == (folder / "many").read_bytes()
    assert pq.read_table(folder / "many") == table


def test_few_pieces_are_in_hand_at_a_time() -> None:
    """Pieces are asked for no faster than they are used up, and come out in order."""
    asked, used, most = 0, 0, 0
    lock = threading.Lock()

    def pieces() -> object:
        nonlocal asked, most
        for number in range(100):
            with lock:
                asked += 1
                most = max(most, asked - used)
            yield number

    results = []
    for result in in_order(lambda number: number * 2, pieces()):  # type: ignore[arg-type]
        results.append(result)
        with lock:
            used += 1
    assert results == [number * 2 for number in range(100)]
    assert most <= (os.cpu_count() or 1) + 2
