"""Random use of a durable store and of the one in memory: they always tell the same."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cart_core.errors import CartError
from cart_core.events import Envelope
from cart_core.store import CartStore, MemoryStore
from tests import postgres
from tests.cart_core.store.builders import LIFE, START, envelope, named
from tests.cart_core.store.conftest import SteppingClock

CARTS = st.sampled_from(["a", "b", "c", "d"])
EVENTS = st.lists(st.sampled_from(LIFE), min_size=1, max_size=3)
USERS = st.sampled_from(["ann", "bob"])
ROWS = st.lists(st.tuples(CARTS, st.integers(1, 6), st.sampled_from(LIFE), st.integers(0, 2), USERS), max_size=12)


class TwoStores(RuleBasedStateMachine):
    """What one store does the other must do, answer by answer."""

    @initialize(journal_rows=st.sampled_from([0, 3, 10_000]))
    def open(self, journal_rows: int) -> None:
        """Begin with two empty stores."""
        self.folder = Path(tempfile.mkdtemp())
        self.catalog = self.new_catalog()
        self.journal_rows = journal_rows
        self.calls = 0
        self.clocks = SteppingClock(), SteppingClock()
        self.memory = MemoryStore(self.clocks[0])
        self.durable = self._opened()

    @rule(cart=CARTS, events=EVENTS, user=USERS, expected=st.integers(0, 6), repeat=st.booleans())
    def append(self, cart: str, events: list, user: str, expected: int, *, repeat: bool) -> None:
        """Append at the head, or anywhere."""
        head = len(self.memory.read(named(cart)))
        at = head if repeat else expected
        self.calls += 1
        ids = [named(f"{'again' if repeat else self.calls} {cart} {at} {place}") for place, _ in enumerate(events)]
        self._both(lambda store: store.append(named(cart), events, user, at, event_ids=ids, timestamp=START))

    @rule(cart=CARTS)
    def append_again(self, cart: str) -> None:
        """Repeat a cart's last event under its id."""
        history = self.memory.read(named(cart))
        if history:
            last = history[-1]
            self._both(
                lambda store: store.append(last.cart_id, [last.event], last.user_id, 0, event_ids=[last.event_id])
            )

    @rule(rows=ROWS)
    def admit(self, rows: list) -> None:
        """Admit a batch with gaps, doubles and conflicts."""
        batch = [
            envelope(cart, version, event, user=user, event_id=named(f"{cart} {version} {variant}"))
            for cart, version, event, variant, user in rows
        ]
        self._both(lambda store: _told(store.admit(batch)))

    @rule(rows=ROWS)
    def append_many(self, rows: list) -> None:
        """Append a batch whole or not at all."""
        batch = [envelope(cart, version, event, user=user) for cart, version, event, _, user in rows]
        self._both(lambda store: _told(store.append_many(batch)))

    @rule()
    def seal(self) -> None:
        """Seal the durable store."""
        self.durable.seal()

    @rule()
    def compact(self) -> None:
        """Compact it, keeping no replaced file."""
        self.durable.compact(grace=timedelta(0))

    @rule(user=USERS)
    def forget(self, user: str) -> None:
        """Forget a user in both."""
        known = any(each.user_id == user for cart in "abcd" for each in self.memory.read(named(cart)))
        assert self.memory.forget(user) == known
        self.durable.forget(user)

    @rule()
    def reopen(self) -> None:
        """Close the durable store, lose its cache, open it again."""
        self.durable.close()
        shutil.rmtree(self.folder / "store" / "cache", ignore_errors=True)
        self.durable = self._opened()

    @invariant()
    def tell_the_same(self) -> None:
        """Positions, histories and lines agree."""
        if not hasattr(self, "durable"):
            return
        assert self.durable.position() == self.memory.position()
        for cart in "abcd":
            mine, theirs = self.durable.read(named(cart)), self.memory.read(named(cart))
            assert list(map(_plain, mine)) == list(map(_plain, theirs))
            assert self.durable.cart(named(cart)).lines == self.memory.cart(named(cart)).lines

    def teardown(self) -> None:
        """At the end it verifies, and holds the same rows."""
        if hasattr(self, "durable"):
            assert self.durable.verify().problems == []
            rows = self.durable.scan().collect().sort("position")
            theirs = self.memory.scan().collect().sort("position")
            skipped = ["recorded_at", "user_id"]
            assert rows.drop(skipped).equals(theirs.drop(skipped))
            assert sorted(_positions(self.durable)) == list(range(1, len(rows) + 1))
            self.durable.close()
            shutil.rmtree(self.folder)

    def _opened(self) -> CartStore:
        return CartStore.open(
            self.folder / "store", catalog=self.catalog, clock=self.clocks[1], journal_rows=self.journal_rows
        )

    def new_catalog(self) -> str | None:
        """Where the durable store's catalog is; None for a file in its folder."""
        return None

    def _both(self, call) -> None:
        assert _outcome(call, self.durable) == _outcome(call, self.memory)


def _outcome(call, store: object) -> object:
    try:
        return call(store)
    except CartError as error:
        return type(error)


def _told(admission) -> object:
    refused = admission.refused.select(["row", "reason"]).to_pylist()
    return admission.appended, admission.carts, admission.already_known.tolist(), refused, admission.position


def _plain(each: Envelope) -> tuple:
    user = "forgotten" if each.user_id.startswith("forgotten-") else each.user_id
    return each.position, each.version, each.event_id, each.event, each.timestamp, user, dict(each.metadata)


def _positions(store: CartStore) -> list[int]:
    return [each for table in store.batches(["position"]) for each in table["position"].to_pylist()]


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


class WithPostgres(TwoStores):
    """The same, with a catalog in PostgreSQL."""

    def new_catalog(self) -> str | None:
        """A schema of its own."""
        return postgres.server().fresh()


TestWithPostgres = pytest.mark.postgres(WithPostgres.TestCase)
TestWithPostgres.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
