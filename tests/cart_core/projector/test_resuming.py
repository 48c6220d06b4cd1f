"""Going on from kept carts gives what folding everything gives."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import schema
from cart_core.errors import OutOfOrder
from cart_core.events import CouponApplied, ItemAdded
from cart_core.projector import CartTables, fold_table
from cart_core.projector.resuming import resumable, resumed
from tests.builders import cart_id, history
from tests.strategies import shops


def part_of(tables: CartTables, wanted: set) -> CartTables:
    """The rows of some carts."""
    masks = [
        pa.array([each in wanted for each in table["cart_id"].to_pylist()], pa.bool_())
        for table in (tables.carts, tables.lines)
    ]
    return CartTables(tables.carts.filter(masks[0]), tables.lines.filter(masks[1]))


@given(shops(shuffled=False), st.data())
def test_a_fold_resumed_from_its_own_tables_is_the_fold_of_everything(envelopes: list, data: st.DataObject) -> None:
    """Cut anywhere, with some carts finished, some going on and some new, any kept cart in any place."""
    place = data.draw(st.integers(0, len(envelopes)))
    before, after = schema.to_table(envelopes[:place]), schema.to_table(envelopes[place:])
    kept = fold_table(before)
    single = {cart for cart, can in zip(kept.carts["cart_id"].to_pylist(), resumable(kept.carts), strict=True) if can}
    touched = set(after["cart_id"].to_pylist())
    going_on = part_of(kept, single & touched)
    shuffled = data.draw(st.permutations(range(len(going_on.carts))))
    going_on = CartTables(going_on.carts.take(pa.array(shuffled, pa.int64())), going_on.lines)
    mixed = [each in touched - single for each in before["cart_id"].to_pylist()]
    events = pa.concat_tables([before.filter(pa.array(mixed, pa.bool_())), after])
    expected = part_of(fold_table(schema.to_table(envelopes)), touched)
    actual = resumed(going_on, events)
    assert actual.carts.to_pylist() == expected.carts.to_pylist()
    assert actual.lines.to_pylist() == expected.lines.to_pylist()
    assert (actual.carts.schema, actual.lines.schema) == (expected.carts.schema, expected.lines.schema)


def test_carts_that_mix_currencies_cannot_be_gone_on_from() -> None:
    """A line's currency stands in no table, so only a cart of one currency, or of none, is complete in its rows."""
    tables = fold_table(
        schema.to_table(
            [
                *history(ItemAdded("a", "x", 1, 1, "USD"), ItemAdded("b", "x", 1, 1, "EUR"), cart=cart_id(1)),
                *history(ItemAdded("a", "x", 1, 1, "USD"), cart=cart_id(2)),
                *history(CouponApplied("T", "fixed", 1), cart=cart_id(3)),
            ]
        )
    )
    by_cart = dict(zip(map(str, tables.carts["cart_id"].to_pylist()), resumable(tables.carts), strict=True))
    assert by_cart == {cart_id(1): np.False_, cart_id(2): np.True_, cart_id(3): np.True_}


def test_an_event_that_the_kept_state_already_has_is_refused() -> None:
    """Folding an event twice would be silent corruption."""
    events = history(ItemAdded("a", "x", 1, 1, "USD"), ItemAdded("b", "x", 1, 1, "USD"))
    kept = fold_table(schema.to_table(events))
    with pytest.raises(OutOfOrder, match="event 2"):
        resumed(kept, schema.to_table(events[1:]))
