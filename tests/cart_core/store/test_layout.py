"""The order of rows in a file, and finding carts and events in it again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cart_core import schema
from cart_core.store.segments import layout, searching, segment_index

IDS = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=30, unique=True)


def as_bytes(ids: list[bytes]) -> np.ndarray:
    """Ids as (n, 16) bytes."""
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16)


@given(IDS, st.data())
def test_rows_stand_by_bucket_then_cart_by_cart_then_by_version(ids: list[bytes], data: st.DataObject):
    """Whatever order they come in."""
    carts = [each for each in ids for _ in range(data.draw(st.integers(1, 4)))]
    rows = [(cart, carts[:place].count(cart) + 1) for place, cart in enumerate(carts)]
    rows = data.draw(st.permutations(rows))
    order = layout.cart_order(as_bytes([cart for cart, _ in rows]), np.array([version for _, version in rows]))
    placed = [rows[place] for place in order]
    buckets = [schema.bucket(cart) for cart, _ in placed]
    assert buckets == sorted(buckets)
    runs = [cart for place, (cart, _) in enumerate(placed) if place == 0 or placed[place - 1][0] != cart]
    assert len(runs) == len(set(runs))
    assert all(one[1] < other[1] for one, other in pairwise(placed) if one[0] == other[0])


@given(IDS)
def test_carts_that_share_a_key_are_told_apart(ids: list[bytes]):
    """Lookup compares the whole id, so that a clash of keys cannot mix two carts."""
    keys = np.zeros(len(ids), np.uint64)
    starts = np.arange(len(ids), dtype=np.uint32)
    heads, marks = starts.astype(np.int32) + 7, segment_index.marks(keys)
    found = segment_index.SegmentIndex(
        keys, as_bytes(ids), starts, starts * 0 + 1, heads, starts + 3, keys, starts, marks
    )
    expected = [(place, 1, place + 7, place + 3) for place in range(len(ids))]
    assert [found.cart(np.uint64(0), each) for each in ids] == expected
    assert found.cart(np.uint64(0), b"\xff" * 15 + b"\xfe") is None or b"\xff" * 15 + b"\xfe" in ids
    rows, places = found.carts(keys, as_bytes(ids))
    assert dict(zip(rows.tolist(), places.tolist(), strict=True)) == {place: place for place in range(len(ids))}


@given(IDS)
def test_an_index_finds_every_cart_and_no_other(ids: list[bytes]):
    """Built from the rows of a file, it gives each cart's place, rows and head."""
    known = ids[: len(ids) // 2 + 1]
    carts = as_bytes([each for each in known for _ in range(2)])
    versions = np.array([1, 2] * len(known), np.int32)
    order = layout.cart_order(carts, versions)
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([row.tobytes() for row in carts[order]], pa.binary(16)))
    users = pa.array(np.arange(len(carts)) + 2**32 - 3)
    rows = {"cart_id": column, "version": versions[order], "event_id": column, "user_key": users}
    built = segment_index.build(pa.table(rows))
    for each in ids:
        place = built.cart(schema.cart_keys(as_bytes([each]))[0], each)
        assert (place is not None) == (each in known)
        if place is not None:
            assert carts[order][place[0]].tobytes() == each
            last = place.start + 1 + 2**32 - 3
            assert place[1:] == (2, 2, last if last < 2**32 else 0)
    bounds = built.bounds(64, len(carts))
    buckets = schema.buckets(column.take(pa.array(np.arange(len(carts)))))
    assert [int((buckets == bucket).sum()) for bucket in range(64)] == [int(each) for each in np.diff(bounds)]


KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=60).map(sorted)


@given(KEYS, KEYS)
def test_a_walk_through_both_finds_what_a_search_for_each_finds(keys: list[int], wanted: list[int]):
    """Many ascending keys among others, repeated ones, smaller and larger ones than all."""
    kept, asked = np.array(keys, np.uint64), np.array(wanted, np.uint64)
    assert searching.first_not_below(kept, asked).tolist() == np.searchsorted(kept, asked).tolist()


def test_few_keys_and_many_are_found_alike():
    """A search of many takes another way than one of few."""
    keys = np.sort(np.random.default_rng(1).integers(0, 2**64, 3_000, np.uint64))
    asked = np.sort(np.r_[keys, keys + np.uint64(1), keys[:10]].repeat(2))
    places = segment_index.first_not_below(keys, asked)
    few = [segment_index.first_not_below(keys, part) for part in np.array_split(asked, 7)]
    assert len(asked) > segment_index.MANY
    assert places.tolist() == np.concatenate(few).tolist()


@given(st.lists(st.integers(0, 63), max_size=400), st.integers(2, 50))
def test_row_groups_cover_all_rows_once_and_stay_near_the_wanted_size(buckets: list[int], wanted: int):
    """Bounds ascend, end at the last row, and no group is more than twice the wanted rows beyond a bucket's edge."""
    rows = np.sort(np.array(buckets, np.uint8))
    bounds = layout.row_group_bounds(rows, wanted)
    assert bounds == sorted(set(bounds))
    assert (bounds[-1] if bounds else 0) == len(rows)
    assert all(size <= 2 * wanted for size in np.diff([0, *bounds]))
