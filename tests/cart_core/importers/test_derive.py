from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules, schema
from cart_core.importers import acts, ids
from cart_core.importers.carts import ROWS_IN_A_TEXT, CartIds, Key, rows_in, short
from cart_core.importers.derive import derive
from cart_core.projector import fold

KEY = "11111111-1111-4111-8111-111111111111"


def act(kind, product="p", quantity=1, price=500, second=0, part=0, **more):
    """One act of the one key, in USD."""
    told = {"part": part, "key": KEY, "user_id": "u1", "at": second * 1_000_000, "act": kind, "product_id": product}
    told |= {"product_name": product, "quantity": quantity, "price_cents": price, "currency": "USD"}
    return told | more


def decided(*told, keys=None):
    """What acts come to, each a row of its own unless its part says otherwise."""
    table = pa.Table.from_pylist([{"file": 0, "row": row} | each for row, each in enumerate(told)], schema=acts.ACTS)
    row_ids = ids.named_all(ids.namespace("test"), [str(row).encode() for row in range(len(told))])
    return derive("test", table, row_ids, CartIds("test", "session"), keys or {})


def short_events(derived):
    """Events in short."""
    return [tuple(each.event.to_json().values()) for each in schema.to_envelopes(derived.events)]


def reasons(derived):
    """(place, reason) of each row that made no event."""
    return [(each.place, each.reason) for each in derived.refused]


kinds = st.sampled_from(
    [acts.ADD, acts.ADD, acts.REMOVE, acts.SET, acts.COUPON, acts.UNCOUPON, acts.CHECKOUT, acts.PURCHASE, acts.ORDER]
)
random_acts = st.builds(
    lambda kind, product, quantity, price, code, order: act(
        kind,
        product,
        quantity,
        price,
        coupon_code=code,
        discount_type="fixed",
        discount_value=10.0,
        order_id=order if kind == acts.ORDER else None,
        total_cents=price,
    ),
    kinds,
    st.sampled_from("pq"),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from("cd"),
    st.sampled_from(["o1", "o2"]),
)


@given(st.lists(random_acts, max_size=20))
def test_whatever_shoppers_did_the_events_keep_every_rule(told):
    """Events are valid, versions gapless, no line falls to zero, and each row is an event row or refused."""
    told = [each | {"at": second * 1_000_000} for second, each in enumerate(told)]
    derived = decided(*told)
    assert len(schema.violations(derived.events)) == 0
    assert derived.rows + len(derived.refused) == len(told)
    carts = {}
    for each in schema.to_envelopes(derived.events):
        carts.setdefault(each.cart_id, []).append(each)
    for history in carts.values():
        assert [each.version for each in history] == list(range(1, len(history) + 1))
        assert all(line.quantity > 0 for line in fold(history).lines)
    assert len(set(derived.events["event_id"].to_pylist())) == len(derived.events)


@given(st.lists(random_acts, max_size=14), st.integers(0, 14))
def test_rows_read_in_two_parts_come_to_the_same_events(told, cut):
    """Going on from the state that a first part left gives what reading everything at once gives."""
    told = [each | {"at": second * 1_000_000, "row": second} for second, each in enumerate(told)]
    whole = decided(*told)
    first = decided(*told[:cut])
    key = Key()
    histories = {}
    for each in schema.to_envelopes(first.events):
        histories.setdefault(each.cart_id, []).append(each)
    for cart, history in histories.items():
        orders = [(each.event.order_id, each.timestamp) for each in history if each.event.type == "CheckoutCompleted"]
        key.take_up(ids.from_text(pa.array([cart]))[0].tobytes(), fold(history), orders)
    second = decided(*told[cut:], keys={KEY: key})
    assert short_events(first) + short_events(second) == short_events(whole)


def test_the_first_event_of_a_row_has_the_rows_id():
    """So a row is known again by one look-up."""
    derived = decided(act(acts.ADD), act(acts.ADD, price=600))
    row_ids = ids.named_all(ids.namespace("test"), [b"0", b"1"])
    first, second, third = schema.id_bytes(derived.events["event_id"])
    assert np.array_equal(first, row_ids[0])
    assert np.array_equal(second, row_ids[1])
    assert third.tobytes() == ids.named(row_ids[1].tobytes(), "event 1")


def test_a_price_seen_at_the_purchase_is_a_price_update_before_it():
    """What was charged agrees with the cart that was charged."""
    derived = decided(act(acts.ADD), act(acts.PURCHASE, price=450, second=1))
    _, priced, bought = short_events(derived)
    assert (priced, bought[-1]) == (("PriceUpdated", "p", 500, 450, "inferred"), 450)


@pytest.mark.parametrize("rows", [1, 2, ROWS_IN_A_TEXT + 1, 2 * ROWS_IN_A_TEXT + 5])
def test_a_checkout_names_every_further_purchase_row_however_many(rows):
    """Their ids fit metadata, whose texts are bounded, and are read back whole."""
    told = [act(acts.ADD), *(act(acts.PURCHASE, f"q{number}", second=1) for number in range(rows))]
    derived = decided(*told)
    assert len(schema.violations(derived.events)) == 0
    row_ids = ids.named_all(ids.namespace("test"), [str(row).encode() for row in range(len(told))])
    assert rows_in(derived.events["metadata"].to_pylist()[-1]) == [short(each.tobytes()) for each in row_ids[2:]]


def test_more_units_than_a_line_can_hold_are_set_aside():
    """Quantities stay within 32 bits, totals within 64."""
    most = rules.INT32_MAX
    assert reasons(decided(act(acts.ADD, quantity=most), act(acts.ADD))) == [(1, "too_many")]
    dear = [act(acts.PURCHASE, price=rules.INT64_MAX, second=1) for _ in range(2)]
    assert reasons(decided(act(acts.ADD), *dear)) == [(1, "too_many"), (2, "too_many")]


def test_a_product_in_another_currency_does_not_change_its_line():
    """A price in euros is no change of a price in dollars."""
    assert reasons(decided(act(acts.ADD), act(acts.ADD, price=600, currency="EUR"))) == [(1, "other_currency")]
