from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cart_core.errors import StoreNotFound
from pipelines.files import (
    note_check,
    read_checks,
    read_input,
    read_notes,
    read_table,
    scan_table,
    write_table,
    write_tables,
)
from pipelines.tables import INPUTS, TABLES, TableError
from tests.builders import NOON

STOCK = INPUTS["stock"]


def stock(*available: int) -> pl.DataFrame:
    """So many units of p0, p1 ..."""
    return pl.DataFrame({"product_id": [f"p{n}" for n in range(len(available))], "available": list(available)})


def lines() -> pl.DataFrame:
    """One line of one cart."""
    row: dict[str, Any] = {"cart_id": UUID(int=5).bytes, "product_id": "p", "product_name": "P", "quantity": 1}
    row |= {"price_cents": 5, "original_price_cents": 5, "added_at": None}
    return pl.DataFrame([row], schema=TABLES["lines"].schema).with_columns(
        added_at=pl.lit("2026-01-01T00:00:00Z").str.to_datetime("%+", time_unit="us", time_zone="UTC")
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """A table comes back as it was written, whole or scanned."""
    write_table(tmp_path, "stock", stock(3, 4))
    assert read_table(tmp_path, "stock").equals(stock(3, 4))
    assert scan_table(tmp_path, "stock").filter(pl.col("available") > 3).collect().equals(stock(3, 4)[1:])


@pytest.mark.parametrize("form", [pl.DataFrame.lazy, pl.DataFrame.to_arrow])
def test_lazy_and_arrow_frames_are_written(tmp_path: Path, form: Any) -> None:
    """A LazyFrame and an Arrow table are written as a DataFrame is."""
    write_table(tmp_path, "stock", form(stock(1)))
    assert read_table(tmp_path, "stock").equals(stock(1))


def test_cart_ids_of_lines_are_uuids(tmp_path: Path) -> None:
    """The 16 bytes of a cart_id stand in Parquet as a UUID and come back as the same bytes."""
    path = write_table(tmp_path, "lines", lines())
    assert pq.read_schema(path).field("cart_id").type == pa.uuid()
    assert read_table(tmp_path, "lines").equals(lines())


def test_a_broken_frame_leaves_the_old_table(tmp_path: Path) -> None:
    """A frame that breaks the contract is refused and the old table stays."""
    write_table(tmp_path, "stock", stock(1))
    with pytest.raises(TableError):
        write_table(tmp_path, "stock", stock(2).rename({"available": "left"}))
    assert read_table(tmp_path, "stock").equals(stock(1))


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """When the disk fails before the switch, every table is the old one and no temporary file stays."""
    write_tables(tmp_path, {"stock": stock(1), "lines": lines()})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        write_tables(tmp_path, {"stock": stock(2), "lines": lines().clear()})
    monkeypatch.undo()
    assert read_table(tmp_path, "stock").equals(stock(1))
    assert read_table(tmp_path, "lines").equals(lines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.parquet", "stock.parquet"]


def test_a_reader_keeps_the_table_it_opened(tmp_path: Path) -> None:
    """A file opened before the switch still holds the old table whole."""
    path = write_table(tmp_path, "stock", stock(1, 2, 3))
    with path.open("rb") as opened:
        write_table(tmp_path, "stock", stock(9))
        assert pq.read_table(opened).to_pylist() == stock(1, 2, 3).to_dicts()
    assert read_table(tmp_path, "stock").equals(stock(9))


def test_old_strays_are_swept(tmp_path: Path) -> None:
    """A temporary file that a crash left a day ago is removed by the next write; a fresh one is somebody else's."""
    old, fresh = tmp_path / ".stock.old.tmp", tmp_path / ".stock.fresh.tmp"
    old.touch()
    fresh.touch()
    os.utime(old, (0, 0))
    write_table(tmp_path, "stock", stock(1))
    assert not old.exists()
    assert fresh.exists()


def test_notes_are_kept(tmp_path: Path) -> None:
    """Notes such as as_of travel inside the file."""
    write_table(tmp_path, "stock", stock(1), notes={"as_of": "2026-01-01T00:00:00Z"})
    assert read_notes(tmp_path, "stock") == {"as_of": "2026-01-01T00:00:00Z"}


def test_what_a_check_found_last_is_kept(tmp_path: Path) -> None:
    """A check's note is replaced by its next, and no trial file is left."""
    assert read_checks(tmp_path) == []
    for offending_rows in (3, 0):
        note_check(tmp_path, "stock", "none_is_negative", "No stock is below 0.", offending_rows, NOON)
    expected = {"table": "stock", "check": "none_is_negative", "rule": "No stock is below 0.", "offending_rows": 0}
    assert read_checks(tmp_path) == [{**expected, "at": NOON}]
    assert [path.name for path in (tmp_path / "checks").iterdir()] == ["stock.none_is_negative.json"]


def test_a_table_not_yet_derived_is_named(tmp_path: Path) -> None:
    """Reading a table that was never written says which one and where."""
    with pytest.raises(StoreNotFound, match=r"table carts has not been derived yet.*carts\.parquet"):
        read_table(tmp_path, "carts")


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    """There is no table that TABLES and INPUTS do not name."""
    with pytest.raises(TableError, match="there is no table 'nonsense'"):
        write_table(tmp_path, "nonsense", stock(1))


def test_inputs_are_checked_when_read(tmp_path: Path) -> None:
    """A missing input is empty, a sound one is read, a broken one is refused with its column."""
    assert read_input(tmp_path, "stock").equals(STOCK.empty())
    stock(4).with_columns(shelf=pl.lit("A")).write_parquet(tmp_path / "stock.parquet")
    assert read_input(tmp_path, "stock").equals(stock(4))
    stock(4).select(pl.all().cast(pl.String)).write_parquet(tmp_path / "stock.parquet")
    with pytest.raises(TableError, match="available is String, but must be Int64"):
        read_input(tmp_path, "stock")
