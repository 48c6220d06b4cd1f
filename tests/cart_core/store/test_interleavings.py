"""P2, P6 and P8 between processes: four write, four follow, one seals and compacts, all at once and at random.

``INTERLEAVINGS`` says how many events are written, ``INTERLEAVINGS_SEED`` from which seed the chances are drawn: a long
run can be made of short ones.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from cart_core.errors import ConcurrencyError
from cart_core.projector import fold
from cart_core.store import CartStore, opening
from tests import postgres
from tests.cart_core.store.builders import LIFE, MUG, life, named, versions
from tests.forking import finish, start

EVENTS = int(os.environ.get("INTERLEAVINGS", "1500"))
SEED = int(os.environ.get("INTERLEAVINGS_SEED", "0"))
WRITERS = FOLLOWERS = 4
SHARED_CARTS = 6
JOURNAL_ROWS = 50
SEEN = ["position", "event_id"]


def write(folder: Path, seed: int, until: int, told: Connection) -> None:
    """Append to carts that others write to as well, and import carts of one's own, until the store has its events."""
    rng, tally, imported = random.Random(seed), Counter[str](), 0
    with CartStore.open(folder, journal_rows=JOURNAL_ROWS) as store:
        while store.position() < until:
            cart, user = named(f"shared {rng.randrange(SHARED_CARTS)}"), f"user {seed}"
            kind = rng.choice(("append", "append", "append", "group", "few", "many"))
            if kind in ("few", "many"):
                carts = 4 if kind == "few" else 30
                batch = [each for number in range(carts) for each in life(f"{seed} {imported + number}", user)]
                imported += carts
                rng.shuffle(batch)
                tally["written"] += store.append_many(batch).appended
                continue
            head = len(store.read(cart))
            events = rng.choices(LIFE, k=rng.randint(1, 3))
            try:
                if kind == "append":
                    store.append(cart, events, user, head)
                    tally["written"] += len(events)
                else:
                    group = [store.prepare(cart, [MUG], user, head + ahead) for ahead in (0, 1, 0)]
                    answers = store.append_group(group)
                    tally["written"] += sum(isinstance(each, int) for each in answers)
                    tally["conflicts"] += sum(isinstance(each, ConcurrencyError) for each in answers)
            except ConcurrencyError:
                tally["conflicts"] += 1
    told.send(tally)


def keep(folder: Path, seed: int, until: int, told: Connection) -> None:
    """Seal and compact at random all the while."""
    rng, tally = random.Random(seed), Counter[str]()
    with CartStore.open(folder, journal_rows=JOURNAL_ROWS) as store:
        while store.position() < until:
            if rng.random() < 0.8:
                tally["sealed"] += store.seal().rows
            else:
                tally["rewritten"] += store.compact().before
    told.send(tally)


def follow(folder: Path, seed: int, until: int, told: Connection) -> None:
    """Read on from the last position seen, in one way or another; no event may be skipped or come twice."""
    rng, seen, read, digest = random.Random(seed), 0, 0, hashlib.sha256()
    with CartStore.open(folder, journal_rows=JOURNAL_ROWS) as store:
        while seen < until:
            end = None if rng.random() < 0.7 else store.position()
            if rng.random() < 0.5:
                fresh = store.scan(after=seen, until=end, columns=SEEN).collect()
            else:
                fresh = pl.DataFrame(pl.from_arrow(pa.concat_tables(store.batches(SEEN, after=seen, until=end))))
            seen = _note(digest, fresh, seen)
            read += 1
            cart = store.read(named(f"shared {rng.randrange(SHARED_CARTS)}"))
            assert versions(cart) == list(range(1, len(cart) + 1))
    told.send((seen, digest.hexdigest(), read))


def _note(digest: hashlib._Hash, fresh: pl.DataFrame, seen: int) -> int:
    """Add events to a digest by position; they must go on from ``seen`` without a gap. The last position."""
    fresh = fresh.sort("position")
    last = seen + len(fresh)
    assert fresh["position"].to_list() == list(range(seen + 1, last + 1))
    for event_id in fresh["event_id"]:
        digest.update(event_id)
    return last


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_p6_p8_writers_followers_and_a_keeper_do_not_disturb_each_other(tmp_path: Path, kind: str):
    """No error surfaces, every follower sees every event once in one order, and the figures add up."""
    folder = tmp_path / "store"
    folder.mkdir()
    if kind == "postgresql":
        opening.write_settings(folder, {"catalog": postgres.server().fresh()})
    CartStore.open(folder).close()
    writers = [start(write, folder, SEED + seed, EVENTS) for seed in range(WRITERS)]
    followers = [start(follow, folder, SEED + seed, EVENTS) for seed in range(FOLLOWERS)]
    keeper = start(keep, folder, SEED, EVENTS)
    tallies = [finish(*each)[0] for each in writers]
    kept = finish(*keeper)[0]
    ends = [finish(*each)[0] for each in followers]
    with CartStore.open(folder, journal_rows=JOURNAL_ROWS) as store:
        position = store.position()
        assert position == sum(each["written"] for each in tallies)
        order = store.scan(columns=SEEN).collect().sort("position")
        for seen, told, _ in ends:
            digest = hashlib.sha256()
            _note(digest, order.head(seen), 0)
            assert (told, seen >= EVENTS) == (digest.hexdigest(), True)
        for number in range(SHARED_CARTS):
            history = store.read(named(f"shared {number}"))
            assert versions(history) == list(range(1, len(history) + 1))
            assert store.cart(named(f"shared {number}")) == fold(history)
        assert store.verify().problems == []
    if "INTERLEAVINGS" in os.environ:
        print(f"\n{position} events, {tallies}, {kept}, reads {[each[2] for each in ends]}")  # noqa: T201
