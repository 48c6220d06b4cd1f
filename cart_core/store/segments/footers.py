"""Footers of Parquet files taken apart: what a reader needs to know of one row group, without parsing all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Array = np.ndarray[Any, np.dtype[Any]]

MAGIC = b"PAR1"
FEW = 14
"""How many row groups a list's first byte can count."""
_ROWS, _GROUPS, _STRUCT = b"\x16", b"\x19", 12
"""How Thrift's compact form announces a footer's number of rows, the list of its row groups, and what is in a list."""
_LAST = 127
"""The largest number that is one byte there."""


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a file in pieces.

    ``group_end`` are the row numbers at which row groups end, ``group_at`` the bytes of the file at which their data
    begin. ``piece_at`` says where in ``text`` begin: what is said before the row groups, what is said after them, each
    row group, and the end.
    """

    group_end: Array
    group_at: Array
    piece_at: Array
    text: Array

    def groups(self, start: int, count: int) -> tuple[int, int, int]:
        """The first and the last row group of ``count`` rows from ``start`` on, and the row where the first begins."""
        first = int(self.group_end.searchsorted(start, "right"))
        last = int(self.group_end.searchsorted(start + count - 1, "right"))
        return first, last, int(self.group_end[first - 1]) if first else 0

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Where in the file the data of some neighbouring row groups begin and end; those of the last reach too far."""
        behind = int(self.group_at[last + 1]) if last + 1 < len(self.group_at) else int(self.group_at[last]) + 2**20
        return int(self.group_at[first]), behind

    def text_span(self, first: int, last: int) -> tuple[int, int]:
        """Where in ``text`` some neighbouring row groups are described."""
        return int(self.piece_at[first + 2]), int(self.piece_at[last + 3])

    def of(self, first: int, last: int) -> pq.FileMetaData:
        """The footer of a file that had no other row groups than these, each where it really lies."""
        if last - first + 1 > FEW:
            raise ValueError(f"row groups {first} to {last} are more than {FEW}")
        before, after = self._piece(0), self._piece(1)
        begin, end = self.text_span(first, last)
        rows = int(self.group_end[last]) - (int(self.group_end[first - 1]) if first else 0)
        listed = bytes([last - first + 1 << 4 | _STRUCT])
        whole = b"".join((before, _ROWS, _varint(2 * rows), _GROUPS, listed, self.text[begin:end].tobytes(), after))
        return pq.read_metadata(pa.BufferReader(MAGIC + whole + len(whole).to_bytes(4, "little") + MAGIC))

    def _piece(self, number: int) -> bytes:
        return self.text[int(self.piece_at[number]) : int(self.piece_at[number + 1])].tobytes()


def taken_apart(metadata: pq.FileMetaData) -> Footer:
    """The footer of a file in pieces."""
    from cart_core.store.segments import thrift  # noqa: PLC0415 - readers of finished indexes never load a compiler

    written = pa.BufferOutputStream()
    metadata.write_metadata_file(written)
    text = np.frombuffer(written.getvalue(), np.uint8)[len(MAGIC) : -len(MAGIC) - 4]
    version_end = thrift.end(text, 1, thrift.I64)
    rows_at = thrift.end(text, version_end + 1, thrift.LIST)
    listed_at = thrift.end(text, rows_at + 1, thrift.I64) + 1
    row_groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    at = listed_at + 1 if len(row_groups) <= FEW else thrift.number(text, listed_at + 1)[1]
    ends = thrift.ends(text, at, thrift.STRUCT, len(row_groups))
    after = text[ends[-1] :]
    return Footer(
        group_end=np.cumsum([each.num_rows for each in row_groups]).astype(np.uint32),
        group_at=np.array([_begins(each.column(0)) for each in row_groups], np.uint64),
        piece_at=np.r_[0, rows_at, np.r_[at, ends] - at + rows_at + len(after)].astype(np.uint32),
        text=np.concatenate([text[:rows_at], after, text[at : ends[-1]]]),
    )


def _begins(column: pq.ColumnChunkMetaData) -> int:
    return int(column.dictionary_page_offset or column.data_page_offset)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > _LAST:
        written.append(number & _LAST | _LAST + 1)
        number >>= 7
    written.append(number)
    return bytes(written)
