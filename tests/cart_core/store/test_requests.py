"""A prepared append holds exactly what its envelopes say, found in one pass over each event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import ledger, rules, schema
from cart_core.errors import ConcurrencyError, InvalidEvent
from cart_core.events import CheckoutStarted, Envelope
from cart_core.store import CartStore, at_rest, requests
from cart_core.store.requests import Append
from tests.cart_core.store.builders import LIFE, named
from tests.strategies import envelopes

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, UTC)


def prepared(envelope: Envelope) -> Append:
    """The append of one event, its id and moment given."""
    told = ([envelope.event_id], envelope.timestamp, envelope.metadata, NOW)
    return requests.prepare(envelope.cart_id, [envelope.event], envelope.user_id, envelope.version - 1, *told)


@given(envelopes())
def test_law_a_row_is_that_of_the_envelope(envelope: Envelope) -> None:
    """Numbered by the commit, it has the values that the table of the envelope has."""
    (row,) = prepared(envelope).rows
    at_rest.complete(row, 5, 7, 9, bytes(32))

    table = schema.to_table([envelope])
    (expected,) = at_rest.journal_rows(at_rest.with_keys(table, {envelope.user_id: 7}, [5], 9))

    assert tuple(row) == (*expected, bytes(32))


@given(envelopes(), st.integers(0, 2**63 - 1))
def test_law_the_text_around_a_user_is_that_of_the_envelope(envelope: Envelope, user_key: int) -> None:
    """With the user's key between its halves it is the canonical JSON that the leaf is over."""
    ((before, after),) = prepared(envelope).texts
    assert before + str(user_key).encode() + after == ledger.canonical(envelope, user_key)


def outcome(make: Callable[[], Envelope]) -> Envelope | str:
    """What is made, or the words of its refusal."""
    try:
        return make()
    except InvalidEvent as error:
        return str(error)


def without_new_id(made: Envelope | str, given_id: Any) -> Envelope | str:
    """The same with an id of its own where none was given, as each is another."""
    return replace(made, event_id=UUID(int=1)) if isinstance(made, Envelope) and given_id is None else made  # type: ignore[arg-type]


@given(
    cart=st.sampled_from([named("a"), named("a").upper(), UUID(int=7), "7", "", None, 7]),
    user=st.sampled_from(["ann", "", "a" * 4097, "\0", "\ud800", None, 7]),
    event_id=st.sampled_from([None, named("e"), named("e").upper(), UUID(int=8), "8", ""]),
    moment=st.sampled_from([None, NOW, NOW.astimezone(), NOW.replace(tzinfo=None), "now"]),
    notes=st.sampled_from([None, {}, {"a": "b"}, {"": "b"}, {"a": 1}, {"a": "\0"}]),
)
def test_law_what_is_refused_is_what_an_envelope_refuses(
    cart: Any, user: Any, event_id: Any, moment: Any, notes: Any
) -> None:
    """With the same words, whichever field is wrong."""
    ids = None if event_id is None else [event_id]
    told = (str(UUID(int=1) if event_id is None else event_id), cart, user, moment or NOW, 1, CheckoutStarted())

    expected = outcome(lambda: Envelope(*told, metadata={} if notes is None else notes))
    actual = outcome(lambda: requests.prepare(cart, [CheckoutStarted()], user, 0, ids, moment, notes, NOW).envelopes[0])

    assert without_new_id(actual, event_id) == without_new_id(expected, event_id)


@given(st.datetimes(timezones=st.just(UTC)))
def test_law_a_new_id_tells_its_moment(moment: datetime) -> None:
    """A UUID of version 7 (RFC 9562): its first 48 bits are the milliseconds, however early."""
    request = requests.prepare(named("a"), [CheckoutStarted()] * 2, "ann", 0, None, None, None, moment)
    first, second = (UUID(each) for each in request.event_ids)
    assert (first.version, first.variant, str(first)) == (7, "specified in RFC 4122", request.event_ids[0])
    assert first.int >> 80 == second.int >> 80 == rules.to_micros(moment) // 1000 % 2**48
    assert first != second


def test_new_ids_ascend_with_the_clock() -> None:
    """Down to the microsecond."""
    moments = [NOW + timedelta(microseconds=step) for step in range(0, 3000, 7)]
    made = [requests.prepare(named("a"), [CheckoutStarted()], "a", 0, None, None, None, each) for each in moments]
    ids = [each.event_ids[0] for each in made]
    assert ids == sorted(ids)


@pytest.mark.parametrize("sealed", [False, True])
def test_p2_a_cart_that_another_has_begun_is_refused_and_its_neighbours_are_written(
    tmp_path: Path, sealed: bool
) -> None:
    """Though carts that are to begin are not looked up in the journal, nobody begins one twice."""
    with CartStore.open(tmp_path) as store, CartStore.open(tmp_path) as other:
        store.append(named("known"), [LIFE[0]], "ann", 0)
        other.append(named("taken"), [LIFE[0]], "eve", 0)
        if sealed:
            other.seal()
            other.append(named("taken"), [LIFE[0]], "eve", 1)
        group = [store.prepare(named(cart), [LIFE[0]], "bob", 0) for cart in ("new", "taken", "newer", "new")]

        answers = store.append_group(group)

        assert [getattr(each, "actual", each) for each in answers] == [1, 1 + sealed, 1, 1]
        assert [type(each) for each in answers] == [int, ConcurrencyError, int, ConcurrencyError]
        assert [len(store.read(named(cart))) for cart in ("known", "new", "taken", "newer")] == [1, 1, 1 + sealed, 1]
        assert store.verify().problems == []
