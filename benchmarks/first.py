"""The main job's speed: import, seal, and the fold of all carts, beside what people would use instead.

Run ``python benchmarks/first.py [EVENTS ...]`` (default 1000000 10000000). Each stage runs in a process of its own, so
that its peak memory is its own; a stage's time is the median of its repeats.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from shop_events import batches

from cart_core.projector.columns import NEEDED

REPEATS = 3
PYDANTIC_EVENTS = 100_000
SPAWN = multiprocessing.get_context("spawn")


def main(sizes: list[int]) -> None:
    """Print one table for each size."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            events = int(alone(write_events, folder, size)[0])
            imported, import_mb = alone(import_events, folder, events)
            sealed, seal_mb = alone(seal_events, folder, min(events, 200_000))
            folded, fold_mb = alone(fold_events, folder, events)
            scanned, _ = alone(scan_events, folder, events)
            naive, _ = alone(fold_with_pydantic, folder, PYDANTIC_EVENTS)
        print(f"\n{events:,} events")
        print(f"{'stage':34}{'events/s':>14}{'peak MB':>10}")
        print(f"{'import (parquet, checked, hashed)':34}{events / imported:>14,.0f}{import_mb:>10,.0f}")
        print(f"{'seal (journal to segment, hashed)':34}{min(events, 200_000) / sealed:>14,.0f}{seal_mb:>10,.0f}")
        print(f"{'fold of all carts':34}{events / folded:>14,.0f}{fold_mb:>10,.0f}")
        print(f"{'DuckDB max(hash(col)), same columns':34}{events / scanned:>13,.0f}")
        print(f"{'fold with pydantic objects':34}{PYDANTIC_EVENTS / naive:>14,.0f}")
        print(f"fold is {folded / scanned:.1f} times the scan's time (aim: at most 5)")
        print(
            f"fold is {(events / folded) / (PYDANTIC_EVENTS / naive):.0f} times as fast as pydantic (aim: at least 50)"
        )


def alone(stage: Callable[[Path, int], float], folder: Path, events: int) -> tuple[float, float]:
    """Seconds and peak megabytes of a stage that runs in a process of its own."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(measured, (stage, folder, events))


def measured(stage: Callable[[Path, int], float], folder: Path, events: int) -> tuple[float, float]:
    """Run a stage here."""
    seconds = stage(folder, events)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_events(folder: Path, events: int) -> float:
    """Write the events to import as one Parquet file; their count."""
    writer, rows = None, 0
    for table in batches(events):
        rows += len(table)
        writer = writer or pq.ParquetWriter(folder / "events.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return float(rows)


def import_events(folder: Path, events: int) -> float:
    """What ``cart import parquet`` does."""
    from cart_core.ingest import import_files
    from cart_core.store import CartStore

    start = time.perf_counter()
    with CartStore.open(folder / "store") as store:
        report = import_files(store, "parquet", [str(folder / "events.parquet")])
    assert report.to_json()["events"] == events
    return time.perf_counter() - start


def seal_events(folder: Path, events: int) -> float:
    """What ``cart seal`` does with a full journal."""
    from cart_core.store import CartStore

    with CartStore.open(folder / "journal", journal_rows=10**9) as store:
        rows = store.append_many(next(iter(batches(events)))).appended
        start = time.perf_counter()
        assert store.seal().rows == rows
        return (time.perf_counter() - start) / rows * events


def fold_events(folder: Path, events: int) -> float:
    """Every cart of the store, as ``cart project`` folds them, without writing the tables."""
    from cart_core.projector.columns import ENCODED
    from cart_core.projector.many import fold_part
    from cart_core.projector.streaming import in_order
    from cart_core.store import CartStore

    def run() -> None:
        with CartStore.open(folder / "store") as store:
            batches = store.batches(NEEDED, encoded=ENCODED)
            folded = in_order(fold_part, batches)
            assert sum(pa.compute.sum(tables.carts["version"]).as_py() or 0 for tables in folded) == events

    run()
    return median(run)


def scan_events(folder: Path, events: int) -> float:
    """DuckDB reads every value of the same columns."""
    import duckdb

    columns = ", ".join(f"max(hash({'user_key' if name == 'user_id' else name}))" for name in NEEDED)
    files = str(folder / "store" / "segments" / "*.parquet")

    def run() -> None:
        with duckdb.connect() as db:
            db.execute("SET enable_progress_bar = false")
            told = db.execute(f"SELECT count(*), {columns} FROM read_parquet('{files}')").fetchall()
            assert told[0][0] == events

    run()
    return median(run)


def fold_with_pydantic(folder: Path, events: int) -> float:
    """A model for each event type, an envelope around it, a model for the cart: what one writes first.

    The rows are dictionaries already; totals, statuses and coupons are kept as the projector keeps them.
    """
    from naive import fold

    from cart_core.schema import to_documents

    rows = [row for table in batches(events) for row in to_documents(table)][:events]
    return median(lambda: fold(rows)) / len(rows) * events


def median(run: Callable[[], Any]) -> float:
    """The median of a few timed runs, in seconds."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1_000_000, 10_000_000])
