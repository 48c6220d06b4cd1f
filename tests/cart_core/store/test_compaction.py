"""Compaction: fewer files, the same rows; replaced files stay as long as they were promised to."""

from __future__ import annotations

from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from cart_core.store import CartStore
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.segments import folder as segments
from cart_core.store.upkeep.compaction import groups
from tests.cart_core.store.builders import life, named
from tests.cart_core.store.conftest import SteppingClock


def segment(first: int, rows: int) -> Segment:
    """A segment of so many rows from a position on."""
    return Segment(f"{first}", first, first + rows - 1, rows, rows * 30, "", 0, 0)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([10, 10, 10, 10], [[10, 10, 10, 10]]),
        ([1000, 10, 10], [[10, 10]]),
        ([20, 10], [[20, 10]]),
        ([30, 10], []),
        ([3_000_000, 2_000_000], []),
        ([7], []),
        ([], []),
    ],
)
def test_small_neighbours_are_joined_and_large_ones_left(sizes: list[int], expected: list[list[int]]):
    """A segment is rewritten only with newer ones of at least half its size, and none becomes too large."""
    live, first = [], 1
    for rows in sizes:
        live.append(segment(first, rows))
        first += rows
    assert [[each.rows for each in group] for group in groups(live)] == expected


def test_only_neighbours_are_joined():
    """Where journal rows lie between two segments, they stay two."""
    assert list(groups([segment(1, 10), segment(12, 10)])) == []


def test_what_is_read_stays_the_same(durable: CartStore):
    """Rows, positions, moments of recording and proofs, before and after."""
    for number in range(6):
        durable.append_many(life(f"cart {number}") + life(f"other {number}", "bob"))
        durable.seal()
    before = durable.scan().collect().sort("position")
    done = durable.compact()
    assert (done.before, done.after) == (6, 1)
    assert durable.scan().collect().sort("position").equals(before)
    assert durable.read(named("cart 3"))[0].position == 31
    assert durable.verify().problems == []


def test_segments_of_bulk_batches_are_joined_with_sealed_ones(tmp_path, ticking: SteppingClock):
    """What the catalog knew of their positions and recording goes into the new file."""
    with CartStore.open(tmp_path / "store", clock=ticking, journal_rows=0) as store:
        for number in range(3):
            store.append_many(life(f"cart {number}"))
        before = store.scan().collect().sort("position")
        store.compact()
        assert store.status()["segments"] == 1
        assert store.scan().collect().sort("position").equals(before)
        assert store.verify().problems == []


def test_replaced_files_stay_for_their_grace_and_go_then(durable: CartStore, ticking: SteppingClock):
    """A reader that began before the compaction still finds its files."""
    for number in range(2):
        durable.append_many(life(f"cart {number}"))
        durable.seal()
    reader = durable.scan()
    durable.compact(grace=timedelta(hours=1))
    assert reader.collect().height == 10
    ticking.now += timedelta(hours=2)
    swept = durable.compact(grace=timedelta(hours=1)).swept
    assert (swept, len(list((durable.path / "segments").glob("*.parquet")))) == (2, 1)
    assert durable.scan().collect().height == 10


def test_another_store_object_sees_the_new_files(durable: CartStore):
    """A process that has the old list of files reads on without an error."""
    durable.append_many(life("a"))
    durable.seal()
    with CartStore.open(durable.path) as other:
        assert len(other.read(named("a"))) == 5
        durable.append_many(life("b"))
        durable.seal()
        durable.compact(grace=timedelta(0))
        assert len(other.read(named("a"))) == len(other.read(named("b"))) == 5


def test_a_carts_events_lie_together_however_often_it_was_sealed_between(
    durable: CartStore, monkeypatch: pytest.MonkeyPatch
):
    """After compaction one read of at most two row groups gives a whole cart, out of many."""
    monkeypatch.setattr(segments, "ROW_GROUP_ROWS", 100)
    carts = [f"cart {number}" for number in range(200)]
    for version in range(5):
        durable.append_many([life(cart)[version] for cart in carts])
        durable.seal()
    durable.compact(grace=timedelta(0))
    (path,) = (durable.path / "segments").glob("*.parquet")
    file = pq.ParquetFile(path)
    touched: dict[bytes, set[int]] = {}
    for group in range(file.num_row_groups):
        for cart in file.read_row_group(group, columns=["cart_id"])["cart_id"].to_pylist():
            touched.setdefault(cart.bytes, set()).add(group)
    assert file.num_row_groups >= 8
    assert len(touched) == 200
    assert max(map(len, touched.values())) <= 2
