"""What a table promises: its columns with type, unit and meaning, its key, and the check that a frame keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from cart_core.errors import CartError, shown

TEXT = pl.String()
COUNT = pl.Int64()
SMALL = pl.Int32()
NUMBER = pl.Float64()
FLAG = pl.Boolean()
MOMENT = pl.Datetime("us", "UTC")
DAY = pl.Date()
ID_BYTES = pl.Binary()

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


class TableError(CartError, ValueError):
    """A frame does not keep the contract of its table; the message names column, row and rule."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``unit`` is a word such as cents, s, id or count; ``null`` says when a value is absent, if ever."""

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    null: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a row is ``meaning``; the columns of ``key`` together are unique and never null."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pl.Schema:
        """Column names and polars types, in the table's order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def column(self, name: str) -> Column:
        """One column by name. Raises TableError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise TableError(f"table {self.name} has no column {name!r}; it has {[each.name for each in self.columns]}")

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return pl.DataFrame(schema=self.schema)


def conformed(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with its columns in the table's order, once it is known to keep the whole contract.

    Raises TableError for missing, unknown or wrongly typed columns, for a null where none may be, and for a key
    that stands twice; the message names the row, counted from 0.
    """
    _check_columns(table, frame.schema)
    frame = frame.select(table.schema.names())
    for column in table.columns:
        if column.null is None and frame[column.name].null_count():
            row = frame[column.name].is_null().arg_max()
            raise TableError(f"table {table.name}, row {row}: {column.name} is missing, but may never be")
    _check_key(table, frame)
    return frame


def _check_columns(table: Table, found: pl.Schema) -> None:
    wanted = table.schema
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    wrong = [
        f"{name} is {found[name]}, but must be {dtype}"
        for name, dtype in wanted.items()
        if name in found and found[name] != dtype
    ]
    if missing or unknown or wrong:
        raise TableError(
            f"table {table.name}: columns missing {missing}, columns unknown {unknown}"
            + "".join(f"; column {each}" for each in wrong)
        )


def _check_key(table: Table, frame: pl.DataFrame) -> None:
    if not table.key:
        return
    repeated = repeated_keys(frame, table.key)
    if repeated.any():
        row = repeated.arg_max() or 0
        values = ", ".join(f"{name}={shown(frame[name][row])}" for name in table.key)
        times = _times(frame, table.key, row)
        raise TableError(f"table {table.name}, row {row}: the key {values} stands {times} times")


def repeated_keys(frame: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    """Per row whether another one has the same values in these columns.

    Where the rows' hashes are all different, which they are a hundred times for once that they are not, so are the
    values; hashes of integers are compared in a fifth of the time.
    """
    hashes = frame.select(key).hash_rows().sort()
    if hashes.n_unique() == len(hashes):
        return pl.repeat(value=False, n=frame.height, eager=True)
    return frame.select(pl.struct(key).is_duplicated()).to_series()


def _times(frame: pl.DataFrame, key: tuple[str, ...], row: int) -> int:
    return frame.select(key).join(frame.select(key).slice(row, 1), on=list(key), how="semi").height


def uuid_text(column: str) -> pl.Expr:
    """A column of 16-byte ids (Binary, as polars reads Parquet and Arrow UUIDs) as lower-case text of 36 characters."""
    digits = pl.col(column).bin.encode("hex")
    cuts = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    return pl.concat_str([digits.str.slice(start, length) for start, length in cuts], separator="-").alias(column)


def ids_as_text(frame: Frame) -> Frame:
    """The frame with event_id and cart_id as lower-case text, whether they were 16 bytes or text before."""
    schema = frame.collect_schema()
    return frame.with_columns(uuid_text(name) for name in ("event_id", "cart_id") if schema.get(name) == pl.Binary)


def ids_as_bytes(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with cart_id as 16 bytes, as events have it, whether it was so or text before."""
    if frame.schema["cart_id"] == ID_BYTES:
        return frame
    return frame.with_columns(pl.col("cart_id").str.replace_all("-", "", literal=True).str.decode("hex"))
