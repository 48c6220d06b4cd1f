"""Rows kept until all of them are there, then given back one part after another, in bounded memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core.processes import is_running

MEMORY_BYTES = 64 * 2**20
PART_BYTES = 16 * 2**20
MOST_PARTS = 256
PREFIX = "import-"


class Spill:
    """Tables of one schema, divided by a column: all rows with one value in it come back in one part, in order.

    Up to 64 MiB stay in memory; more goes to a temporary folder in ``home``, divided so finely that a part is about
    16 MiB at most where the rows come to ``expected_bytes``. What a crash leaves there, the next spill removes.
    """

    def __init__(self, home: Path, column: str, expected_bytes: int = 0) -> None:
        self._home = home
        self._column = column
        self._parts = min(MOST_PARTS, max(8, -(-expected_bytes // PART_BYTES)))
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._folder: Path | None = None
        self._writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, table: pa.Table) -> None:
        """Take rows."""
        if not len(table):
            return
        self._held.append(table)
        self._held_bytes += table.nbytes
        if self._held_bytes > MEMORY_BYTES:
            self._write()

    def parts(self) -> Iterator[pa.Table]:
        """All rows, part by part; the order of rows with one value of the column is the order they came in."""
        if self._folder is None:
            held, self._held = self._held, []
            if held:
                yield pa.concat_tables(held)
            return
        self._write()
        self._close()
        for part in sorted(self._folder.iterdir()):
            with pa.OSFile(str(part)) as source:
                yield pa.ipc.open_file(source).read_all()
            part.unlink()

    def _write(self) -> None:
        if not self._held:
            return
        if self._folder is None:
            self._folder = _folder(self._home)
        table = pa.concat_tables(self._held)
        self._held, self._held_bytes = [], 0
        part = _hashes(table[self._column]) % np.uint64(self._parts)
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.arange(self._parts + 1))
        for number, (start, stop) in enumerate(pairwise(ends)):
            if stop > start:
                rows = table.take(pa.array(order[start:stop]))
                self._writer(self._folder, number, table.schema).write_table(rows)

    def _writer(self, folder: Path, number: int, kind: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
        if number not in self._writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers[number] = pa.ipc.new_file(str(folder / f"{number:03}.arrow"), kind, options=options)
        return self._writers[number]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _folder(home: Path) -> Path:
    """A new folder for this process; those of processes that are gone are removed."""
    home.mkdir(parents=True, exist_ok=True)
    for stray in home.glob(f"{PREFIX}*-*"):
        process = stray.name.removeprefix(PREFIX).partition("-")[0]
        if process.isdecimal() and not is_running(int(process)):
            shutil.rmtree(stray, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=home))


def _hashes(column: pa.ChunkedArray) -> Any:
    """A hash of each value, the same for equal values all through one process."""
    if isinstance(column.type, pa.UuidType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], type=pa.binary(16))
    plain = column.cast(pa.binary()) if pa.types.is_fixed_size_binary(column.type) else column
    return pl.Series(plain).hash().to_numpy()
