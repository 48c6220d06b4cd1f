"""Keys of ids: the order they give must be that of any sound sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cart_core import schema
from cart_core.schema import keys

HIGH = st.sampled_from([0, 1, 2**40, 2**63])
KEYS = st.lists(st.tuples(HIGH, st.integers(0, 40)).map(sum), max_size=200)


@given(KEYS)
def test_the_order_of_keys_is_the_stable_one(values: list[int]) -> None:
    """Keys that differ in their last bits alone, where rows are packed, are put right; equal ones keep their order."""
    given_keys = np.array(values, np.uint64)
    assert schema.ascending(given_keys).tolist() == np.argsort(given_keys, kind="stable").tolist()


def test_keys_that_nearly_all_agree_are_sorted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many keys need putting right, they are sorted plainly."""
    monkeypatch.setattr(keys, "FEW", 3)
    given_keys = np.arange(500, dtype=np.uint64)[::-1].copy()
    assert schema.ascending(given_keys).tolist() == list(range(499, -1, -1))


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.just(16))), st.data())
def test_ids_are_taken_whole(ids: np.ndarray, data: st.DataObject) -> None:
    """Ids taken as words are the ids at those rows, byte by byte."""
    rows = np.array(data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=30)), np.int64)
    assert schema.take_ids(ids, rows).tolist() == ids[rows].tolist()


@given(st.binary(min_size=16, max_size=16))
def test_the_key_of_one_cart_is_its_key_among_many(cart_id: bytes) -> None:
    """Written for one id without arrays, the key is that of the column."""
    assert schema.cart_key(cart_id) == schema.cart_keys(np.frombuffer(cart_id, np.uint8).reshape(1, 16))[0]


@given(st.lists(st.integers(0, 5), max_size=40))
def test_distinct_ids_are_each_there_once(numbers: list[int]) -> None:
    """However often an id stands in a column, it is counted once."""
    ids = np.zeros((len(numbers), 16), np.uint8)
    ids[:, 3] = numbers
    assert sorted(schema.distinct(ids)[:, 3].tolist()) == sorted(set(numbers))
