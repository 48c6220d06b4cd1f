"""The fold of all carts on Spark: each task folds a share of the carts with the compiled fold that ``local`` runs.

Tasks open the store themselves and read its segments' files, so store and output must be reachable by the same path
from every executor, and this package installed there. Spark gives each task its share, and a new try where it fails;
no event passes through the JVM.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from cart_core import settings
from cart_core.projector import kept, streaming
from cart_core.projector.columns import ENCODED
from cart_core.projector.generations import SCHEMAS, Part, Watermark, part_name
from cart_core.projector.kept import Refreshed
from cart_core.projector.streaming import NOW, Moment, Projected, sync_folder
from cart_core.projector.tables import CartTables
from cart_core.store import CartStore

MASTER = "local[*]"
ROWS_PER_TASK = 4_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """What every task is told: the store, what counts, where to write, and how many shares there are."""

    store: str
    moment: Moment
    out: str
    shares: int
    part_positions: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a task did: where it wrote, and how much."""

    folder: str
    events: int = 0
    carts: int = 0
    lines: int = 0


def project(
    store: CartStore, out: Path, moment: Moment = NOW, *, tell: Callable[[int], None] | None = None
) -> Projected:
    """Write the folders carts.parquet and lines.parquet, a file for each share of the carts, in order of key.

    A folder appears whole, in the place of what had its name; a crash leaves the old ones and a hidden ``.*.tmp``.
    """
    moment = replace(moment, until=store.position() if moment.until is None else min(moment.until, store.position()))
    trial = out.resolve() / f".projecting.{uuid4().hex[:8]}.tmp"
    trial.mkdir(parents=True)
    try:
        job = Job(str(store.path.resolve()), moment, str(trial), shares_for(moment.until or 0))
        done = _run(_fold_share, job, range(job.shares))
        for table in SCHEMAS:
            (trial / table).mkdir()
            for number, told in enumerate(done):
                (Path(told.folder) / f"{table}.parquet").rename(trial / table / part_name(number))
            _replace(trial / table, out / f"{table}.parquet")
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    projected = Projected(*(sum(getattr(told, name) for told in done) for name in ("events", "carts", "lines")))
    if tell is not None:
        tell(projected.events)
    return projected


def refresh(store: CartStore, folder: Path, until: int | None = None) -> Refreshed:
    """Bring kept tables up to date: new events are few and folded here; a rebuild runs on Spark."""
    return kept.refresh(store, folder, until, rebuild=rebuilt_on_spark)


def rebuilt_on_spark(store: Any, generation: Path, mark: Watermark) -> int:
    """Fold all events up to a watermark into the parts of a generation: shares first, then parts out of shares."""
    trial = generation / ".shares"
    trial.mkdir()
    moment = Moment(until=mark.position)
    job = Job(str(store.path.resolve()), moment, str(trial.resolve()), shares_for(mark.position), mark.part_positions)
    done = _run(_split_share, job, range(job.shares))
    folders = [told.folder for told in done]
    numbers = {int(path.stem.removeprefix("part-")) for each in folders for path in Path(each, "carts").iterdir()}
    _run(_JoinParts(folders, str(generation.resolve())), job, sorted({0, *numbers}))
    shutil.rmtree(trial)
    return sum(told.events for told in done)


def shares_for(events: int) -> int:
    """How many tasks fold so many events: a power of two, and at least one for each core that Spark has."""
    cores = session().sparkContext.defaultParallelism
    return int(1 << (max(cores, -(-events // ROWS_PER_TASK)) - 1).bit_length())


def session() -> SparkSession:
    """The session that is there, or one on this machine's cores with this Python."""
    builder = SparkSession.builder.appName("cart project").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    if SparkSession.getActiveSession() is None and "SPARK_REMOTE" not in os.environ:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.master(os.environ.get("SPARK_MASTER", MASTER))
    return builder.getOrCreate()


def _run(task: Callable[[Job, int], Told], job: Job, numbers: Sequence[int]) -> list[Told]:
    """What a task gives for every number, in order; one Spark task each."""

    def each(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                told = task(job, numbers[place])
                yield pa.RecordBatch.from_pylist([{"place": place, **asdict(told)}])

    places = session().range(0, len(numbers), 1, len(numbers))
    rows = places.mapInArrow(each, "place long, folder string, events long, carts long, lines long").collect()
    return [Told(*row[1:]) for row in sorted(rows)]


def _fold_share(job: Job, number: int) -> Told:
    """Fold a share of the carts into two files in a folder of this try's own."""
    folder = _own_folder(job, number)
    with CartStore.open(job.store, **settings.parts(), create=False) as store:
        batches = store.batches(job.moment.columns, until=job.moment.until, encoded=ENCODED, share=(number, job.shares))
        done = streaming.project(batches, folder, job.moment)
    return Told(str(folder), done.events, done.carts, done.lines)


def _split_share(job: Job, number: int) -> Told:
    """Fold a share of the carts into the parts that they belong to, in a folder of this try's own."""
    folder = _own_folder(job, number)
    for table in SCHEMAS:
        (folder / table).mkdir(parents=True)
    mark = Watermark(job.moment.until or 0, "", 0, job.part_positions or 1)
    with CartStore.open(job.store, **settings.parts(), create=False) as store:
        share = _Share(store, (number, job.shares))
        events = kept.rebuilt_here(cast("CartStore", share), folder, mark)
    return Told(str(folder), events)


class _Share:
    """A store that shows a share of its carts."""

    def __init__(self, store: CartStore, share: tuple[int, int]) -> None:
        self._store = store
        self._share = share

    def batches(
        self, columns: Sequence[str], *, until: int | None = None, encoded: Sequence[str] = ()
    ) -> Iterator[pa.Table]:
        """The events of the share."""
        return self._store.batches(columns, until=until, encoded=encoded, share=self._share)


@dataclass(frozen=True, slots=True)
class _JoinParts:
    """Joins the pieces of a part that shares have left, in their order, which is that of the carts' keys."""

    folders: list[str]
    generation: str

    def __call__(self, _: Job, number: int) -> Told:
        part = Part(Path(self.generation), number)
        for folder in self.folders:
            files = {table: Path(folder) / table / part_name(number) for table in SCHEMAS}
            if files["carts"].exists():
                part.write(CartTables(*(pq.read_table(file, schema=SCHEMAS[table]) for table, file in files.items())))
        part.finish()
        return Told(self.generation)


def _own_folder(job: Job, number: int) -> Path:
    """A task may be tried twice, even at once: each try has a folder of its own, and only one is told of."""
    return Path(job.out) / f"share-{number:05d}-{uuid4().hex[:8]}"


def _replace(folder: Path, place: Path) -> None:
    """Put a folder in a place, moving away what stands there."""
    old = place.with_name(f".{place.name}.{uuid4().hex[:8]}.tmp")
    if place.exists() or place.is_symlink():
        place.rename(old)
    folder.rename(place)
    sync_folder(place.parent)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)
