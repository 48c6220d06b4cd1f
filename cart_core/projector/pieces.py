"""Carts on their way from batches, which come by key, to parts, which go by first position: kept on disk in between.

Memory holds a batch or a part at a time, however long the history is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from cart_core.projector.kernel import Array
from cart_core.projector.many import concatenated
from cart_core.projector.tables import CARTS, LINES, CartTables, taken


class Pieces:
    """What each part has been given so far: a file for each, which goes when its part is taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)

    def add(self, cut: Mapping[int, tuple[pa.Buffer, pa.Buffer]]) -> None:
        """Give parts what ``cut_by`` has cut for them."""
        for number, packed in cut.items():
            with self._path(number).open("ab") as file:
                file.writelines(memoryview(each) for each in packed)

    def numbers(self) -> list[int]:
        """The parts that were given carts, ascending."""
        return sorted(int(path.stem) for path in self._folder.iterdir())

    def take(self, number: int) -> CartTables:
        """The carts of a part, in the order that they were given in."""
        path = self._path(number)
        tables = concatenated(list(_unpacked(path.read_bytes())))
        path.unlink()
        return tables

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.pieces"


def cut_by(parts: Array, tables: CartTables) -> dict[int, tuple[pa.Buffer, pa.Buffer]]:
    """Tables cut by the part of each cart, their order kept within a part, packed for ``Pieces``."""
    order = np.argsort(parts, kind="stable")
    numbers, begins = np.unique(parts[order], return_index=True)
    ordered = taken(tables, order)
    line_ends = np.r_[0, np.cumsum(ordered.carts["line_count"].to_numpy())]
    ends = np.append(begins, len(order))[1:]
    carts = _packed(ordered.carts, begins, ends)
    lines = _packed(ordered.lines, line_ends[begins], line_ends[ends])
    return dict(zip(numbers.tolist(), zip(carts, lines, strict=True), strict=True))


def _packed(table: pa.Table, begins: Array, ends: Array) -> Iterator[pa.Buffer]:
    batches = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        yield batches[0].slice(begin, end - begin).serialize()


def _unpacked(packed: bytes) -> Iterator[CartTables]:
    reader = pa.BufferReader(packed)
    while reader.tell() < len(packed):
        batches = [pa.ipc.read_record_batch(pa.ipc.read_message(reader), columns) for columns in (CARTS, LINES)]
        yield CartTables(*(pa.Table.from_batches([batch]) for batch in batches))
