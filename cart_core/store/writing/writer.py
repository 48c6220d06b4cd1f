"""Group commit: appends that arrive together share one transaction, and each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from cart_core import ledger, rules, schema
from cart_core.errors import CartError, ConcurrencyError, EventIdConflict
from cart_core.events import Envelope
from cart_core.store import at_rest, requests
from cart_core.store.catalogs import catalog, users
from cart_core.store.catalogs.catalog import Catalog, Connection, State
from cart_core.store.reading.live import LiveStates
from cart_core.store.reading.reader import Reader
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
        self.catalog = catalog_
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
            return self._committed(group, trusting=True)
        except _CartExists:
            return self._committed(group, trusting=False)

    def _committed(self, group: Sequence[Append], *, trusting: bool) -> list[Answer]:
        """Decide and write a group.

        Where ``trusting``, carts that are to begin are not looked up in the journal, whose key refuses to begin one
        twice. Raises _CartExists where it did.
        """
        try:
            with self.catalog.writing() as db:
                state = catalog.state(db)
                if self._seen is None or (state.position, state.generation) != self._seen:
                    self._heads.clear()
                    self._users.clear()
                self._look_up(db, group, state, _beginning(group) if trusting else set())
                known = self.known_events(db, group)
                round_ = _Round(self, db, state, rules.to_micros(self._clock()), known)
                answers = [round_.decide(request) for request in group]
                try:
                    round_.write()
                except self.catalog.collisions as error:
                    if trusting:
                        raise _CartExists from error
                    raise
        except BaseException:
            self._seen = None
            raise
        self._seen = (round_.position, state.generation)
        self._states.follow(state, round_.position, round_.taken)
        if len(self._heads) > CACHED_HEADS or len(self._users) > CACHED_USERS:
            self._seen = None
        return answers

    def _look_up(self, db: Connection, group: Sequence[Append], state: State, beginning: Collection[bytes]) -> None:
        """Ask for the heads and pseudonyms that a group needs, all at once, as a server may be far away."""
        unknown = {each.cart_id for each in group}.difference(self._heads)
        if unknown:
            kept = self._states.heads(unknown, state)
            self._heads.update(kept)
            unknown = unknown.difference(kept)
        if unknown:
            found = self._reader.heads_of(db, list(unknown), state.generation, beginning)
            begun = [cart_id for cart_id in beginning if found.get(cart_id)]
            if begun:
                found |= self._reader.heads_of(db, begun, state.generation)
            self._heads.update(found)
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

    def known_events(self, db: Connection, group: Sequence[Append]) -> dict[str, Envelope]:
        """The stored events with ids that a group gives, by their ids."""
        given = [each for request in group if request.ids_given for each in request.event_ids]
        if not given:
            return {}
        ids = bytes.fromhex("".join(given).replace("-", ""))
        _, stored = self._reader.events(db, np.frombuffer(ids, np.uint8).reshape(-1, 16))
        return {each.event_id: each for each in schema.to_envelopes(self._reader.named(db, stored))}


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

    def __init__(self, writer: Writer, db: Connection, state: State, now_us: int, known: dict[str, Envelope]) -> None:
        self._writer = writer
        self._db = db
        self._recorded_us = max(now_us, state.recorded_us)
        self._running_hash = state.running_hash
        self._rows: list[list[Any]] = []
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
            self._writer.catalog.append(self._db, self._rows, self._recorded_us)

    def _stored(self, request: Append) -> list[Envelope]:
        found = [self._by_id[each] for each in request.event_ids if each in self._by_id]
        return sorted(found, key=lambda each: each.version)

    def _take(self, request: Append) -> None:
        user_key = self._writer.user_key(self._db, request.user_id)
        for row, (before, after) in zip(request.rows, request.texts, strict=True):
            self.position += 1
            leaf = ledger.leaf(b"%b%d%b" % (before, user_key, after))
            self._running_hash = ledger.running_hash(self._running_hash, leaf, self.position, self._recorded_us)
            at_rest.complete(row, self.position, user_key, self._recorded_us, self._running_hash)
        self._rows += request.rows
        if request.ids_given:
            self._by_id.update((each.event_id, each) for each in request.envelopes)
        self._writer.move_head(request.cart_id, request.expected_version + len(request.rows))
        self.taken.append(request)


class _CartExists(Exception):
    """A cart that was to begin in a group has begun before."""


def _beginning(group: Sequence[Append]) -> set[bytes]:
    """The carts that a group does nothing to but begin them."""
    new = {each.cart_id for each in group if not each.expected_version}
    return new.difference(each.cart_id for each in group if each.expected_version or each.ids_given)


def _first_shared(request: Append, stored: Sequence[Envelope]) -> str:
    known = {each.event_id for each in stored}
    return next(each for each in request.event_ids if each in known)
