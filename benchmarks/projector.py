"""The fold of all carts, Parquet in to Parquet out, beside DuckDB's scan, SQL, Polars, objects, and Spark.

Run ``python benchmarks/projector.py [EVENTS ...]`` (default 1000000 10000000). For each size a store is filled, then

- whole: every cart folded, beside DuckDB reading every value of the same columns, and what else could fold the same
  files; all results are compared, row by row;
- incremental: 100,000 new events over 30,000 carts on top of that history: two thirds of the carts stood before, and
  were lately touched (the usual night), or come from anywhere in the history (the worst one);
- ``--spark``: the same fold inside Spark on this machine's cores;
- once: ``cart project`` from a cold start, with and without compiled code in the cache, and ``store.cart`` of carts of
  10,000 events.

Each stage runs in a process of its own, so that its peak memory is its own; times are medians of ``--repeats`` (3).
At the end ``docs/scaling.md``'s table is printed, worked out from the largest size.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
from first import PYDANTIC_EVENTS, alone, fold_with_pydantic, import_events, scan_events, write_events
from scaling import Measured, table

from cart_core.projector.columns import NEEDED

NEW_EVENTS = 100_000
NEW_CARTS = 30_000
FRESH_CARTS = 10_000
LATELY = 80_000
LEAST_EVENTS = 200_000
LONG_CART = 10_000
SEED = 2
CARTS = (
    "cart_id::VARCHAR", "status", "version", "first_event_at", "last_event_at", "last_activity_at",
    "checkout_started_at", "order_id", "charged_total_cents", "currency", "line_count", "unit_count", "subtotal_cents",
    "discount_cents", "total_cents", "coupons::VARCHAR",
)  # fmt: skip
LINES = (
    "cart_id::VARCHAR", "product_id", "product_name", "quantity", "price_cents", "original_price_cents", "added_at",
)  # fmt: skip
repeats = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what ran, how long it took, the memory it took, and over how many events."""

    stage: str
    seconds: float
    peak_mb: float
    events: int


def main() -> None:
    """Print the tables."""
    global repeats  # noqa: PLW0603 - a setting of the script, which its child processes are told again
    parser = argparse.ArgumentParser(description="The fold of all carts, beside what else could fold them.")
    parser.add_argument("events", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--spark", action="store_true", help="the fold inside Spark, too (needs java)")
    parser.add_argument("--without-peers", action="store_true", help="leave out SQL, Polars and objects")
    given = parser.parse_args()
    if min(given.events) < LEAST_EVENTS:
        parser.error(f"new events go on with {NEW_CARTS - FRESH_CARTS:,} carts: give at least {LEAST_EVENTS:,} events")
    os.environ["PROJECTOR_REPEATS"] = str(given.repeats)
    repeats = given.repeats
    told = [size(events, peers=not given.without_peers, spark=given.spark) for events in given.events]
    cold()
    long_carts()
    print("\ndocs/scaling.md, worked out from these figures\n")
    print(table(told[-1]))


def size(events: int, *, peers: bool, spark: bool) -> Measured:
    """Everything that is measured at one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = int(alone(write_events, folder, events)[0])
        filled, _ = alone(import_events, folder, events)
        (folder / "events.parquet").unlink()
        stored = sum(path.stat().st_size for path in (folder / "store" / "segments").glob("*.parquet"))
        print(f"\n{events:,} events, {stored / events:.0f} bytes each at rest")
        whole = stage("project: Parquet in, Parquet out", project, folder, events)
        rows = [
            whole,
            stage("fold, in memory", fold, folder, events),
            stage("kernel alone, columns in memory", kernel_alone, folder, events),
        ]
        scan = stage("DuckDB max(hash(col)), same columns", scan_events, folder, events)
        rows.append(scan)
        if peers:
            rows += [stage(f"{title} fold", peer, folder, events) for title, peer in PEERS]
            alone(compare, folder, events)
            seconds, peak_mb = alone(fold_with_pydantic, folder, PYDANTIC_EVENTS)
            rows.append(Row("pydantic fold, nothing written", seconds, peak_mb, PYDANTIC_EVENTS))
        started, spark_rows = on_spark(folder, events) if spark else (0.0, [])
        show(rows + spark_rows, scan)
        new, scattered = incremental(folder, events)
    spark_s = spark_rows[0].seconds if spark_rows else 0.0
    return Measured(events, filled, whole.seconds, whole.peak_mb, stored / events, new, scattered, started, spark_s)


def stage(title: str, run: Callable[[Path, int], float], folder: Path, events: int) -> Row:
    """A stage in a process of its own."""
    seconds, peak_mb = alone(run, folder, events)
    return Row(title, seconds, peak_mb, events)


def show(rows: list[Row], scan: Row) -> None:
    """One line for each stage, with its time per event over that of the scan."""
    print(f"{'stage':38}{'s':>9}{'events/s':>14}{'peak MB':>10}{'x scan':>9}")
    base = scan.seconds / scan.events
    for row in rows:
        each = row.seconds / row.events
        print(f"{row.stage:38}{row.seconds:>9.2f}{1 / each:>14,.0f}{row.peak_mb:>10,.0f}{each / base:>9.1f}")


def taken(run: Callable[[], Any]) -> float:
    """The median of a few timed runs after one that is not timed."""
    times = []
    for _ in range(int(os.environ.get("PROJECTOR_REPEATS", "3")) + 1):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return median(times[1:])


def project(folder: Path, events: int) -> float:
    """What ``cart project`` does."""
    from cart_core.store import CartStore
    from pipelines.engines import engine

    def run() -> None:
        with CartStore.open(folder / "store") as store:
            assert engine("local").project(store, folder / "project").events == events

    return taken(run)


def fold(folder: Path, events: int) -> float:
    """The same without writing the tables."""
    import pyarrow.compute as pc

    from cart_core.projector.columns import ENCODED
    from cart_core.projector.many import fold_part
    from cart_core.projector.streaming import in_order
    from cart_core.store import CartStore

    def run() -> None:
        with CartStore.open(folder / "store") as store:
            folded = in_order(fold_part, store.batches(NEEDED, encoded=ENCODED))
            assert sum(pc.sum(tables.carts["version"]).as_py() or 0 for tables in folded) == events

    return taken(run)


def kernel_alone(folder: Path, events: int) -> float:
    """Grouping and folding of columns that are in memory: no file is read, no table made."""
    from cart_core.projector.columns import ENCODED
    from cart_core.projector.many import by_cart, tell
    from cart_core.store import CartStore

    seconds = seen = 0.0
    with CartStore.open(folder / "store") as store:
        for batch in store.batches(NEEDED, encoded=ENCODED):
            began = time.perf_counter()
            rows, carts = by_cart(batch)
            tell(rows, carts.order, carts.begins, carts.ends)
            seconds += time.perf_counter() - began
            seen += len(batch)
    assert seen == events
    return seconds


def sql_fold(folder: Path, events: int) -> float:
    """DuckDB's fold of the same files."""
    from fold_peers import with_duckdb

    return taken(lambda: with_duckdb(folder / "store" / "segments", events, folder / "duckdb"))


def polars_fold(folder: Path, events: int) -> float:
    """Polars' fold of the same files."""
    from fold_peers import with_polars

    return taken(lambda: with_polars(folder / "store" / "segments", events, folder / "polars"))


PEERS = (("DuckDB arg_max", sql_fold), ("Polars max_by", polars_fold))


def compare(folder: Path, _events: int) -> float:
    """All peers have written the rows that we have. Raises AssertionError with the first that differs."""
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for name, columns in (("carts", CARTS), ("lines", LINES)):
            ours = f"SELECT {', '.join(columns)} FROM read_parquet('{folder}/project/{name}.parquet')"
            for peer in ("duckdb", "polars"):
                ids = ", ".join(columns).replace("cart_id::VARCHAR", "hex(cart_id)") if peer == "polars" else None
                mine = ours.replace("cart_id::VARCHAR", "replace(cart_id::VARCHAR, '-', '').upper()") if ids else ours
                theirs = f"SELECT {ids or ', '.join(columns)} FROM read_parquet('{folder}/{peer}/{name}-*.parquet')"
                counts = db.execute(f"SELECT (SELECT count(*) FROM ({mine})), (SELECT count(*) FROM ({theirs}))")
                assert len(set(counts.fetchone() or ())) == 1, (peer, name)
                differing = db.execute(f"({mine}) EXCEPT ALL ({theirs}) LIMIT 1").fetchall()
                assert not differing, (peer, name, differing)
    return 0.0


def on_spark(folder: Path, events: int) -> tuple[float, list[Row]]:
    """Seconds until Spark is there, and the fold inside it."""
    seconds, peak_mb = alone(spark_start, folder, events)
    folded = stage("Spark, session there", spark_fold, folder, events)
    return seconds, [folded, Row("Spark's start", seconds, peak_mb, events)]


def spark_start(_folder: Path, _events: int) -> float:
    """A session on this machine's cores."""
    from pipelines.engines.spark import session

    began = time.perf_counter()
    session().range(1).count()
    return time.perf_counter() - began


def spark_fold(folder: Path, events: int) -> float:
    """What ``cart project --engine spark`` does once its session is there."""
    from cart_core.store import CartStore
    from pipelines.engines import engine

    spark_start(folder, events)

    def run() -> None:
        with CartStore.open(folder / "store") as store:
            assert engine("spark").project(store, folder / "spark").events == events

    return taken(run)


def incremental(folder: Path, events: int) -> list[float]:
    """Seconds of a refresh after new events of carts lately touched, and of carts from anywhere; prints both."""
    rebuilt, peak_mb = alone(rebuild_kept, folder, events)
    print(f"kept tables from nothing: {rebuilt:.2f} s, {peak_mb:,.0f} MB")
    told = []
    for of, append in (("carts lately touched", append_recent), ("carts from anywhere", append_anywhere)):
        alone(append, folder, events)
        seconds, peak_mb = alone(refresh_kept, folder, events)
        print(
            f"refresh: {NEW_EVENTS:,} new events over {NEW_CARTS:,} carts on {events:,}, {of}: "
            f"{seconds:.2f} s, {peak_mb:,.0f} MB, as cart refresh and Dagster do it"
        )
        told.append(seconds)
    return told


def rebuild_kept(folder: Path, events: int) -> float:
    """Kept tables of the whole history."""
    from cart_core.projector import kept
    from cart_core.store import CartStore

    with CartStore.open(folder / "store") as store:
        began = time.perf_counter()
        assert kept.refresh(store, folder / "kept").events == events
        return time.perf_counter() - began


def append_recent(folder: Path, _events: int) -> float:
    """New events of new carts and of some of those that were touched last."""
    return append_new(folder, LATELY)


def append_anywhere(folder: Path, _events: int) -> float:
    """New events of new carts and of carts from anywhere in the history."""
    return append_new(folder, None)


def append_new(folder: Path, among: int | None) -> float:
    """New events: a third of their carts are new, the others of the ``among`` carts touched last, or of all."""
    import numpy as np
    import polars as pl
    import shop_events

    from cart_core.projector import kept
    from cart_core.store import CartStore

    rng = np.random.default_rng([SEED, among or 0])
    standing = kept.current(folder / "kept")
    assert standing is not None
    carts = pl.read_parquet(list(standing.carts), columns=["cart_id", "version", "last_event_at"])
    carts = carts.sort("last_event_at", descending=True)
    known = carts[rng.choice(min(among or carts.height, carts.height), NEW_CARTS - FRESH_CARTS, replace=False)]
    ids = np.frombuffer(b"".join(known["cart_id"].to_list()) + rng.bytes(16 * FRESH_CARTS), np.uint8).reshape(-1, 16)
    heads = np.r_[known["version"].to_numpy(), np.zeros(FRESH_CARTS, np.int64)]
    counts = np.full(NEW_CARTS, NEW_EVENTS // NEW_CARTS)
    counts[: NEW_EVENTS - counts.sum()] += 1
    owner = np.repeat(np.arange(NEW_CARTS), counts)
    nth = np.arange(NEW_EVENTS) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    kind = rng.choice(9, NEW_EVENTS, p=list(shop_events.LATER_TYPES.values()))
    kind[heads[owner] + nth == 1] = 0
    times = int(carts["last_event_at"].dt.timestamp("us")[0]) + np.arange(NEW_EVENTS)
    users = rng.integers(0, shop_events.USERS, NEW_CARTS)
    table = shop_events.more(rng, ids[owner], heads[owner] + nth, users[owner], times, kind)
    with CartStore.open(folder / "store") as store:
        assert store.append_many(table).appended == NEW_EVENTS
    return 0.0


def refresh_kept(folder: Path, _events: int) -> float:
    """The refresh after them, once: a second one would find nothing new."""
    from cart_core.projector import kept
    from cart_core.store import CartStore

    with CartStore.open(folder / "store") as store:
        began = time.perf_counter()
        done = kept.refresh(store, folder / "kept")
        seconds = time.perf_counter() - began
        assert (done.events, done.rebuilt) == (NEW_EVENTS, False)
    return seconds


def cold() -> None:
    """``cart project`` of a small store, each time in a new process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = int(alone(write_events, folder, 10_000)[0])
        alone(import_events, folder, events)
        cache = folder / "numba"
        print(f"\ncart project of {events:,} events, a new process each time")
        for title in ("nothing compiled yet", "compiled code in the cache"):
            seconds = command(folder, {**os.environ, "NUMBA_CACHE_DIR": str(cache)})
            print(f"{title:38}{seconds:>9.2f}")
        shutil.rmtree(cache)


def long_carts() -> None:
    """``store.cart`` of carts of 10,000 events: in a store just opened, again, and after one more event."""
    with tempfile.TemporaryDirectory() as name:
        for title, later in (("5,000 lines, each changed once", lines_changed), ("a coupon on and off", coupon_on_off)):
            seconds = read_long_cart(Path(name) / later.__name__, [later(number) for number in range(LONG_CART)])
            told = ", ".join(f"{what} {1_000 * each:.2f} ms" for what, each in seconds.items())
            print(f"store.cart of {LONG_CART:,} events, {title}: {told}")


def lines_changed(number: int) -> Any:
    """The first half of the events adds lines, the second half changes them."""
    from cart_core.events import ItemAdded, QuantityChanged

    product = f"product-{number % (LONG_CART // 2)}"
    if number < LONG_CART // 2:
        return ItemAdded(product, f"The {product}", 1, 100 + number, "USD")
    return QuantityChanged(product, 1, 2)


def coupon_on_off(number: int) -> Any:
    """Every other event takes the coupon off that the one before put on."""
    from cart_core.events import CouponApplied, CouponRemoved

    return CouponRemoved("TEN") if number % 2 else CouponApplied("TEN", "percentage", 10)


def read_long_cart(folder: Path, events: list[Any]) -> dict[str, float]:
    """Medians of seconds."""
    from cart_core.store import CartStore

    cart = "3f0a4c1e-7b52-4d7e-9a61-0c5d2e8f1b34"
    with CartStore.open(folder) as store:
        store.append(cart, events, "u1", 0)
        store.seal()
    with CartStore.open(folder) as store:
        began = time.perf_counter()
        version = store.cart(cart).version
        first = time.perf_counter() - began
        again = taken(lambda: store.cart(cart))
        times = []
        for more in range(repeats):
            store.append(cart, [events[0]], "u1", version + more)
            began = time.perf_counter()
            assert store.cart(cart).version == version + more + 1
            times.append(time.perf_counter() - began)
    return {"first": first, "again": again, "after one more event": median(times)}


def command(folder: Path, environment: dict[str, str]) -> float:
    """Seconds of one command."""
    run = "from cart_core.cli import main; main()"
    words = [sys.executable, "-c", run, "--store", str(folder / "store"), "project", "--out", str(folder / "out")]
    began = time.perf_counter()
    subprocess.run(words, env=environment, check=True, capture_output=True)  # noqa: S603 - our own command
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
