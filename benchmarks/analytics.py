"""The analytics' speed: episodes, a funnel, candidates and an experiment, beside the same questions in plain SQL.

Run ``python benchmarks/analytics.py [EVENTS ...] [--keep FOLDER]`` (default 1000000). A simulated shop of that size is
written first. Each stage runs in a process of its own, so that its peak memory is its own. The SQL asks for what a
person would write in DuckDB: its candidates have no reasons, its experiment no intervals and no adjustment. What both
find must add up to the same figures, or the run ends. ``--keep FOLDER`` keeps the shops, and takes up those kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from analytics_sql import (
    CANDIDATES,
    CANDIDATES_IN_SUM,
    EPISODES,
    EPISODES_IN_SUM,
    EXPERIMENT,
    EXPERIMENT_IN_SUM,
    FUNNEL,
    FUNNEL_IN_SUM,
)

from cart_core.projector.streaming import in_order
from cart_core.schema import EVENTS
from cart_core.simulator import simulate
from pipelines.derive.abandonment import COLUMNS, episodes
from pipelines.derive.columns import places_of
from pipelines.derive.experiments import CATALOG, Experiment, acted, compare, first_exposures
from pipelines.derive.experiments.metrics import COVARIATES
from pipelines.derive.experiments.tallying import Watched, metrics_of, together
from pipelines.derive.funnel import Funnel, step_rows
from pipelines.derive.funnel_lots import Lot, gathered, lot_of
from pipelines.derive.recovery import Inputs, Policy, candidates_of, of_carts, orders
from pipelines.derive.shop_funnels import exposed_attempts

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 60
END = START + timedelta(days=DAYS)
EVENTS_PER_CART = 6.6
IDLES = [timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)]
BATCH_ROWS = 1_000_000
EXPERIMENT_KEY = "checkout_button"
TEN_METRICS = tuple(CATALOG)[:10]
STEP_OF = {"ItemAdded": "add", "CheckoutStarted": "checkout", "CheckoutCompleted": "purchase"}
ORDER_COLUMNS = ("cart_id", "user_id", "version", "timestamp", "type", "order_id", "total_cents")
SPAWN = multiprocessing.get_context("spawn")

Figures = list[tuple[Any, ...]]
Stage = Callable[[Path], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Run:
    """What a stage found, added up, and what it cost: seconds, of all cores too, and peak megabytes."""

    rows: int
    figures: Figures
    seconds: float
    cpu_s: float
    megabytes: float


def main() -> None:
    """Print one table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("events", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--keep", type=Path, default=None)
    given = parser.parse_args()
    for size in given.events:
        with tempfile.TemporaryDirectory() as name:
            compared(shop(size, Path(name) if given.keep is None else given.keep / str(size)))


def shop(size: int, folder: Path) -> Path:
    """The folder with a simulated shop of that size."""
    if not (folder / "events.parquet").exists():
        simulate(folder, carts=max(1, round(size / EVENTS_PER_CART)), days=DAYS, seed=1, start=START)
    return folder


def compared(folder: Path) -> None:
    """Print every stage beside its SQL. Raises AssertionError where their figures differ."""
    events = pq.ParquetFile(folder / "events.parquet").metadata.num_rows
    print(f"\n{events:,} events")
    print(
        f"{'stage':34}{'rows':>12}{'s':>8}{'CPU s':>8}{'MB':>7} {'SQL s':>8}{'CPU s':>8}{'MB':>7}{'ratio':>8}{'CPU':>6}"
    )
    for title, ours, theirs, figures in STAGES:
        mine, sql = alone(ours, folder, figures), alone(theirs, folder, figures)
        print(
            f"{title:34}{mine.rows:>12,}{mine.seconds:>8.2f}{mine.cpu_s:>8.2f}{mine.megabytes:>7,.0f} "
            f"{sql.seconds:>8.2f}{sql.cpu_s:>8.2f}{sql.megabytes:>7,.0f}"
            f"{mine.seconds / sql.seconds:>8.2f}{mine.cpu_s / sql.cpu_s:>6.2f}",
            flush=True,
        )
        assert mine.figures == sql.figures, (title, mine.figures[:9], sql.figures[:9])


def alone(stage: Stage, folder: Path, figures: str) -> Run:
    """A stage in a process of its own."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(measured, (stage, folder, figures))


def measured(stage: Stage, folder: Path, figures: str) -> Run:
    """Run a stage here, with everything compiled and imported before the clock starts; then add up what it found."""
    episodes(EVENTS.empty_table(), END)
    began, cpu = time.perf_counter(), time.process_time()
    found = stage(folder)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    added_up = pl.SQLContext(found=found, eager=True).execute(figures)
    rows = added_up["rows"].sum()
    return Run(rows, sorted(added_up.rows(), key=str), seconds, cpu_s, megabytes)


def whole_carts(folder: Path, columns: tuple[str, ...], encoded: tuple[str, ...] = ()) -> Iterator[pa.Table]:
    """The events in tables that hold whole carts, as a store's ``batches`` gives them."""
    kept = None
    file = pq.ParquetFile(folder / "events.parquet", read_dictionary=encoded)
    for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
        table = pa.Table.from_batches([batch])
        table = table if kept is None else pa.concat_tables([kept, table])
        starts = pc.indices_nonzero(pc.equal(table["version"], 1))
        last = starts[-1].as_py()
        yield table.slice(0, last)
        kept = table.slice(last)
    if kept is not None:
        yield kept


def find_episodes(folder: Path) -> pl.DataFrame:
    """Episodes under three definitions, batch by batch, counted by definition and outcome."""

    def found(batch: pa.Table) -> pl.DataFrame:
        whole = episodes(batch, END, IDLES)
        return whole.group_by("idle_s", "outcome").agg(n=pl.len(), units=pl.col("unit_count").sum())

    return pl.concat(in_order(found, whole_carts(folder, COLUMNS)))


def find_funnel(folder: Path) -> pl.DataFrame:
    """Add, checkout, purchase by variant and by day, from the first exposure on; of events only numbers are kept."""
    columns = ["user_id", "timestamp", "type"]
    batches = pq.ParquetFile(folder / "events.parquet", read_dictionary=["user_id", "type"]).iter_batches(
        BATCH_ROWS, columns=columns
    )

    def touched(batch: pa.RecordBatch) -> Lot:
        return lot_of(pa.Table.from_batches([batch]), "user_id", "timestamp", "type", list(STEP_OF), END)

    definition, exposures = Funnel(list(STEP_OF.values())), pl.read_parquet(folder / "exposures.parquet")
    users = gathered(list(in_order(touched, batches)))
    found = exposed_attempts(users, definition, exposures, EXPERIMENT_KEY, END)
    day = pl.format("{} {}", "variant", pl.col("at_0").dt.date())
    return step_rows(found.with_columns(group=day), definition, "group")


def find_candidates(folder: Path) -> pl.DataFrame:
    """Every open episode with reasons and content, batch by batch up to the last join."""
    columns = tuple(dict.fromkeys((*COLUMNS, "product_name", "metadata", *ORDER_COLUMNS)))

    def found(batch: pa.Table) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        silent = episodes(batch, END)
        waiting = silent.filter(pl.col("outcome") == "open")["cart_id"]
        return silent, orders(batch, END), of_carts(batch, waiting)

    parts = zip(*in_order(found, whole_carts(folder, columns)), strict=True)
    given = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("contacts", "coupons", "stock")}
    whole = candidates_of(*(pl.concat(part) for part in parts), END, Inputs(**given), Policy())
    bought = pl.col("reasons").list.contains("bought_since").alias("bought")
    return whole.with_columns(bought, lines=pl.col("lines").list.len())


def find_effects(folder: Path) -> pl.DataFrame:
    """Ten metrics of one experiment, as of its end; what users did is counted batch by batch."""
    experiment = Experiment(
        key=EXPERIMENT_KEY,
        control="control",
        variants={"control": 0.5, "treatment": 0.5},
        primary=TEN_METRICS[0],
        secondary=TEN_METRICS[1:],
    )
    columns = ("cart_id", "version", "user_id", "timestamp", "type", "total_cents")
    users = first_exposures(pl.scan_parquet(folder / "exposures.parquet"), experiment.key, experiment.variants).users
    window = experiment.window
    watched = Watched.over(users, np.arange(users.height), users.height, [END], window)

    def counted_in(batch: pa.Table) -> pl.DataFrame:
        done = acted(batch)
        return watched.tallies(places_of(done.users, users["user_id"])[done.user], done)

    counted = in_order(counted_in, whole_carts(folder, columns, ("user_id", "type")))
    told = metrics_of(together(counted), users, window=window, as_of=END)
    found = compare(
        told,
        variant="variant",
        control="control",
        metrics=experiment.metrics,
        covariates=COVARIATES,
    )
    return found.filter(pl.col("adjusted") == "raw")


class Sql:
    """One query over the shop's files."""

    def __init__(self, query: str) -> None:
        self.query = query

    def __call__(self, folder: Path) -> pl.DataFrame:
        """The rows of the answer."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        for name in ("events", "exposures", "contacts"):
            connection.execute(f"CREATE VIEW {name} AS FROM '{folder / name}.parquet'")
        connection.execute(f"SET VARIABLE as_of = TIMESTAMPTZ '{END.isoformat()}'")
        return pl.DataFrame(connection.sql(self.query).to_arrow_table())


STAGES: list[tuple[str, Stage, Stage, str]] = [
    ("episodes, three definitions", find_episodes, Sql(EPISODES), EPISODES_IN_SUM),
    ("three-step funnel, day x variant", find_funnel, Sql(FUNNEL), FUNNEL_IN_SUM),
    ("candidates, all open episodes", find_candidates, Sql(CANDIDATES), CANDIDATES_IN_SUM),
    ("experiment, ten metrics", find_effects, Sql(EXPERIMENT), EXPERIMENT_IN_SUM),
]

if __name__ == "__main__":
    main()
