"""The store: appends, bulk appends, reads of one cart, and bytes, beside what people would use instead.

Run ``python benchmarks/store.py [--sizes 1000000 10000000] [--only appends|bulk|carts]``. Every figure is the median of
its repeats; every stage runs in a process of its own. Where PostgreSQL's server programs are installed, a server is
started on 127.0.0.1 for the peers that need one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
from shop_events import batches

from cart_core import schema
from cart_core.errors import ConcurrencyError
from cart_core.events import ItemAdded
from cart_core.store import CartStore

REPEATS = 5
SINGLE_APPENDS = 2_000
GROUPED_APPENDS = 12_000
CALLERS = (1, 16, 64, 256)
ONE_IN_CONFLICTS = 20
SAMPLE = 200
COLD_SAMPLE = 60
BULK_ROWS = 10_000_000
SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Print what was asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", type=int, nargs="*", default=[1_000_000, 10_000_000])
    options.add_argument("--only", choices=["appends", "bulk", "carts"])
    options.add_argument("--folder", type=Path, help="where the stores are laid (default: a temporary folder)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        if chosen.only in (None, "appends"):
            single_appends(Path(name))
            group_commits(Path(name))
        for size in chosen.sizes if chosen.only != "appends" else ():
            sealed_store(Path(name) / str(size), size, bulk=chosen.only != "carts")


def alone(stage: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a stage found in a process of its own, and its peak megabytes."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(_measured, (stage, arguments))


def _measured(stage: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    found = stage(*arguments)
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# One caller, one event a call, durable before it returns.


def single_appends(folder: Path) -> None:
    """Ours beside the recorders of the eventsourcing library and a plain PostgreSQL table, interleaved."""
    from servers import postgresql

    with postgresql() as dsn:
        ways: dict[str, tuple[Callable[..., float], Path | str]] = {
            "ours, SQLite catalog": (append_ours, folder / "single"),
            "eventsourcing, SQLite": (append_eventsourcing, folder / "recorder.sqlite"),
        }
        if dsn is not None:
            ways["ours, PostgreSQL catalog"] = (append_ours_on_postgresql, dsn)
            ways["PostgreSQL table, psycopg"] = (append_psycopg, dsn)
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(REPEATS):
            for name, (way, place) in ways.items():
                taken[name].append(alone(way, place)[0])
    ours = statistics.median(taken["ours, SQLite catalog"])
    print(f"\n{'single durable appends, 1 caller':34}{'events/s':>12}{'ours is':>10}")
    for name, times in taken.items():
        rate = statistics.median(times)
        print(f"{name:34}{rate:>12,.0f}{ours / rate:>9.1f}x")


def an_event(number: int) -> ItemAdded:
    """What is appended."""
    return ItemAdded(f"product-{number % 100}", "A fine thing", 1, 2900, "USD")


def append_ours(folder: Path) -> float:
    """Events a second through ``append``."""
    with CartStore.open(folder) as store:
        return _append_ours(store)


def append_ours_on_postgresql(dsn: str) -> float:
    """The same, the catalog on PostgreSQL."""
    catalog = f"{dsn}?schema=store_{uuid4().hex[:8]}"  # a store's segments are settled, so each repeat has its own
    with tempfile.TemporaryDirectory() as folder, CartStore.open(catalog=catalog, segments=folder) as store:
        return _append_ours(store)


def _append_ours(store: CartStore) -> float:
    return _rate(lambda number: store.append(str(uuid4()), [an_event(number)], f"user-{number % 500}", 0))


def append_eventsourcing(path: Path) -> float:
    """Events a second through the SQLite recorder that gives global positions, as ours does."""
    from eventsourcing.persistence import StoredEvent
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    recorder = SQLiteApplicationRecorder(SQLiteDatastore(str(path)))
    recorder.create_table()
    return _rate(
        lambda number: recorder.insert_events([StoredEvent(uuid4(), 1, "ItemAdded", _state(an_event(number)))])
    )


def append_psycopg(dsn: str) -> float:
    """Events a second into one table with UNIQUE (cart_id, version)."""
    import psycopg

    with psycopg.connect(dsn) as db:
        db.execute(
            "CREATE TABLE IF NOT EXISTS peer (position bigserial PRIMARY KEY, event_id uuid UNIQUE, "
            "cart_id uuid NOT NULL, version int NOT NULL, type text NOT NULL, payload jsonb NOT NULL, "
            "UNIQUE (cart_id, version))"
        )
        db.commit()

        def add(number: int) -> None:
            values = (uuid4(), uuid4(), "ItemAdded", _state(an_event(number)).decode())
            db.execute(
                "INSERT INTO peer (event_id, cart_id, version, type, payload) VALUES (%s, %s, 1, %s, %s)", values
            )
            db.commit()

        return _rate(add)


def _state(event: ItemAdded) -> bytes:
    return json.dumps({name: getattr(event, name) for name in event.__slots__ if getattr(event, name)}).encode()


def _rate(work: Callable[[int], Any]) -> float:
    for number in range(100):
        work(number)
    began = time.perf_counter()
    for number in range(SINGLE_APPENDS):
        work(number)
    return SINGLE_APPENDS / (time.perf_counter() - began)


# Many callers in one process; one call in twenty names a version that its cart has passed.


def group_commits(folder: Path) -> None:
    """Threads that call ``append``, and callers on one event loop whose appends are committed together."""
    print(f"\n{'group commit':24}{'callers':>9}{'events/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'conflicts':>11}")
    for name, way in (("threads, append", by_threads), ("event loop, append_group", by_event_loop)):
        for callers in CALLERS:
            runs = [alone(way, folder / f"{name}-{callers}-{run}", callers)[0] for run in range(REPEATS)]
            rate, p50, p99 = (statistics.median(run[place] for run in runs) for place in range(3))
            print(f"{name:24}{callers:>9}{rate:>12,.0f}{p50:>9.2f}{p99:>9.2f}{runs[0][3]:>11,}")


def _figures(began: float, times: list[float], conflicts: int) -> tuple[float, float, float, int]:
    took = time.perf_counter() - began
    low, high = np.quantile(times, [0.5, 0.99]) * 1000
    return len(times) / took, float(low), float(high), conflicts


def by_threads(folder: Path, callers: int) -> tuple[float, float, float, int]:
    """Each thread appends to carts of its own, one call after another; good answers a second, p50, p99, conflicts."""
    times: list[float] = []
    conflicts = count()
    with CartStore.open(folder) as store:

        def shop(calls: int) -> None:
            for number in range(calls):
                cart, bad = str(uuid4()), number % ONE_IN_CONFLICTS == 0
                start = time.perf_counter()
                try:
                    store.append(cart, [an_event(number)], f"user-{number % 500}", int(bad))
                    times.append(time.perf_counter() - start)
                except ConcurrencyError:
                    next(conflicts)

        threads = [threading.Thread(target=shop, args=(GROUPED_APPENDS // callers,)) for _ in range(callers)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return _figures(began, times, next(conflicts))


def by_event_loop(folder: Path, callers: int) -> tuple[float, float, float, int]:
    """Each caller is a coroutine; whatever waits is committed by one thread beside the loop."""
    with CartStore.open(folder) as store:
        return asyncio.run(_drive(store, callers))


async def _drive(store: CartStore, callers: int) -> tuple[float, float, float, int]:
    loop = asyncio.get_running_loop()
    waiting: list[tuple[Any, asyncio.Future[Any]]] = []
    bell = asyncio.Event()
    times: list[float] = []
    conflicts = count()

    async def commit() -> None:
        while True:
            await bell.wait()
            bell.clear()
            group, waiting[:] = list(waiting), []
            if group:
                answers = await loop.run_in_executor(None, store.append_group, [request for request, _ in group])
                for (_, future), answer in zip(group, answers, strict=True):
                    future.set_result(answer)

    async def shop(calls: int) -> None:
        for number in range(calls):
            start = time.perf_counter()
            bad = number % ONE_IN_CONFLICTS == 0
            request = store.prepare(str(uuid4()), [an_event(number)], f"user-{number % 500}", int(bad))
            future = loop.create_future()
            waiting.append((request, future))
            bell.set()
            if isinstance(await future, ConcurrencyError):
                next(conflicts)
            else:
                times.append(time.perf_counter() - start)

    committer = asyncio.create_task(commit())
    began = time.perf_counter()
    await asyncio.gather(*(shop(GROUPED_APPENDS // callers) for _ in range(callers)))
    figures = _figures(began, times, next(conflicts))
    committer.cancel()
    return figures


# A store of many sealed events: what it costs to add to it and to find one cart in it.


def sealed_store(folder: Path, events: int, *, bulk: bool) -> None:
    """Fill a store, then measure single carts and heads in it, and a bulk append into it."""
    print(f"\n{events:,} sealed events")
    rate, peak = alone(bulk_append, folder, events, 1)
    print(f"{'append_many into an empty store':44}{rate:>12,.0f} events/s{peak:>8,.0f} MB")
    status, _ = alone(compacted, folder)
    print(f"{'after compaction':44}{status['segments']:>12,} files{status['bytes_per_event']:>8} bytes/event")
    for name, times in alone(read_carts, folder)[0].items():
        low, high = np.quantile(times, [0.5, 0.99]) * 1000
        print(f"{name:44}{low:>12.2f} ms p50{high:>9.2f} ms p99")
    if bulk:
        rate, peak = alone(bulk_append, folder, min(events, BULK_ROWS), 2)
        print(f"{'append_many into this store, chain kept':44}{rate:>12,.0f} events/s{peak:>8,.0f} MB")


def bulk_append(folder: Path, events: int, seed: int) -> float:
    """Events a second through ``append_many``, a million a call; making them up is not counted."""
    taken = 0.0
    with CartStore.open(folder) as store:
        before = store.position()
        for table in batches(events, seed=seed):
            began = time.perf_counter()
            store.append_many(table)
            taken += time.perf_counter() - began
        return (store.position() - before) / taken


def compacted(folder: Path) -> dict[str, Any]:
    """The store after compaction."""
    with CartStore.open(folder) as store:
        store.compact()
        return store.status()


def read_carts(folder: Path) -> dict[str, list[float]]:
    """Seconds for single carts: in a new process with its pages dropped, in an open store, and the head alone."""
    rng = np.random.default_rng(7)
    with CartStore.open(folder) as store:
        ids = _some_carts(store, rng)
        warm = [_timed(lambda cart=cart: store.read(cart)) for cart in ids[:SAMPLE]]
        again = [_timed(lambda cart=cart: store.cart(cart)) for cart in ids[:SAMPLE] for _ in range(2)][1::2]
        heads = [_timed(lambda cart=cart: store.append(cart, [an_event(0)], "user-1", 10**6)) for cart in ids[SAMPLE:]]
    cold = []
    for cart in ids[:COLD_SAMPLE]:
        _drop_pages(folder)
        with CartStore.open(folder) as store:
            cold.append(_timed(lambda cart=cart, store=store: store.read(cart)))
    return {
        "one cart, newly opened, nothing in memory": cold,
        "one cart, store open": warm,
        "one cart, seen before": again,
        "head version for an append (refused)": heads,
    }


def _some_carts(store: CartStore, rng: np.random.Generator) -> list[str]:
    pieces: Iterator[pa.Table] = store.batches(["cart_id"], share=(0, 1))
    ids = schema.id_bytes(next(pieces)["cart_id"])
    del pieces
    for part in range(8):
        ids = np.concatenate([ids, schema.id_bytes(next(store.batches(["cart_id"], share=(part, 8)))["cart_id"])])
    return [str(UUID(bytes=row.tobytes())) for row in ids[rng.choice(len(ids), 2 * SAMPLE, replace=False)]]


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    with suppress(ConcurrencyError):
        work()
    return time.perf_counter() - began


def _drop_pages(folder: Path) -> None:
    """Ask the system to forget what it holds of the store's files."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


if __name__ == "__main__":
    main()
