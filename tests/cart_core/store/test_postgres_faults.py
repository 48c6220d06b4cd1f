"""P3 to P6 on PostgreSQL while connections are cut, the server crashes, and writers are killed in the middle."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from cart_core.errors import StoreUnreachable
from cart_core.store import CartStore
from cart_core.store.catalogs import catalog
from tests import postgres
from tests.cart_core.store.builders import MUG, named

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
pytestmark = [pytest.mark.postgres, pytest.mark.crash]
SPAWN = multiprocessing.get_context("spawn")
WRITERS = 4
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cart' ORDER BY random() LIMIT 1"


class Load:
    """Threads that each append to a cart of their own, repeating a call whose connection broke under the same id."""

    def __init__(self, store: CartStore, appends: int) -> None:
        self.store = store
        self.appends = appends
        self.acknowledged: list[str] = []
        self.broken = 0
        self.up = threading.Event()
        self.up.set()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self._moved = threading.Condition()
        self._running = WRITERS
        self._failed: list[BaseException] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.up.set()
        for thread in self._threads:
            thread.join()
        assert self._failed == []

    def moments(self, rng: random.Random, apart: int) -> Iterator[None]:
        """Moments in the middle of the writing, some acknowledged appends apart, until it is over."""
        while True:
            with self._moved:
                wanted = len(self.acknowledged) + rng.randrange(apart)
                self._moved.wait_for(lambda wanted=wanted: not self._running or len(self.acknowledged) >= wanted)
                if not self._running:
                    return
            yield

    def _write(self, number: int) -> None:
        try:
            for place in range(self.appends):
                self._append(named(f"writer {number}"), place, named(f"{number} {place}"))
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self._failed.append(error)
        finally:
            with self._moved:
                self._running -= 1
                self._moved.notify_all()

    def _append(self, cart: str, head: int, event_id: str) -> None:
        while True:
            try:
                assert self.store.append(cart, [MUG], "ann", head, event_ids=[event_id]) == head + 1
            except StoreUnreachable:
                self.broken += 1
                self.up.wait()
            else:
                break
        with self._moved:
            self.acknowledged.append(event_id)
            self._moved.notify_all()


def check(store: CartStore, load: Load) -> None:
    """What was acknowledged is there, once, without a gap, and proves it."""
    rows = store.scan(columns=["position", "event_id"]).collect().sort("position")
    assert rows["position"].to_list() == list(range(1, WRITERS * load.appends + 1))
    assert {each.hex() for each in rows["event_id"]} == {each.replace("-", "") for each in load.acknowledged}
    assert store.verify().problems == []


def test_connections_cut_at_random_lose_and_double_nothing(tmp_path: Path):
    """Writers and a keeper go on while the server ends a random connection again and again."""
    rng = random.Random(1)
    server = postgres.server()
    with (
        CartStore.open(catalog=server.fresh(), segments=str(tmp_path)) as store,
        psycopg.connect(server.url(), autocommit=True) as killer,
    ):
        with Load(store, 100) as load:
            for number, _ in enumerate(load.moments(rng, 12)):
                killer.execute(CUT)
                if number % 5 == 4:
                    _until_it_is_done(store.seal)
        check(store, load)
        assert load.broken > 0


@pytest.fixture
def durable_server() -> Iterator[postgres.Server]:
    """A server of its own, that waits for the disk as it does out of the box."""
    folder = postgres.programs()
    if folder is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    with postgres.Server(folder) as server:
        yield server


@pytest.mark.slow
def test_p4_a_server_that_crashes_keeps_what_was_acknowledged(durable_server: postgres.Server, tmp_path: Path):
    """Three crashes in the middle of the writing: the same store goes on each time, and nothing is lost or doubled."""
    rng = random.Random(2)
    with CartStore.open(catalog=durable_server.fresh(), segments=str(tmp_path)) as store:
        with Load(store, 100) as load:
            for number, _ in enumerate(load.moments(rng, 80)):
                if number < 3:
                    load.up.clear()
                    durable_server.stop("immediate")
                    durable_server.start()
                    load.up.set()
        check(store, load)
        assert load.broken > 0


def die_while_writing(url: str, folder: Path) -> None:
    """Take the writer's lock, write, and be killed before the commit."""
    store = CartStore.open(catalog=url, segments=str(folder))
    with store.catalog.writing() as db:
        catalog.advance(db, 99, 2**60)
        os.kill(os.getpid(), signal.SIGKILL)


def test_p3_a_writer_that_is_killed_in_the_middle_leaves_nothing_and_lets_others_in(tmp_path: Path):
    """The server undoes its transaction and frees its lock at once."""
    url = postgres.server().fresh()
    with CartStore.open(catalog=url, segments=str(tmp_path)) as store:
        store.append(named("cart"), [MUG], "ann", 0)
        child = SPAWN.Process(target=die_while_writing, args=(url, tmp_path))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert store.append(named("cart"), [MUG], "ann", 1) == 2
        assert store.position() == 2
        assert store.verify().problems == []


def _until_it_is_done(call: Callable[[], object]) -> None:
    while True:
        try:
            call()
        except StoreUnreachable:
            continue
        return
