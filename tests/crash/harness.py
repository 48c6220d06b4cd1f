"""A shop that is killed again and again: what it was promised, and whether the store kept it."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow as pa

from cart_core import ledger, schema
from cart_core.events import Envelope
from cart_core.evidence.proofs import proofs_of
from cart_core.projector import fold
from cart_core.store import CartStore
from cart_core.store.at_rest import FORGOTTEN
from cart_core.store.catalogs import catalog
from cart_core.store.store import GRACE
from cart_core.store.upkeep.compaction import ABANDONED
from tests.cart_core.store.builders import LIFE, envelope, named
from tests.crash import child
from tests.crash.child import APPEND, COMPACT, FEW, FORGET, GROUP, IMPORT, SEAL, STEPS, Action
from tests.forking import start

PATIENCE_S = 120
LONGEST_ACTION_S = 0.02
CARTS_A_WRITER = 12
ACTIONS = 8


@dataclass
class Promise:
    """What one child was told to do, and how many of these actions it acknowledged before it was killed."""

    actions: Sequence[Action]
    done: int = 0

    @property
    def kept(self) -> Sequence[Action]:
        """The acknowledged actions."""
        return self.actions[: self.done]

    @property
    def in_flight(self) -> Sequence[Action]:
        """The action that the kill may have cut short, if there is one."""
        return self.actions[self.done : self.done + 1]


@dataclass
class Shop:
    """A store, the events that it acknowledged, and the chance that decides what comes next."""

    folder: Path
    rng: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    slowest_opening_s: float = 0.0
    events: dict[str, Envelope] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    made: int = 0

    def kill_at(self, step: str) -> None:
        """Let one child kill itself at a named step, and hold the store to what it acknowledged."""
        promise = Promise(self._ending_in(STEPS[step].kind))
        self._leave_traces(promise)
        process, told = self._start(promise, step)
        _listen(promise, told, len(promise.actions))
        process.join(PATIENCE_S)
        assert (process.exitcode, promise.done) == (-9, len(promise.actions) - 1), f"{step} was not reached"
        self.kills[step] += 1
        self._examine([promise])

    def kill_at_random(self) -> None:
        """Let several children work, kill each at any moment, and hold the store to what it acknowledged."""
        alone = self.rng.random() < 0.3
        promises = [Promise(self._writing(name, alone=alone)) for name in "ab"[: 1 if alone else 2]]
        promises += [Promise(self._keeping())] if not alone and self.rng.random() < 0.5 else []
        self.rng.shuffle(promises)
        for promise in promises:
            self._leave_traces(promise)
        running = [(promise, *self._start(promise)) for promise in promises]
        _listen(running[0][0], running[0][2], self.rng.randrange(len(running[0][0].actions)))
        for promise, process, told in running:
            told.poll(self.rng.uniform(0, LONGEST_ACTION_S))
            process.kill()
            process.join(PATIENCE_S)
            assert process.exitcode == -9
            _listen(promise, told, len(promise.actions))
            self.kills[f"{promise.in_flight[0].kind if promise.in_flight else 'done'}: any moment"] += 1
        self._examine(promises)

    def examine_the_rest(self) -> None:
        """Maintenance leaves no file that the catalog does not name, and no file that holds a forgotten user."""
        long_ago = time.time() - 2 * ABANDONED.total_seconds()
        for path in (*self.folder.glob("segments/*"), *self.folder.glob("cache/index/*")):
            os.utime(path, (long_ago, long_ago))
        with CartStore.open(self.folder) as store:
            store.compact(grace=timedelta(0))
            store.compact(grace=timedelta(0))
            assert store.verify().problems == []
            with store.catalog.reading() as db:
                live = {each.file for each in catalog.segments(db)}
        assert {each.name for each in (self.folder / "segments").iterdir()} == live
        assert {each.name for each in (self.folder / "cache" / "index").iterdir()} <= {f"{each}.index" for each in live}
        for user in self.forgotten:
            self._assert_gone(user)

    def _writing(self, writer: str, *, alone: bool) -> list[Action]:
        heads = self._heads()
        kinds = self.rng.choices((APPEND, GROUP, FEW, IMPORT, SEAL, COMPACT), (10, 3, 3, 3, 2, 1), k=ACTIONS)
        return [self._action(kind, writer, heads, grace=timedelta(0) if alone else GRACE) for kind in kinds]

    def _keeping(self) -> list[Action]:
        users = sorted({each.user_id for each in self.events.values()} - self.forgotten)
        actions = [Action(SEAL), Action(COMPACT, grace=GRACE), *(Action(FORGET, user=each) for each in users[:2])]
        return self.rng.choices(actions, k=ACTIONS)

    def _ending_in(self, kind: str) -> list[Action]:
        """A few actions, the last one of this kind and with something to do."""
        heads = self._heads()
        before = [IMPORT, APPEND, SEAL, GROUP, SEAL, COMPACT, IMPORT, APPEND, SEAL, FEW, APPEND]
        actions = [self._action(each, "a", heads) for each in before]
        if kind == FORGET:
            return [*actions, Action(kind, user=actions[1].events[0].user_id)]
        return [*actions, self._action(kind, "a", heads)]

    def _action(self, kind: str, writer: str, heads: dict[str, int], grace: timedelta = timedelta(0)) -> Action:
        if kind in (SEAL, COMPACT):
            return Action(kind, grace=grace)
        carts, fewest, most = {APPEND: (1, 1, 3), GROUP: (3, 1, 1), FEW: (2, 1, 3), IMPORT: (6, 3, 5)}[kind]
        names = self.rng.sample([f"{writer} {number}" for number in range(CARTS_A_WRITER)], carts)
        self.made += 1
        return Action(
            kind,
            tuple(self._event(name, heads) for name in names for _ in range(self.rng.randint(fewest, most))),
        )

    def _event(self, cart: str, heads: dict[str, int]) -> Envelope:
        """The next event of a cart; no user has events of two actions."""
        version = heads[named(cart)] = heads.get(named(cart), 0) + 1
        event, user = self.rng.choice(LIFE), f"shopper <{self.made}>"
        return envelope(cart, version, event, event_id=named(f"{cart} {version} {self.made}"), user=user)

    def _heads(self) -> dict[str, int]:
        heads: dict[str, int] = {}
        for each in self.events.values():
            heads[each.cart_id] = max(heads.get(each.cart_id, 0), each.version)
        return heads

    def _leave_traces(self, promise: Promise) -> None:
        """Put the users who will be forgotten into a file beside the events, where forgetting has to find them."""
        users = [each.user for each in promise.actions if each.kind == FORGET]
        if users:
            place = self.folder / "set_aside"
            place.mkdir(exist_ok=True)
            (place / f"{self.made}.jsonl").write_text("".join(f'{{"user": "{user}"}}\n' for user in users))

    def _start(self, promise: Promise, step: str | None = None) -> tuple[BaseProcess, Connection]:
        return start(child.work, self.folder, promise.actions, None if step is None else STEPS[step])

    def _examine(self, promises: Sequence[Promise]) -> None:
        began = time.perf_counter()
        with CartStore.open(self.folder, journal_rows=child.JOURNAL_ROWS) as store:
            store.position()
            self.slowest_opening_s = max(self.slowest_opening_s, time.perf_counter() - began)
            for action in (each for promise in promises for each in promise.kept):
                self._expect(action)
            self._check_events(store, promises)
            for action in (each for promise in promises for each in promise.in_flight):
                self._expect(action)
                self._repeat(store, action)
            self._check_carts(store)

    def _expect(self, action: Action) -> None:
        self.events |= {each.event_id: each for each in action.events}
        if action.kind == FORGET:
            self.forgotten.add(action.user)

    def _check_events(self, store: CartStore, promises: Sequence[Promise]) -> None:
        """Everything acknowledged is there once, as it was given; what was cut short is there whole or not at all."""
        stored = {each.event_id: each for each in schema.to_envelopes(pa.concat_tables(store.batches()))}
        cut_short = [action for promise in promises for action in promise.in_flight]
        for action in cut_short:
            written = [each for each in action.events if each.event_id in stored]
            assert written in ([], list(action.events)), "an action was written in part"
        allowed = self.events | {each.event_id: each for action in cut_short for each in action.events}
        assert self.events.keys() <= stored.keys() <= allowed.keys()
        leaving = {action.user for action in cut_short}
        for event_id, each in stored.items():
            self._check_content(each, allowed[event_id], leaving)
        positions = {event_id: each.position or 0 for event_id, each in stored.items()}
        assert sorted(positions.values()) == list(range(1, store.position() + 1))
        for promise in promises:
            in_order = [positions[each.event_id] for action in promise.kept for each in action.events]
            assert in_order == sorted(in_order)

    def _check_content(self, stored: Envelope, given: Envelope, leaving: set[str]) -> None:
        """An event is what was given; its user is named if and only if nobody asked to forget them."""
        if given.user_id in self.forgotten or (given.user_id in leaving and stored.user_id != given.user_id):
            assert stored.user_id.startswith(FORGOTTEN)
        else:
            assert stored.user_id == given.user_id
        assert replace(stored, recorded_at=None, position=None, user_id=given.user_id) == given

    def _repeat(self, store: CartStore, action: Action) -> None:
        """Ask again for what was cut short: it gives the answer that was due, and a third time writes nothing."""
        child.carry_out(store, action)
        position = store.position()
        again = child.carry_out(store, action)
        assert store.position() == position
        versions = [each.version for each in action.events]
        if action.kind == APPEND:
            assert again == versions[-1]
        elif action.kind == GROUP:
            assert again == versions
        elif action.kind in (FEW, IMPORT):
            assert (again.appended, again.already_known.all()) == (0, True)
        elif action.kind == FORGET:
            self._assert_gone(action.user)

    def _check_carts(self, store: CartStore) -> None:
        """The store verifies, holds nothing but what was given, and some carts are folded and proved."""
        verified = store.verify()
        assert (verified.problems, verified.events) == ([], len(self.events))
        carts = self._heads()
        for cart in self.rng.sample(sorted(carts), min(2, len(carts))):
            history = store.read(cart)
            assert [each.version for each in history] == list(range(1, carts[cart] + 1))
            assert store.cart(cart) == fold(history)
            for proof in proofs_of(store, [self.rng.choice(history)]).values():
                assert ledger.check_proof(proof.to_json(), verified.head) == []

    def _assert_gone(self, user: str) -> None:
        for path in self.folder.rglob("*"):
            assert not path.is_file() or user.encode() not in path.read_bytes(), f"{user} is still in {path}"


def _listen(promise: Promise, told: Connection, until: int) -> None:
    """Note what a child acknowledges until it has done so many actions, or is dead."""
    try:
        while promise.done < until and told.poll(PATIENCE_S):
            promise.done = told.recv() + 1
    except EOFError:
        told.close()
