"""The analytics' speed: episodes, a funnel, candidates and an experiment, beside the same questions in plain SQL.

Run ``python benchmarks/analytics.py [EVENTS ...]`` (default 1000000). A simulated shop of that size is written first.
Each stage runs in a process of its own, so that its peak memory is its own. The SQL asks for what a person would write
in DuckDB: its funnel takes first touches, its candidates have no reasons, its experiment no adjustment.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from analytics_sql import CANDIDATES, EPISODES, EXPERIMENT, FUNNEL

from cart_core.projector.streaming import in_order
from cart_core.schema import EVENTS
from cart_core.simulator import simulate
from pipelines.derive.abandonment import COLUMNS, episodes
from pipelines.derive.experiments import CATALOG, Experiment, acts, compare, first_exposures
from pipelines.derive.experiments.acts import counted, metrics_of
from pipelines.derive.funnel import Funnel, attempts, step_rows
from pipelines.derive.recovery import Inputs, Policy, candidates_of, of_carts, orders
from pipelines.derive.shop_funnels import exposed_touches
from pipelines.derive.touches import user_touches
from pipelines.tables import INPUTS

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 60
END = START + timedelta(days=DAYS)
EVENTS_PER_CART = 6.6
IDLES = [timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)]
BATCH_ROWS = 1_000_000
SHARE_ROWS = 5_000_000
TEN_METRICS = tuple(CATALOG)[:10]
ORDER_COLUMNS = ("cart_id", "user_id", "version", "timestamp", "type", "order_id", "total_cents")
SPAWN = multiprocessing.get_context("spawn")

Stage = Callable[[Path], int]


def main(sizes: list[int]) -> None:
    """Print one table for each size."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            simulate(folder, carts=max(1, round(size / EVENTS_PER_CART)), days=DAYS, seed=1, start=START)
            events = pq.ParquetFile(folder / "events.parquet").metadata.num_rows
            print(f"\n{events:,} events")
            print(f"{'stage':34}{'rows':>12}{'s':>9}{'MB':>8}{'SQL rows':>12}{'SQL s':>9}{'SQL MB':>8}{'ratio':>8}")
            for title, ours, theirs in STAGES:
                rows, seconds, megabytes = alone(ours, folder)
                sql_rows, sql_seconds, sql_megabytes = alone(theirs, folder)
                print(
                    f"{title:34}{rows:>12,}{seconds:>9.2f}{megabytes:>8,.0f}"
                    f"{sql_rows:>12,}{sql_seconds:>9.2f}{sql_megabytes:>8,.0f}{seconds / sql_seconds:>8.2f}"
                )


def alone(stage: Stage, folder: Path) -> tuple[int, float, float]:
    """Rows found, seconds and peak megabytes of a stage that runs in a process of its own."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(measured, (stage, folder))


def measured(stage: Stage, folder: Path) -> tuple[int, float, float]:
    """Run a stage here, with everything compiled and imported before the clock starts."""
    episodes(EVENTS.empty_table(), END)
    began = time.perf_counter()
    rows = stage(folder)
    return rows, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def whole_carts(folder: Path, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """The events in tables that hold whole carts, as a store's ``batches`` gives them."""
    kept = None
    for batch in pq.ParquetFile(folder / "events.parquet").iter_batches(BATCH_ROWS, columns=list(columns)):
        table = pa.Table.from_batches([batch])
        table = table if kept is None else pa.concat_tables([kept, table])
        starts = pc.indices_nonzero(pc.equal(table["version"], 1))
        last = starts[-1].as_py()
        yield table.slice(0, last)
        kept = table.slice(last)
    if kept is not None:
        yield kept


def find_episodes(folder: Path) -> int:
    """Episodes under three definitions, batch by batch."""
    return sum(in_order(lambda batch: episodes(batch, END, IDLES).height, whole_carts(folder, COLUMNS)))


def find_funnel(folder: Path) -> int:
    """Add, checkout, purchase by variant and by day, from the first exposure on; a share of the shoppers at a time."""
    rows = pq.ParquetFile(folder / "events.parquet").metadata.num_rows
    definition = Funnel(["add", "checkout", "purchase"])
    shares = -(-rows // SHARE_ROWS)
    found = pl.concat(walked(folder, definition, share, shares) for share in range(shares))
    day = pl.format("{} {}", "variant", pl.col("at_0").dt.date())
    return step_rows(found.with_columns(group=day), definition, "group").height


def walked(folder: Path, definition: Funnel, share: int, shares: int) -> pl.DataFrame:
    """The attempts of one share of the shoppers."""
    mine = pl.col("user_id").hash() % shares == share
    events = pl.scan_parquet(folder / "events.parquet").filter(mine)
    exposures = pl.scan_parquet(folder / "exposures.parquet").filter(mine).collect()
    touches = exposed_touches(user_touches(events, INPUTS["views"].empty()), exposures, "checkout_button")
    return attempts(touches, definition, "variant", END)


def find_candidates(folder: Path) -> int:
    """Every open episode with reasons and content, batch by batch up to the last join."""
    columns = tuple(dict.fromkeys((*COLUMNS, "product_name", "metadata", *ORDER_COLUMNS)))

    def found(batch: pa.Table) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        silent = episodes(batch, END)
        waiting = silent.filter(pl.col("outcome") == "open")["cart_id"]
        return silent, orders(batch, END), of_carts(batch, waiting)

    parts = zip(*in_order(found, whole_carts(folder, columns)), strict=True)
    given = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("contacts", "coupons", "stock")}
    return candidates_of(*(pl.concat(part) for part in parts), END, Inputs(**given), Policy()).height


def find_effects(folder: Path) -> int:
    """Ten metrics of one experiment, as of its end; what users did is counted batch by batch."""
    experiment = Experiment(
        key="checkout_button",
        control="control",
        variants={"control": 0.5, "treatment": 0.5},
        primary=TEN_METRICS[0],
        secondary=TEN_METRICS[1:],
    )
    columns = ("cart_id", "version", "user_id", "timestamp", "type", "total_cents")
    exposures = pl.read_parquet(folder / "exposures.parquet")
    users = first_exposures(exposures, experiment.key, experiment.variants, end=END).users
    window = experiment.window
    parts = in_order(lambda batch: counted(acts(batch), users, window=window, as_of=END), whole_carts(folder, columns))
    counts = pl.concat(parts).group_by("user_id").sum()
    told = metrics_of(counts, users, window=window, as_of=END)
    return compare(told, variant="variant", control="control", metrics=experiment.metrics).height


class Sql:
    """One query over the shop's files, counted."""

    def __init__(self, query: str) -> None:
        self.query = query

    def __call__(self, folder: Path) -> int:
        """Rows of the answer."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        for name in ("events", "exposures", "contacts"):
            connection.execute(f"CREATE VIEW {name} AS FROM '{folder / name}.parquet'")
        connection.execute(f"SET VARIABLE as_of = TIMESTAMPTZ '{END.isoformat()}'")
        return connection.sql(self.query).to_arrow_table().num_rows


STAGES: list[tuple[str, Stage, Stage]] = [
    ("episodes, three definitions", find_episodes, Sql(EPISODES)),
    ("three-step funnel, day x variant", find_funnel, Sql(FUNNEL)),
    ("candidates, all open episodes", find_candidates, Sql(CANDIDATES)),
    ("experiment, ten metrics", find_effects, Sql(EXPERIMENT)),
]

if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [1_000_000])
