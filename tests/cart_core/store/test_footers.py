"""Footers taken apart: one row group is read as if its file had no other."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.store.segments.footers import FEW, Footer, taken_apart


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 60 row groups of 1 to 60 rows, with texts, nulls, nested values and binary statistics."""
    path = tmp_path_factory.mktemp("footers") / "file.parquet"
    pairs = [[("a", "b")] if row % 7 else None for row in range(1830)]
    rows = pa.table(
        {
            "number": pa.array(range(1830), pa.int64()),
            "text": [None if row % 3 else "ab" * (row % 5) for row in range(1830)],
            "map": pa.array(pairs, pa.map_(pa.string(), pa.string())),
            "id": pa.array([row.to_bytes(16, "big") for row in range(1830)], pa.uuid()),
        }
    )
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        start = 0
        for size in range(1, 61):
            writer.write_table(rows.slice(start, size))
            start += size
    return path


@given(first=st.integers(0, 59), more=st.integers(0, FEW - 1))
def test_row_groups_read_alone_are_those_of_the_file(written: Path, first: int, more: int):
    """Their rows, their columns and their types, wherever they lie and however many are asked for."""
    metadata = pq.read_metadata(written)
    last = min(first + more, 59)
    alone = pq.ParquetFile(written, metadata=taken_apart(metadata).of(first, last))
    assert alone.metadata.num_rows == sum(range(first + 1, last + 2))
    assert alone.read().equals(pq.ParquetFile(written).read_row_groups(list(range(first, last + 1))))


@given(start=st.integers(0, 1829), count=st.integers(1, 200))
def test_rows_are_found_in_their_row_groups(written: Path, start: int, count: int):
    """The groups named hold all the rows asked for, and the first and the last of them hold one each."""
    footer = taken_apart(pq.read_metadata(written))
    count = min(count, 1830 - start)
    first, last, before = footer.groups(start, count)
    ends = np.cumsum(range(1, 61)).tolist()
    assert before == (ends[first - 1] if first else 0)
    assert before <= start < ends[first]
    assert (ends[last - 1] if last else 0) < start + count <= ends[last]


def test_the_bytes_of_a_row_group_are_between_those_of_its_neighbours(written: Path):
    """What is read ahead for a group begins with its first page and ends where the next group begins."""
    metadata = pq.read_metadata(written)
    footer = taken_apart(metadata)
    columns = [metadata.row_group(group).column(0) for group in range(60)]
    begins = [each.dictionary_page_offset or each.data_page_offset for each in columns]
    assert [footer.span(group, group) for group in range(59)] == list(pairwise(begins))
    assert footer.span(3, 7) == (begins[3], begins[8])


@pytest.mark.parametrize("groups", [1, FEW, FEW + 1])
def test_a_footer_of_few_row_groups_is_taken_apart(tmp_path: Path, groups: int):
    """A list of up to fourteen is announced in another way than a longer one."""
    with pq.ParquetWriter(tmp_path / "few.parquet", pa.schema([("a", pa.int32())])) as writer:
        for group in range(groups):
            writer.write_table(pa.table({"a": pa.array([group], pa.int32())}))
    footer = taken_apart(pq.read_metadata(tmp_path / "few.parquet"))
    alone = pq.ParquetFile(tmp_path / "few.parquet", metadata=footer.of(groups - 1, groups - 1))
    assert alone.read().to_pydict() == {"a": [groups - 1]}


def test_more_row_groups_than_a_short_list_can_name_are_refused(written: Path):
    """The reader reads those by the file's own footer."""
    footer: Footer = taken_apart(pq.read_metadata(written))
    with pytest.raises(ValueError, match="row groups 0 to 14 are more than 14"):
        footer.of(0, FEW)
