"""P2, P6 and P8 between processes: they race, seal, compact and follow, and the figures add up."""

from __future__ import annotations

import multiprocessing
import random
from datetime import timedelta
from pathlib import Path

import pytest

from cart_core.errors import ConcurrencyError
from cart_core.store import CartStore, opening
from tests import postgres
from tests.cart_core.store.builders import MUG, life, named

SPAWN = multiprocessing.get_context("spawn")
CARTS = 12


def write(folder: Path, seed: int, rounds: int, done) -> None:
    """Append to random carts at the version they seem to have; now and then a batch."""
    rng = random.Random(seed)
    won = lost = 0
    with CartStore.open(folder, journal_rows=20) as store:
        for number in range(rounds):
            if number % 10 == 9:
                batch = [each for cart in range(6) for each in life(f"{seed} {number} {cart}", f"user {cart}")]
                won += store.append_many(batch).appended
                continue
            cart = named(f"shared {rng.randrange(CARTS)}")
            head = len(store.read(cart))
            try:
                store.append(cart, [MUG], f"user {seed}", head)
                won += 1
            except ConcurrencyError:
                lost += 1
    assert won + lost >= rounds - rounds // 10
    done.put(("wrote", won))


def maintain(folder: Path, rounds: int, done) -> None:
    """Seal and compact all the while."""
    with CartStore.open(folder) as store:
        for _ in range(rounds):
            store.seal()
            store.compact(grace=timedelta(hours=1))
    done.put(("kept", 0))


def follow(folder: Path, until: int, done) -> None:
    """Read on from the last position seen until ``until`` events were seen; each must come once, without a gap."""
    seen = 0
    with CartStore.open(folder) as store:
        while seen < until:
            fresh = sorted(store.scan(after=seen, columns=["position"]).collect()["position"].to_list())
            assert fresh == list(range(seen + 1, seen + 1 + len(fresh)))
            seen += len(fresh)
    done.put(("saw", seen))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_p8_writers_readers_and_maintenance_do_not_disturb_each_other(tmp_path: Path, kind: str):
    """Two writers, one keeper and one follower at once: no error, no gap, no double, the sums agree."""
    folder = tmp_path / "store"
    folder.mkdir()
    if kind == "postgresql":
        opening.write_settings(folder, {"catalog": postgres.server().fresh()})
    CartStore.open(folder).close()
    done = SPAWN.Queue()
    workers = [
        SPAWN.Process(target=write, args=(folder, 1, 60, done)),
        SPAWN.Process(target=write, args=(folder, 2, 60, done)),
        SPAWN.Process(target=maintain, args=(folder, 15, done)),
        SPAWN.Process(target=follow, args=(folder, 200, done)),
    ]
    for worker in workers:
        worker.start()
    told = [done.get(timeout=240) for _ in workers]
    for worker in workers:
        worker.join(timeout=30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    written = sum(count for kind, count in told if kind == "wrote")
    with CartStore.open(folder) as store:
        assert store.position() == written
        assert sorted(store.scan(columns=["position"]).collect()["position"]) == list(range(1, written + 1))
        assert store.verify().problems == []
