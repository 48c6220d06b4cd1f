"""Random use of a durable store and of the one in memory: every call gives the same answer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cart_core import schema
from cart_core.errors import CartError
from cart_core.schema import EVENTS
from cart_core.store import CartStore, MemoryStore
from cart_core.store.base import Store
from tests import postgres
from tests.cart_core.store.builders import LIFE, START, envelope, named
from tests.conftest import Clock

RECORDED = START + timedelta(days=1)
NAMES = ("a", "b", "c", "d", "e")
CARTS = st.sampled_from(NAMES)
EVENTS_OF_ONE = st.lists(st.sampled_from(LIFE), min_size=1, max_size=3)
USERS = st.sampled_from(["ann", "bob"])
MINUTES = st.integers(0, 5)
ROW = st.tuples(CARTS, st.integers(1, 6), st.sampled_from(LIFE), st.integers(0, 2), USERS, MINUTES)
ROWS = st.lists(ROW, max_size=12)
PLACES = st.none() | st.integers(0, 40)
VERSIONS = st.none() | st.integers(0, 8)
COLUMNS = st.none() | st.lists(st.sampled_from(EVENTS.names), min_size=1, max_size=4, unique=True)
SHARES = st.sampled_from([(0, 1), (0, 2), (1, 2), (5, 8), (63, 64)])
PSEUDONYM = "^forgotten-[0-9]+$"


class TwoStores(RuleBasedStateMachine):
    """What one store does the other must do, answer by answer."""

    @initialize(journal_rows=st.sampled_from([0, 3, 10_000]))
    def open(self, journal_rows: int) -> None:
        """Begin with two empty stores under one clock."""
        self.folder = Path(tempfile.mkdtemp())
        self.catalog = self.new_catalog()
        self.journal_rows = journal_rows
        self.clock = Clock(RECORDED)
        self.given: list[tuple[str, list, str, int, list[str]]] = []
        self.memory = MemoryStore(self.clock)
        self.durable = self._opened()

    @rule(minutes=st.integers(-3, 9))
    def wait(self, minutes: int) -> None:
        """Time passes; now and then the clock is set back."""
        self.clock.advance(minutes=minutes)

    @rule(cart=CARTS, events=EVENTS_OF_ONE, user=USERS, off=st.sampled_from([0, 0, 0, -1, 1]), minutes=MINUTES)
    def append(self, cart: str, events: list, user: str, off: int, minutes: int) -> None:
        """Append at the head, or beside it."""
        call = self._call(cart, events, user, off)
        self._both(lambda store: store.append(*call[:4], call[4], START + timedelta(minutes=minutes)))

    @rule(cart=CARTS, events=EVENTS_OF_ONE, user=USERS)
    def append_now(self, cart: str, events: list, user: str) -> None:
        """Append without a time, which then is that of the clock."""
        call = self._call(cart, events, user, 0)
        self._both(lambda store: store.append(*call[:4], call[4], metadata={"session": f"session of {cart}"}))

    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        """Repeat an earlier append, as it was, in part, or with another event."""
        if self.given:
            cart, events, user, version, ids = data.draw(st.sampled_from(self.given))
            changed = data.draw(st.sampled_from([events, events[:1], [LIFE[0], *events[1:]]]))
            self._both(lambda store: store.append(cart, changed, user, version, ids[: len(changed)]))

    @rule(calls=st.lists(st.tuples(CARTS, EVENTS_OF_ONE, USERS, st.integers(-1, 1)), min_size=1, max_size=5))
    def append_group(self, calls: list) -> None:
        """Append many at once, some of them in conflict with each other."""
        prepared = [self._call(cart, events, user, off) for cart, events, user, off in calls]

        def group(store: Store) -> list[object]:
            requests = [store.prepare(*call[:4], call[4], START) for call in prepared]
            return [each if isinstance(each, int) else type(each) for each in store.append_group(requests)]

        self._both(group)

    @rule(rows=ROWS, whole=st.booleans())
    def admit(self, rows: list, *, whole: bool) -> None:
        """Admit a batch with gaps, doubles and conflicts, what is good of it or all of it."""
        batch = [
            envelope(cart, version, event, user=user, minutes=minutes, event_id=named(f"{cart} {version} {variant}"))
            for cart, version, event, variant, user, minutes in rows
        ]
        self._both(lambda store: _told(store.append_many(batch) if whole else store.admit(batch)))

    @rule(carts=st.lists(CARTS, min_size=1, max_size=3, unique=True), user=USERS, table=st.booleans())
    def append_good(self, carts: list[str], user: str, *, table: bool) -> None:
        """Append a batch that carries carts on, as envelopes or as a table."""
        heads = {cart: len(self.memory.read(named(cart))) for cart in carts}
        batch = [
            envelope(
                cart, heads[cart] + ahead, LIFE[ahead], user=user, event_id=named(f"{cart} {heads[cart] + ahead} 0")
            )
            for cart in carts
            for ahead in (1, 2, 3)
        ]
        self._both(lambda store: _told(store.append_many(schema.to_table(batch) if table else batch)))

    @rule(cart=CARTS, version=VERSIONS, at=VERSIONS, known=VERSIONS, after=st.integers(0, 3))
    def read(self, cart: str, version: int | None, at: int | None, known: int | None, after: int) -> None:
        """Read a cart as it is, was at a version, as of a moment, and as known at a moment."""
        bounds = version, _moment(START, at), _moment(RECORDED, known)
        self._both(lambda store: list(map(_anonymous, store.read(named(cart), *bounds, after=after))))
        self._both(lambda store: _anonymous(store.cart(named(cart), *bounds)))

    @rule(after=PLACES, until=PLACES, columns=COLUMNS, at=VERSIONS, known=VERSIONS)
    def scan(
        self, after: int | None, until: int | None, columns: Sequence[str] | None, at: int | None, known: int | None
    ) -> None:
        """Scan between two positions, some columns or all."""
        moments = {"at": _moment(START, at), "known_at": _moment(RECORDED, known)}
        wanted = None if columns is None else list(dict.fromkeys(["position", *columns]))
        self._both(lambda store: _rows(store.scan(after or 0, until, wanted, **moments).collect()))

    @rule(after=PLACES, until=PLACES, columns=COLUMNS, share=SHARES, encoded=st.booleans())
    def batches(
        self,
        after: int | None,
        until: int | None,
        columns: Sequence[str] | None,
        share: tuple[int, int],
        *,
        encoded: bool,
    ) -> None:
        """Read a share of the carts in pieces, texts as they are or as dictionaries."""
        wanted = None if columns is None else list(dict.fromkeys(["position", *columns]))
        texts = [name for name in ("type", "user_id", "product_id") if encoded and name in (wanted or EVENTS.names)]

        def all_of(store: Store) -> object:
            whole = pa.concat_tables(store.batches(wanted, after or 0, until, texts, share))
            return _rows(pl.DataFrame(pl.from_arrow(_decoded(whole))))

        self._both(all_of)

    @rule(carts=st.lists(CARTS, min_size=1, max_size=7))
    def look_up(self, carts: list[str]) -> None:
        """Ask for many carts, events and users at once, known and unknown, some twice."""
        asked = schema.to_table([envelope(cart, place) for place, cart in enumerate(carts, 1)])
        ids = asked["cart_id"].combine_chunks()
        events = schema.to_table([envelope(cart, 1, event_id=named(f"{cart} 1 0")) for cart in carts])["event_id"]
        self._both(lambda store: store.heads(ids)["version"].to_pylist())
        self._both(lambda store: _rows(pl.DataFrame(pl.from_arrow(store.read_many(ids)))))
        self._both(lambda store: store.known_ids(events.combine_chunks()).tolist())
        self._both(lambda store: [_anonymous(each) for each in store.carts([named(cart) for cart in carts])])

    @rule(user=USERS)
    def carts_of(self, user: str) -> None:
        """Ask for the carts of a user."""
        self._both(lambda store: store.carts_of(user))

    @rule()
    def seal(self) -> None:
        """Seal the durable store."""
        self.durable.seal()

    @rule(hours=st.sampled_from([0, 1]))
    def compact(self, hours: int) -> None:
        """Compact it, keeping replaced files for a while or not at all."""
        self.durable.compact(grace=timedelta(hours=hours))

    @rule(user=USERS)
    def forget(self, user: str) -> None:
        """Forget a user in both."""
        self._both(lambda store: store.forget(user))
        self._both(lambda store: store.forgotten())

    @rule()
    def verify(self) -> None:
        """Verify the durable store."""
        assert self.durable.verify().problems == []

    @rule(lose_cache=st.booleans())
    def reopen(self, *, lose_cache: bool) -> None:
        """Close the durable store, perhaps lose its cache, and open it again."""
        self.durable.close()
        if lose_cache:
            shutil.rmtree(self.folder / "store" / "cache", ignore_errors=True)
        self.durable = self._opened()

    @invariant()
    def same_position(self) -> None:
        """They stand at one position."""
        if hasattr(self, "durable"):
            assert self.durable.position() == self.memory.position()

    def teardown(self) -> None:
        """At the end the durable store verifies, and both hold the same."""
        if hasattr(self, "durable"):
            self.verify()
            self._both(lambda store: _rows(store.scan().collect()))
            for cart in NAMES:
                self._both(lambda store, cart=cart: _anonymous(store.cart(named(cart))))
            self.durable.close()
            shutil.rmtree(self.folder)

    def new_catalog(self) -> str | None:
        """Where the durable store's catalog is; None for a file in its folder."""
        return None

    def _opened(self) -> CartStore:
        return CartStore.open(
            self.folder / "store", catalog=self.catalog, clock=self.clock, journal_rows=self.journal_rows
        )

    def _call(self, cart: str, events: list, user: str, off: int) -> tuple[str, list, str, int, list[str]]:
        """The arguments of an append at the cart's head, or ``off`` from it; they are kept, to be repeated."""
        version = max(0, len(self.memory.read(named(cart))) + off)
        ids = [named(f"event {len(self.given)} {place}") for place, _ in enumerate(events)]
        self.given.append((named(cart), events, user, version, ids))
        return self.given[-1]

    def _both(self, call: Callable[[Any], object]) -> None:
        assert _outcome(call, self.durable) == _outcome(call, self.memory)


def _outcome(call: Callable[[Any], object], store: Store) -> object:
    try:
        return call(store)
    except CartError as error:
        return type(error), getattr(error, "actual", None)


def _told(admission) -> object:
    refused = admission.refused.select(["row", "reason"]).to_pylist()
    return admission.appended, admission.carts, admission.already_known.tolist(), refused, admission.position


def _anonymous(held):
    """A cart or an event whose user, if forgotten, has no number: each store counts its own way."""
    forgotten = (held.user_id or "").startswith("forgotten-")
    return replace(held, user_id="forgotten") if forgotten else held


def _rows(frame: pl.DataFrame) -> list[dict[str, object]]:
    frame = frame.sort("position")
    if "user_id" in frame.columns:
        frame = frame.with_columns(pl.col("user_id").cast(pl.String).str.replace(PSEUDONYM, "forgotten"))
    return frame.to_dicts()


def _decoded(table: pa.Table) -> pa.Table:
    kinds = [each.with_type(EVENTS.field(each.name).type) for each in table.schema]
    return table.cast(pa.schema(kinds))


def _moment(start, minutes: int | None):
    return None if minutes is None else start + timedelta(minutes=minutes)


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


class WithPostgres(TwoStores):
    """The same, with a catalog in PostgreSQL."""

    def new_catalog(self) -> str | None:
        """A schema of its own."""
        return postgres.server().fresh()


TestWithPostgres = pytest.mark.postgres(WithPostgres.TestCase)
TestWithPostgres.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
