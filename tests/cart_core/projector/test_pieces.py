"""Carts that come by key leave by part, whole and in order."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import schema
from cart_core.events import Envelope
from cart_core.projector import fold_table
from cart_core.projector.many import concatenated
from cart_core.projector.pieces import Pieces, cut_by
from cart_core.projector.tables import taken
from tests.strategies import shops


@given(st.lists(shops(max_carts=3, shuffled=False), min_size=1, max_size=3), st.integers(1, 4), st.randoms())
@settings(max_examples=25)
def test_a_part_holds_its_carts_in_the_order_they_came_in(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Envelope]], parts: int, chance: random.Random
) -> None:
    """Coupons, names beyond ASCII and carts without lines included; what is taken leaves no file behind."""
    folder = tmp_path_factory.mktemp("pieces") / "open"
    folded = [fold_table(schema.to_table(batch)) for batch in batches]
    owners = [np.array([chance.randrange(parts) for _ in range(len(each.carts))], np.int64) for each in folded]
    with Pieces(folder) as pieces:
        for tables, owner in zip(folded, owners, strict=True):
            pieces.add(cut_by(owner, tables))
        found = {number: pieces.take(number) for number in pieces.numbers()}
        assert list(folder.iterdir()) == []
    assert not folder.exists()
    assert list(found) == sorted({int(number) for owner in owners for number in owner})
    for number, tables in found.items():
        mine = [taken(each, np.flatnonzero(owner == number)) for each, owner in zip(folded, owners, strict=True)]
        assert tables.carts.to_pylist() == concatenated(mine).carts.to_pylist()
        assert tables.lines.to_pylist() == concatenated(mine).lines.to_pylist()
