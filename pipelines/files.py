"""Derived tables on disk: each is one Parquet file, written whole or not at all, and checked before it is written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import rules
from cart_core.errors import StoreNotFound
from cart_core.projector import kept
from pipelines.tables import INPUTS, TABLES, Table, TableError, conformed

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | Any

ROW_GROUP_ROWS = 262_144
COMPRESSED: dict[str, Any] = {"compression": "zstd", "compression_level": 1}
STRAY_AGE_S = 86_400
KEPT = ("carts", "lines")
CHECKS = "checks"


def write_table(folder: Path, name: str, frame: Frame, notes: Mapping[str, str] | None = None) -> Path:
    """Replace ``<folder>/<name>.parquet`` by the frame in one step, and return its path.

    The frame is checked against ``TABLES[name]`` first; ``notes`` (such as as_of) are kept in the file. It is
    written beside the old file, synced, and renamed over it, so a reader sees the old table or the new one. A crash
    leaves the old table, and at most a hidden ``.<name>.*.tmp`` that a write a day later removes.
    Raises TableError where the frame breaks the contract; then nothing is written.
    """
    return write_tables(folder, {name: frame}, notes)[0]


def write_tables(folder: Path, frames: Mapping[str, Frame], notes: Mapping[str, str] | None = None) -> list[Path]:
    """Replace several tables: all are checked, written and synced before the first is switched.

    Raises as ``write_table``; then none is switched. A crash between two switches leaves the first ones new.
    """
    tables = {name: _arrow(table_named(name), frame) for name, frame in frames.items()}
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    try:
        for name, table in tables.items():
            written[name] = _write_beside(folder, name, table, notes or {})
        for name, temporary in written.items():
            temporary.replace(path_of(folder, name))
        _sync(folder)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    return [path_of(folder, name) for name in frames]


def read_table(folder: Path, name: str) -> pl.DataFrame:
    """A derived table as it stands. Raises StoreNotFound where it was never written."""
    return pl.read_parquet(_existing(folder, name))


def scan_table(folder: Path, name: str) -> pl.LazyFrame:
    """A derived table, read only as far as a query needs. Raises StoreNotFound where it was never written."""
    return pl.scan_parquet(_existing(folder, name))


def read_input(folder: Path, name: str) -> pl.DataFrame:
    """A table that the shop hands in, checked; without rows where there is no such file.

    Columns that ``INPUTS[name]`` does not know are left out. Raises TableError where one of its own is missing or
    of another type, or a row breaks a rule.
    """
    table = INPUTS[name]
    path = path_of(folder, name)
    if not path.exists():
        return table.empty()
    frame = pl.read_parquet(path)
    return conformed(table, frame.select(column for column in frame.columns if column in table.schema))


def read_notes(folder: Path, name: str) -> dict[str, str]:
    """The notes that a table was written with; of carts and lines, which are kept in parts, the position alone.

    Raises StoreNotFound where the table was never written.
    """
    standing = kept.current(folder) if name in KEPT else None
    if standing is not None:
        return {"position": str(standing.position)}
    return notes_of(_existing(folder, name))


def notes_of(path: Path) -> dict[str, str]:
    """The notes that a Parquet file was written with. Raises StoreNotFound where there is no such file."""
    try:
        stored = pq.read_metadata(path).metadata or {}
    except FileNotFoundError as error:
        raise StoreNotFound(f"there is no file {path}") from error
    return {key.decode(): value.decode() for key, value in stored.items() if key != b"ARROW:schema"}


def keep(path: Path, frame: pl.DataFrame | pa.Table, notes: Mapping[str, str]) -> None:
    """Replace a Parquet file that has no contract by the frame, in one step; a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_beside(path.parent, path.stem, frame, notes).replace(path)


def note_check(folder: Path, table: str, name: str, rule: str, offending_rows: int, at: datetime) -> None:
    """Keep what a check of a table found last, in ``<folder>/checks``; a reader sees the old note or the new one."""
    noted = {"table": table, "check": name, "rule": rule, "offending_rows": offending_rows, "at": rules.format_time(at)}
    place = folder / CHECKS
    place.mkdir(parents=True, exist_ok=True)
    handle, trial = tempfile.mkstemp(prefix=f".{table}.{name}.", suffix=".tmp", dir=place)
    with os.fdopen(handle, "w", encoding="utf-8") as sink:
        json.dump(noted, sink)
    Path(trial).replace(place / f"{table}.{name}.json")


def read_checks(folder: Path) -> list[dict[str, Any]]:
    """What every check found last, by table and name: table, check, rule, offending_rows, at; none where none ran."""
    noted = [json.loads(path.read_text("utf-8")) for path in sorted((folder / CHECKS).glob("*.json"))]
    return [{**each, "at": rules.parse_time(each["at"])} for each in noted]


def path_of(folder: Path, name: str) -> Path:
    """Where a table of this name stands in a folder."""
    return folder / f"{name}.parquet"


def table_named(name: str) -> Table:
    """The contract of a derived or handed-in table. Raises TableError where there is none."""
    table = TABLES.get(name) or INPUTS.get(name)
    if table is None:
        raise TableError(f"there is no table {name!r}; there are {[*TABLES, *INPUTS]}")
    return table


def _arrow(table: Table, frame: Frame) -> pa.Table:
    if isinstance(frame, pa.Table):
        frame = cast("pl.DataFrame", pl.from_arrow(frame))
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    rows = conformed(table, frame).to_arrow()
    for index, column in enumerate(table.columns):
        if column.unit == "uuid":
            rows = rows.set_column(index, column.name, _as_uuids(rows[column.name]))
    return rows


def _as_uuids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    chunks = [pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in column.cast(pa.binary(16)).chunks]
    return pa.chunked_array(chunks, type=pa.uuid())


def _write_beside(folder: Path, name: str, frame: pl.DataFrame | pa.Table, notes: Mapping[str, str]) -> Path:
    handle, place = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
    temporary = Path(place)
    try:
        with os.fdopen(handle, "wb") as sink:
            if isinstance(frame, pl.DataFrame):  # on all cores
                frame.write_parquet(sink, row_group_size=ROW_GROUP_ROWS, metadata=dict(notes), **COMPRESSED)
            else:
                noted = frame.replace_schema_metadata(dict(notes))
                pq.write_table(noted, sink, row_group_size=ROW_GROUP_ROWS, **COMPRESSED)
            sink.flush()
            os.fsync(sink.fileno())
        temporary.chmod(0o644)
        _sweep(folder, name, temporary.stat().st_mtime - STRAY_AGE_S)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sweep(folder: Path, name: str, before_s: float) -> None:
    for stray in folder.glob(f".{name}.*.tmp"):
        if stray.stat().st_mtime < before_s:
            stray.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _existing(folder: Path, name: str) -> Path:
    path = path_of(folder, table_named(name).name)
    if not path.exists():
        raise StoreNotFound(f"table {name} has not been derived yet: there is no {path}")
    return path
