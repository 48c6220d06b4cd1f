"""The fold of a whole store into two files, a piece at a time, so that memory does not grow with history."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cart_core import schema
from cart_core.projector.columns import NEEDED
from cart_core.projector.many import fold_part
from cart_core.projector.tables import CARTS, LINES, CartTables

Item = TypeVar("Item")
Result = TypeVar("Result")

ROW_GROUP_ROWS = 131_072
FEW_VALUES = [
    "status",
    "version",
    "currency",
    "line_count",
    "unit_count",
    "coupons.list.element.code",
    "coupons.list.element.discount_type",
    "coupons.list.element.discount_value",
    "product_id",
    "product_name",
    "quantity",
]
TIMES = [field.name for table in (CARTS, LINES) for field in table if field.type == schema.UTC_MICROS]


@dataclass(frozen=True, slots=True)
class Moment:
    """Which events count: those that happened by ``at``, were recorded by ``known_at``, and stand up to ``until``.

    All three are inclusive; None is no bound. An event that was never recorded is not known at any time.
    """

    at: datetime | None = None
    known_at: datetime | None = None
    until: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of EVENTS that choosing and folding need."""
        chosen_by = {"recorded_at": self.known_at, "position": self.until}
        return (*NEEDED, *(name for name, bound in chosen_by.items() if bound is not None))

    def choose(self, events: pa.Table) -> pa.Table:
        """The events of a table that count, in its order."""
        bounds = {"timestamp": self.at, "recorded_at": self.known_at, "position": self.until}
        for name, bound in bounds.items():
            if bound is not None:
                within = pc.less_equal(events[name], pa.scalar(bound, schema.EVENTS.field(name).type))
                events = events.filter(within)
        return events


NOW = Moment()


@dataclass(frozen=True, slots=True)
class Projected:
    """The events that a projection folded, and the rows that it wrote."""

    events: int
    carts: int
    lines: int


def project(
    batches: Iterable[pa.Table], out: Path, moment: Moment = NOW, *, tell: Callable[[int], None] | None = None
) -> Projected:
    """Write every cart of a store to ``out``/carts.parquet and its lines to ``out``/lines.parquet.

    ``batches`` are tables with at least ``moment.columns``, each with all events of its carts, versions ascending
    inside a cart, such as ``store.batches(moment.columns, encoded=ENCODED)`` gives; a few are held in memory at a
    time. ``tell`` is called with the count of events read after each. Both files are complete and synced before the
    first takes its name; a crash leaves the old ones, and at most a hidden ``.*.tmp``. The rows are those of
    ``fold_table``.

    Raises OutOfOrder where versions of a cart do not ascend; then nothing is written.
    """
    out.mkdir(parents=True, exist_ok=True)
    read = events = 0
    with TableFile(out / "carts.parquet", CARTS) as carts, TableFile(out / "lines.parquet", LINES) as lines:
        for seen, chosen, tables in in_order(lambda batch: _folded(batch, moment), batches):
            carts.write(tables.carts)
            lines.write(tables.lines)
            read, events = read + seen, events + chosen
            if tell is not None:
                tell(read)
        carts.finish()
        lines.finish()
        carts.publish()
        lines.publish()
    sync_folder(out)
    return Projected(events, carts.rows, lines.rows)


def _folded(batch: pa.Table, moment: Moment) -> tuple[int, int, CartTables]:
    chosen = moment.choose(batch)
    return len(batch), len(chosen), fold_part(chosen)


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``function`` of every item, in order, on all cores, with no more items in hand than cores and one."""
    workers = os.cpu_count() or 1
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class TableFile:
    """One Parquet file in the making: written beside its place, then synced, then given its name."""

    def __init__(self, path: Path, columns: pa.Schema, row_group_rows: int = ROW_GROUP_ROWS) -> None:
        self.path = path
        self.rows = 0
        self._row_group_rows = row_group_rows
        self._waiting: list[pa.Table] = []
        self._temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
        self._writer = pq.ParquetWriter(
            self._temporary,
            columns,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in FEW_VALUES if name.partition(".")[0] in columns.names],
            column_encoding={name: "DELTA_BINARY_PACKED" for name in TIMES if name in columns.names},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, table: pa.Table) -> None:
        """Add rows. Row groups are of one size, however many rows are added at a time."""
        self.rows += len(table)
        self._waiting.append(table)
        if sum(len(each) for each in self._waiting) < self._row_group_rows:
            return
        whole = pa.concat_tables(self._waiting)
        size = self._row_group_rows
        full = len(whole) // size * size
        for start in range(0, full, size):
            self._write_group(whole.slice(start, size))
        self._waiting = [whole.slice(full)]

    def finish(self) -> None:
        """Complete the file and sync it to disk."""
        if self._waiting:
            self._write_group(pa.concat_tables(self._waiting))
        self._writer.close()
        with self._temporary.open("rb") as written:
            os.fsync(written.fileno())

    def publish(self) -> None:
        """Give the file its name, in one step, replacing the one that had it; durable once its folder is synced."""
        os.replace(self._temporary, self.path)

    def _write_group(self, rows: pa.Table) -> None:
        """In one piece, so that the file's bytes follow from its rows and not from how they came."""
        if len(rows):
            self._writer.write_table(rows.combine_chunks(), row_group_size=len(rows))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
