"""Sealed events as immutable Parquet files: written whole and synced before anybody names them."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, LocalFileSystem

from cart_core import schema
from cart_core.errors import StoreCorrupt, StoreError, StoreReadOnly
from cart_core.store.at_rest import AT_REST
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.segments import layout, upcasting
from cart_core.store.segments.footers import FEW, Footer

ROW_GROUP_ROWS = 4_096
"""Few enough that one cart is read in two or three milliseconds; twice as many would save 2 % of a file."""
COMPRESSION_LEVEL = 1
DICTIONARY = [
    "type",
    "product_id",
    "product_name",
    "quantity",
    "old_quantity",
    "currency",
    "image_url",
    "coupon_code",
    "discount_type",
    "discount_value",
    "reason",
    "metadata.key_value.key",
    "metadata.key_value.value",
]
ASCENDING = ("position", "version", "user_key", "timestamp", "recorded_at", "last_activity_at", "bucket")
MEASURED = ["position", "version", "user_key", "timestamp", "recorded_at", "type", "product_id", "bucket"]
"""What queries narrow by. The footer is read before the first cart, and statistics of all columns double it."""
DELTA = dict.fromkeys(ASCENDING, "DELTA_BINARY_PACKED")
OPEN_FILES = 64
READ_ONLY = 0o444


class SegmentFolder:
    """The folder of segment files on a local disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._footers: OrderedDict[str, tuple[pq.FileMetaData, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def locations(self, segments: Sequence[Segment]) -> dict[str, str]:
        """Paths by the names of files, as DuckDB and Polars take them. Raises StoreCorrupt where one is missing."""
        for each in segments:
            if not (self.folder / each.file).exists():
                raise self._unreadable(each.file, FileNotFoundError())
        return {each.file: str(self.folder / each.file) for each in segments}

    def files(self) -> tuple[FileSystem, str]:
        """Where the files lie for everybody who reads the store: a file system and a path in it."""
        return LocalFileSystem(), str(self.folder)

    def close(self) -> None:
        """Let go of what was held for readers."""

    def write(self, table: pa.Table) -> Segment:
        """Write a table of AT_REST as one file, synced to disk.

        The file is complete or has another name: a crash leaves a ``.tmp`` that ``sweep`` removes.
        """
        return self.write_laid_out(layout.laid_out(table))

    def write_laid_out(self, table: pa.Table) -> Segment:
        """Like ``write``, for rows that stand in the order of a file already."""
        places = pc.min_max(table["position"]).as_py()
        name = f"{places['min']:012d}-{uuid4().hex[:8]}.parquet"
        temporary = self.folder / f"{name}.tmp"
        try:
            write_parquet(table, temporary)
            with temporary.open("rb") as written:
                digest = hashlib.file_digest(written, "sha256").hexdigest()
                os.fsync(written.fileno())
            temporary.chmod(READ_ONLY)
            size_bytes = temporary.stat().st_size
            self._put(temporary, name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _unwritable(f"segment {self.place}/{name}", error) from error
        times = pc.min_max(table["timestamp"].cast(pa.int64())).as_py()
        return Segment(
            file=name,
            first_position=places["min"],
            last_position=places["max"],
            rows=len(table),
            size_bytes=size_bytes,
            sha256=digest,
            min_timestamp=times["min"],
            max_timestamp=times["max"],
        )

    def _put(self, temporary: Path, name: str) -> None:
        """Give a finished and synced file its name, durably."""
        temporary.rename(self.folder / name)
        sync_folder(self.folder)

    def take_in(self, path: Path, name: str) -> None:
        """Copy a segment of another folder from this disk into this one, durably, under the same name."""
        temporary = self.folder / f"{name}.{uuid4().hex[:8]}.tmp"
        shutil.copyfile(path, temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(READ_ONLY)
        self._put(temporary, name)

    def remove(self, file: str) -> None:
        """Remove a file that no catalog names any more."""
        (self.folder / file).unlink(missing_ok=True)

    def older(self, than_s: float) -> list[str]:
        """Names of the files, finished or not, that were last written before a moment, in seconds since 1970."""
        return [
            path.name
            for path in self.folder.iterdir()
            if path.suffix in (".parquet", ".tmp") and is_older(path, than_s)
        ]

    def open(self, segment: Segment, encoded: Sequence[str] = ()) -> pq.ParquetFile:
        """Open a file, to read columns ``encoded`` as dictionaries. Raises StoreCorrupt where it is missing or torn."""
        metadata, _ = self._footer(segment)
        try:
            return self._parquet(segment, metadata=metadata, read_dictionary=list(encoded))
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(segment.file, error) from error

    def checked(self, segment: Segment) -> pq.ParquetFile:
        """A file opened so that reading a page that is not what was written raises."""
        return self._parquet(segment, page_checksum_verification=True)

    def metadata(self, segment: Segment) -> pq.FileMetaData:
        """What a file says of itself. Raises StoreCorrupt where it is missing or torn."""
        return self._footer(segment)[0]

    def _footer(self, segment: Segment) -> tuple[pq.FileMetaData, Any]:
        """What a file says of itself, and the row numbers at which its row groups end; remembered."""
        with self._lock:
            known = self._footers.get(segment.file)
        if known is not None:
            return known
        try:
            metadata = self._parquet(segment).metadata
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(segment.file, error) from error
        ends = np.cumsum([metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)])
        with self._lock:
            self._footers[segment.file] = metadata, ends
            while len(self._footers) > OPEN_FILES:
                self._footers.popitem(last=False)
        return metadata, ends

    def _parquet(self, segment: Segment, **options: Any) -> pq.ParquetFile:
        mapped = options.setdefault("memory_map", True)  # what is mapped need not be read before it is asked for
        return pq.ParquetFile(self.folder / segment.file, pre_buffer=not mapped, **options)

    def _unreadable(self, file: str, error: Exception) -> StoreError:
        """What it means that a file cannot be read."""
        if isinstance(error, FileNotFoundError):
            return StoreCorrupt(f"segment {self.place}/{file} is missing: restore it from a backup")
        if isinstance(error, PermissionError):
            return StoreReadOnly(f"segment {self.place}/{file} may not be read: check its permissions")
        return StoreCorrupt(f"segment {self.place}/{file} cannot be read: {error}")

    def digest(self, file: str) -> str:
        """The SHA-256 of a file's bytes, in hex."""
        with (self.folder / file).open("rb") as stored:
            return hashlib.file_digest(stored, "sha256").hexdigest()

    def read(self, segment: Segment, columns: Sequence[str] | None = None) -> pa.Table:
        """A whole segment, in the order of its file."""
        return overlaid(self.read_groups(segment, None, columns), segment)

    def expect(self, segment: Segment, footer: Footer, start: int, count: int) -> None:
        """Have the system read what ``read_rows`` will ask for, if the file lies on this disk; nobody waits for it."""
        first, last, _ = footer.groups(start, count)
        with suppress(OSError, AttributeError):  # not every system takes advice
            handle = os.open(self.folder / segment.file, os.O_RDONLY)
            try:
                begin, end = footer.span(first, last)
                os.posix_fadvise(handle, begin, end - begin, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)

    def read_rows(self, segment: Segment, footer: Footer, start: int, count: int) -> pa.Table:
        """``count`` rows of a segment from row ``start`` of its file on: one cart's, as a rule.

        Of the file only the row groups that hold them are read, as ``footer`` tells where they lie.
        """
        first, last, before = footer.groups(start, count)
        part = self.read_span(segment, footer, first, last, AT_REST.names, memory_map=False)
        return overlaid(part.slice(start - before, count), segment)

    def read_span(
        self,
        segment: Segment,
        footer: Footer,
        first: int,
        last: int,
        columns: list[str],
        encoded: Sequence[str] = (),
        **options: Any,
    ) -> pa.Table:
        """Neighbouring row groups as ``read_groups`` gives them; for a few the file's whole footer is not needed."""
        if last - first >= FEW or not upcasting.is_current(segment.schema_version):
            return self.read_groups(segment, range(first, last + 1), columns, encoded)
        options |= {"metadata": footer.of(first, last), "read_dictionary": list(encoded)}
        return self._read_few(segment, columns, stored_schema(columns, encoded), options)

    def _read_few(
        self, segment: Segment, columns: list[str], wanted: pa.Schema, options: Mapping[str, Any]
    ) -> pa.Table:
        """All rows of a file that had the row groups of the metadata in ``options`` alone."""
        try:
            with self._parquet(segment, **options) as opened:
                part = opened.read(columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(segment.file, error) from error
        return part if part.schema.equals(wanted) else part.select(columns).cast(wanted)

    def take(self, segment: Segment, rows: Any, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a segment at ascending row numbers of its file: columns of AT_REST, all with None."""
        ends = self.row_group_ends(segment)
        groups = np.unique(np.searchsorted(ends, rows, side="right"))
        starts = np.r_[0, ends[:-1]][groups]
        sizes = ends[groups] - starts
        moved = np.repeat(
            np.r_[0, np.cumsum(sizes)[:-1]] - starts,
            np.searchsorted(rows, ends[groups]) - np.searchsorted(rows, starts),
        )
        part = self.read_groups(segment, [int(group) for group in groups], columns)
        return overlaid(part.take(pa.array(rows + moved)), segment)

    def row_group_ends(self, segment: Segment) -> Any:
        """The row numbers at which the row groups of a segment end."""
        return self._footer(segment)[1]

    def read_groups(
        self,
        segment: Segment,
        groups: Sequence[int] | range | None,
        columns: Sequence[str] | None,
        encoded: Sequence[str] = (),
    ) -> pa.Table:
        """Some row groups of a segment (all with None) as they lie in its file, without what the catalog says.

        Text columns that are ``encoded`` come as dictionaries.
        """
        names = list(columns) if columns is not None else AT_REST.names
        opened = self.open(segment, encoded)
        current = upcasting.is_current(segment.schema_version)
        stored = names if current else None
        try:
            part = (
                opened.read(columns=stored) if groups is None else opened.read_row_groups(list(groups), columns=stored)
            )
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(segment.file, error) from error
        part = part if current else upcasting.upcast(part, segment.schema_version)
        wanted = stored_schema(names, encoded)
        return part if part.schema.equals(wanted) else part.select(names).cast(wanted)


def stored_schema(names: Sequence[str], encoded: Sequence[str] = ()) -> pa.Schema:
    """The columns ``names`` of AT_REST, those that are ``encoded`` as dictionaries."""
    fields = (AT_REST.field(name) for name in names)
    dictionary = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([each.with_type(dictionary) if each.name in encoded else each for each in fields])


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table of AT_REST that stands in the order of a file, row groups along its buckets."""
    bounds = layout.row_group_bounds(table["bucket"].to_numpy(), ROW_GROUP_ROWS)
    with pq.ParquetWriter(
        path,
        AT_REST,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=DICTIONARY,
        column_encoding=DELTA,
        write_statistics=MEASURED,
        write_page_checksum=True,
    ) as writer:
        start = 0
        for bound in bounds:
            writer.write_table(table.slice(start, bound - start), row_group_size=bound - start)
            start = bound


def overlaid(table: pa.Table, segment: Segment) -> pa.Table:
    """Rows of a segment with what the catalog says of their positions and recording."""
    if segment.position_shift and "position" in table.column_names:
        moved = pc.add(table["position"], segment.position_shift)
        table = table.set_column(table.column_names.index("position"), AT_REST.field("position"), moved)
    if segment.recorded_us is not None and "recorded_at" in table.column_names:
        recorded = pa.array(np.full(len(table), segment.recorded_us), pa.int64()).cast(schema.UTC_MICROS)
        table = table.set_column(table.column_names.index("recorded_at"), AT_REST.field("recorded_at"), recorded)
    return table


def empty(columns: Sequence[str] | None = None) -> pa.Table:
    """A table of AT_REST (or some of its columns) without rows."""
    return AT_REST.empty_table().select(list(columns) if columns is not None else AT_REST.names)


def _unwritable(what: str, error: OSError) -> StoreError:
    """Why a file could not be written; nothing named it yet, so nothing changed."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, PermissionError):
        return StoreReadOnly(f"{what} may not be written: check the permissions of its folder")
    return StoreError(f"{what} cannot be written ({error}); the store is as it was: make room and try again")


def is_older(path: Path, moment_s: float) -> bool:
    """Whether a file was last written before a moment; not so where its writer has renamed or removed it meanwhile."""
    try:
        return path.stat().st_mtime < moment_s
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
