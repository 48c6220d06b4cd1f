"""Group commit: appends that arrive together share one transaction, and each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

from cart_core import ledger, rules, schema
from cart_core.errors import CartError, ConcurrencyError, EventIdConflict
from cart_core.events import Envelope
from cart_core.store import at_rest, catalog, requests, users
from cart_core.store.catalog import Catalog, Connection, State
from cart_core.store.live import LiveStates
from cart_core.store.reader import Reader
from cart_core.store.requests import Append

CACHED_HEADS = 200_000
CACHED_USERS = 200_000
Answer = int | CartError


class Writer:
    """The one way into the journal.

    Whoever comes first commits for everybody who waits meanwhile; a refused append never harms its
    neighbours. Heads and users are remembered as long as nobody else has written.
    """

    def __init__(self, catalog_: Catalog, reader: Reader, states: LiveStates, clock: Callable[[], datetime]) -> None:
        self._catalog = catalog_
        self._reader = reader
        self._states = states
        self._clock = clock
        self._door = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._led = False
        self._seen: tuple[int, int] | None = None
        self._heads: dict[bytes, int] = {}
        self._users: dict[str, int] = {}

    def submit(self, request: Append) -> int:
        """Commit one append together with whatever else waits.

        Returns the new version. Raises ConcurrencyError, EventIdConflict, or what kept the catalog from committing.
        """
        mine = _Waiting(request)
        with self._queue_lock:
            self._queue.append(mine)
            mine.leads = not self._led
            self._led = True
        if not mine.leads:
            mine.wait()
        if mine.leads:
            self._lead()
        if isinstance(mine.answer, BaseException):
            raise mine.answer
        return int(mine.answer)

    def submit_all(self, group: Sequence[Append]) -> list[Answer]:
        """Commit many appends in one transaction; each answer is a new version or the error of that append."""
        with self._door:
            return self._commit(group)

    def _lead(self) -> None:
        """Commit for everybody who waits, then hand the lead to the first who came meanwhile."""
        with self._queue_lock:
            group, self._queue = self._queue, []
        try:
            with self._door:
                answers: Sequence[Answer | BaseException] = self._commit([each.request for each in group])
        except BaseException as error:  # noqa: BLE001 - handed to every caller that waits for this commit
            answers = [error] * len(group)
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer = answer
            waiting.wake()
        with self._queue_lock:
            self._led = bool(self._queue)
            if self._led:
                self._queue[0].leads = True
                self._queue[0].wake()

    def _commit(self, group: Sequence[Append]) -> list[Answer]:
        try:
            with self._catalog.writing() as db:
                state = catalog.state(db)
                if self._seen is None or (state.position, state.generation) != self._seen:
                    self._heads.clear()
                    self._users.clear()
                self._look_up(db, group, state)
                known = self.known_events(db, group)
                round_ = _Round(self, db, state, rules.to_micros(self._clock()), known)
                answers = [round_.decide(request) for request in group]
                round_.write()
        except BaseException:
            self._seen = None
            raise
        self._seen = (round_.position, state.generation)
        self._states.follow(state, round_.position, round_.taken)
        if len(self._heads) > CACHED_HEADS or len(self._users) > CACHED_USERS:
            self._seen = None
        return answers

    def _look_up(self, db: Connection, group: Sequence[Append], state: State) -> None:
        """Ask for the heads and pseudonyms that a group needs, all at once, as a server may be far away."""
        unknown = []
        for cart_id in {each.cart_id for each in group if each.cart_id not in self._heads}:
            known = self._states.head(cart_id, state)
            if known is None:
                unknown.append(cart_id)
            else:
                self._heads[cart_id] = known
        if unknown:
            self._heads.update(self._reader.heads_of(db, unknown, state.generation))
        strangers = list({each.user_id for each in group if each.user_id not in self._users})
        if strangers:
            self._users.update(catalog.known_users(db, strangers))

    def head(self, cart_id: bytes) -> int:
        """The version a cart of this group is at."""
        return self._heads[cart_id]

    def move_head(self, cart_id: bytes, version: int) -> None:
        """Remember a cart's new version."""
        self._heads[cart_id] = version

    def user_key(self, db: Connection, user_id: str) -> int:
        """The pseudonym of a user, remembered."""
        known = self._users.get(user_id)
        if known is None:
            known = self._users[user_id] = users.key(db, user_id)
        return known

    def known_events(self, db: Connection, group: Sequence[Append]) -> dict[bytes, Envelope]:
        """The stored events with ids that a group gives, by their ids."""
        given = [row["event_id"] for request in group if request.ids_given for row in request.rows]
        if not given:
            return {}
        _, stored = self._reader.events(db, np.frombuffer(b"".join(given), np.uint8).reshape(-1, 16))
        return {UUID(each.event_id).bytes: each for each in schema.to_envelopes(self._reader.named(db, stored))}


class _Waiting:
    """A caller in the queue: asleep until its answer is there or the lead falls to it."""

    __slots__ = ("_bell", "answer", "leads", "request")

    def __init__(self, request: Append) -> None:
        self.request = request
        self.leads = False
        self.answer: Any = None
        self._bell = threading.Lock()
        self._bell.acquire()

    def wait(self) -> None:
        self._bell.acquire()

    def wake(self) -> None:
        self._bell.release()


class _Round:
    """One writing transaction: what it has decided so far."""

    def __init__(self, writer: Writer, db: Connection, state: State, now_us: int, known: dict[bytes, Envelope]) -> None:
        self._writer = writer
        self._db = db
        self._recorded_us = max(now_us, state.recorded_us)
        self._running_hash = state.running_hash
        self._rows: list[tuple[Any, ...]] = []
        self._by_id = known
        self.position = state.position
        self.taken: list[Append] = []

    def decide(self, request: Append) -> Answer:
        """Take an append into this transaction, or say why not."""
        if request.ids_given:
            stored = self._stored(request)
            if stored:
                if requests.repeats(request, stored):
                    return stored[-1].version
                return EventIdConflict(_first_shared(request, stored))
        head = self._writer.head(request.cart_id)
        if head != request.expected_version:
            return ConcurrencyError(request.cart, request.expected_version, head)
        self._take(request)
        return request.expected_version + len(request.rows)

    def write(self) -> None:
        """Write what was taken and move the store's position."""
        if self._rows:
            catalog.insert(self._db, self._rows)
            catalog.advance(self._db, self.position, self._recorded_us, self._running_hash)

    def _stored(self, request: Append) -> list[Envelope]:
        found = [self._by_id[row["event_id"]] for row in request.rows if row["event_id"] in self._by_id]
        return sorted(found, key=lambda each: each.version)

    def _take(self, request: Append) -> None:
        user_key = self._writer.user_key(self._db, request.user_id)
        for envelope, row in zip(request.envelopes, request.rows, strict=True):
            self.position += 1
            row["position"], row["user_key"] = self.position, user_key
            leaf = ledger.leaf_hash(envelope, user_key)
            self._running_hash = ledger.running_hash(self._running_hash, leaf, self.position, self._recorded_us)
            values = at_rest.to_journal(row)
            self._rows.append((*values[:_RECORDED], self._recorded_us, *values[_RECORDED + 1 :], self._running_hash))
            if request.ids_given:
                self._by_id[row["event_id"]] = envelope
        self._writer.move_head(request.cart_id, request.expected_version + len(request.rows))
        self.taken.append(request)


_RECORDED = at_rest.JOURNAL_COLUMNS.index("recorded_at")


def _first_shared(request: Append, stored: Sequence[Envelope]) -> str:
    known = {each.event_id for each in stored}
    return next(each.event_id for each in request.envelopes if each.event_id in known)
