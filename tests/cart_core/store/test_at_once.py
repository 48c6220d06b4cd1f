"""P2, P6, P7 and P8 where several processes begin at the same moment, each with a clock of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from cart_core.errors import ConcurrencyError
from cart_core.store import CartStore, opening
from tests import postgres
from tests.cart_core.store.builders import MUG, life, named, versions
from tests.forking import FORKING, finish, start

PROCESSES = 4
APPENDS = 5
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a store that is not there yet, its catalog in SQLite or in PostgreSQL."""
    if request.param == "postgresql":
        opening.write_settings(tmp_path, {"catalog": postgres.server().fresh()})
    return tmp_path


def open_and_write(folder: Path, number: int, together: Barrier, told: Connection) -> None:
    """Open the store at the moment when all others do, and write a cart of one's own and one that all fight for."""
    together.wait()
    with CartStore.open(folder, journal_rows=3) as store:
        store.append_many(life(f"own {number}", f"user {number}"))
        try:
            told.send(store.append(named("fought for"), [MUG], f"user {number}", 0))
        except ConcurrencyError as error:
            told.send(error.actual)


def test_p2_p8_processes_that_open_a_new_store_at_once_make_one(folder: Path):
    """None fails, one wins the cart that all fight for, and every user has a number of their own."""
    together = FORKING.Barrier(PROCESSES)
    children = [start(open_and_write, folder, number, together) for number in range(PROCESSES)]
    assert [finish(*each) for each in children] == [[1]] * PROCESSES
    with CartStore.open(folder) as store:
        assert (store.position(), store.verify().problems) == (PROCESSES * 5 + 1, [])
        assert all(named(f"own {number}") in store.carts_of(f"user {number}") for number in range(PROCESSES))
        assert {each.user_id for number in range(PROCESSES) for each in store.read(named(f"own {number}"))} == {
            f"user {number}" for number in range(PROCESSES)
        }


class Erring:
    """A clock that is wrong by some hours and steps backwards or forwards at each look."""

    def __init__(self, wrong_h: int, step_s: int) -> None:
        self.now = NOON + timedelta(hours=wrong_h)
        self.step = timedelta(seconds=step_s)

    def __call__(self) -> datetime:
        """Another second, in its own direction."""
        self.now += self.step
        return self.now


def write_by_a_wrong_clock(folder: Path, number: int, together: Barrier, told: Connection) -> None:
    """Append to one's own cart and to a common one, import and seal, by a clock that is wrong."""
    with CartStore.open(folder, clock=Erring(wrong_h=24 * (number - 2), step_s=(-7, 1, 11)[number % 3])) as store:
        together.wait()
        for version in range(APPENDS):
            store.append(named(f"own {number}"), [MUG], "ann", version)
            try:
                store.append(named("common"), [MUG], "ann", len(store.read(named("common"))))
            except ConcurrencyError:
                told.send("conflict")
        store.append_many(life(f"imported {number}"))
        store.seal()


def test_p6_p7_clocks_that_disagree_and_go_backwards_leave_one_order(folder: Path):
    """Recording ascends with positions, and what was known before the last moment is a prefix of history for ever."""
    with CartStore.open(folder, clock=Erring(-1000, 1)) as store:
        store.append(named("early"), [MUG], "ann", 0)
    together = FORKING.Barrier(PROCESSES)
    children = [start(write_by_a_wrong_clock, folder, number, together) for number in range(PROCESSES)]
    conflicts = sum(len(finish(*each)) for each in children)
    with CartStore.open(folder, clock=Erring(-1000, -1)) as store:
        rows = store.scan().collect().sort("position")
        assert len(rows) == 1 + PROCESSES * (2 * APPENDS + 5) - conflicts
        assert rows["position"].to_list() == list(range(1, len(rows) + 1))
        assert rows["recorded_at"].is_sorted()
        moment = rows["recorded_at"].filter(rows["recorded_at"] < rows["recorded_at"][-1]).max()
        known = store.scan(known_at=moment).collect()["position"].sort().to_list()
        assert known == list(range(1, len(known) + 1))
        common = versions(store.read(named("common")))
        assert common == list(range(1, len(common) + 1))
        store.append(named("late"), [MUG], "ann", 0)
        assert store.read(named("late"))[0].recorded_at == rows["recorded_at"][-1]
        assert store.scan(known_at=moment).collect()["position"].sort().to_list() == known
        assert store.verify().problems == []
