"""Product views: no cart events, but the first step of a funnel; Parquet files in a folder beside the store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core.errors import StoreReadOnly
from cart_core.schema import UTC_MICROS

VIEWS = pa.schema(
    [
        ("view_id", pa.string()),
        ("product_id", pa.string()),
        ("user_id", pa.string()),
        ("session", pa.string()),
        ("at", UTC_MICROS),
    ]
)
"""One row for each time a product was looked at; ``session`` is null where the source named none."""

STAGED = VIEWS.append(pa.field("counts", pa.bool_()))
LIMITS: dict[str, str | int] = {"memory_limit": "512MB", "threads": 2}
LOCK = ".lock"
FRESH = """
    FROM staged ANTI JOIN (
        SELECT view_id FROM known
        WHERE "at" BETWEEN (SELECT min("at") FROM staged) AND (SELECT max("at") FROM staged)
    ) USING (view_id)
"""
IN_ORDER = 'SELECT * EXCLUDE (counts) FROM fresh ORDER BY "at", view_id'
AS_PARQUET = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"


class ViewStage:
    """Views on their way into the folder ``views``: gathered in a temporary file, then added all at once.

    Nothing is seen of them before ``commit``, and nothing is left of them without it.
    """

    def __init__(self, views: Path, temporary: Path) -> None:
        self._views = views
        self._staged = temporary / f"views-{os.getpid()}-{uuid4().hex[:8]}.tmp"
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._staged.unlink(missing_ok=True)

    def add(self, views: pa.Table) -> None:
        """Gather rows of STAGED; each id stands once in all of them."""
        if not len(views):
            return
        if self._writer is None:
            self._staged.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._staged, STAGED, compression="zstd", compression_level=1)
        self._writer.write_table(views)

    def commit(self) -> int:
        """Add the views that the folder does not hold, as one file by (at, view_id), written whole and synced.

        Returns how many of the new views have ``counts`` set. Two imports may commit at once: one waits. Raises
        StoreReadOnly where the folder cannot be written.
        """
        if self._writer is None:
            return 0
        self._close()
        try:
            self._views.mkdir(parents=True, exist_ok=True)
            with _alone(self._views):
                return self._add_new()
        except PermissionError as error:
            raise StoreReadOnly(f"views cannot be written to {self._views}: {error}") from error

    def _add_new(self) -> int:
        temporary = self._views / f".{uuid4().hex}.tmp"
        with duckdb.connect(config={**LIMITS, "temp_directory": str(self._staged.parent)}) as db:
            db.execute("SET TimeZone = 'UTC'")
            known = sorted(self._views.glob("*.parquet"))
            db.execute(f"CREATE TEMP VIEW staged AS FROM {_parquet([self._staged])}")
            db.execute(f"CREATE TEMP VIEW known AS FROM {_parquet(known or [self._staged])}")
            db.execute(f"CREATE TEMP VIEW fresh AS {FRESH if known else 'FROM staged'}")
            total, counted = db.execute("SELECT count(*), coalesce(count_if(counts), 0) FROM fresh").fetchall()[0]
            if total:
                db.execute(f"COPY ({IN_ORDER}) TO {_quoted(temporary)} {AS_PARQUET}")
        if total:
            _publish(temporary, self._views / f"{uuid4().hex}.parquet")
        return int(counted)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a process that dies lets it go."""
    with (folder / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _publish(temporary: Path, place: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.rename(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parquet(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(map(_quoted, files))}])"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
