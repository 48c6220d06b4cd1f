"""What a shop hands in beside its events: files as its other tools write them, checked row by row."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from cart_core import rules
from cart_core.errors import SourceError, shown
from cart_core.store.views import STAGED, ViewStage
from pipelines import files
from pipelines.tables import INPUTS, Column, Table, TableError, conformed
from pipelines.tables.contract import COUNT, FLAG, MOMENT, NUMBER, TEXT

VIEWS = "views"
LOCK = ".lock"
SEPARATORS = ",;\t"
SHOWN_PROBLEMS = 5
YES, NO = frozenset(("true", "yes", "1", "t", "y")), frozenset(("false", "no", "0", "f", "n"))


@dataclass(frozen=True, slots=True)
class HandedIn:
    """``rows`` of a file were taken, and ``standing`` rows are there now.

    Columns of no meaning here were ``left_out``; ``absent`` are columns that the file does not have and may be without.
    """

    rows: int
    standing: int
    left_out: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A file's columns, as texts or typed, and what its first row is called: line 2 of a CSV file, else row 1."""

    path: Path
    frame: pl.DataFrame
    row: str = "row"
    first: int = 1


def hand_in(folder: Path, name: str, source: Path, *, add: bool = False) -> HandedIn:
    """Check a file of CSV, JSON, JSON Lines or Parquet against ``INPUTS[name]`` and put it where jobs read it.

    Columns are known by their names, in any order; ``userId`` and ``User ID`` are user_id too. Contacts, exposures,
    stock, coupons and sends replace what was there; with ``add`` they join it: rows with a key that is there replace
    its row, and rows that are there already are not there twice. Views are added, each id once. What is there is
    exchanged in one step, so a reader sees the old or the new.
    Raises SourceError where the file cannot be read, TableError with line, column, value and rule where it breaks the
    table's contract; then nothing changes.
    """
    table = INPUTS[name]
    read = _read(source)
    frame, left_out, absent = _typed(table, read)
    try:
        frame = conformed(table, frame)
    except TableError as error:
        raise TableError(f"{source}: {error}") from error
    if name == VIEWS:
        _add_views(folder, frame)
        return HandedIn(frame.height, frame.height, left_out, absent)
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    with (inputs / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = _joined(table, files.read_input(inputs, name), frame) if add else frame
        files.write_table(inputs, name, whole)
    return HandedIn(frame.height, whole.height, left_out, absent)


def _joined(table: Table, standing: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    if table.key:
        return pl.concat([standing.join(more, on=table.key, how="anti"), more])
    return pl.concat([standing, more]).unique(maintain_order=True)


def _add_views(folder: Path, frame: pl.DataFrame) -> None:
    rows = frame.to_arrow().append_column("counts", pa.array([True] * frame.height))
    with ViewStage(folder / VIEWS, folder / "cache") as stage:
        stage.add(rows.cast(STAGED))
        stage.commit()


def _read(path: Path) -> _Source:
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise SourceError(f"{path} cannot be read: its name ends in none of {', '.join(READERS)}")
    try:
        return read(path)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as {path.suffix[1:].lower()}: {error}") from error


def _from_csv(path: Path) -> _Source:
    """Cells as texts, separated by commas, semicolons or tabs, whichever the first line has most of."""
    written = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    head = written.partition(b"\n")[0].decode("utf-8", "replace")
    separator = max(SEPARATORS, key=head.count)
    return _Source(path, pl.read_csv(written, separator=separator, infer_schema=False), "line", 2)


def _from_json(path: Path) -> _Source:
    return _of_objects(path, json.loads(path.read_text("utf-8-sig")))


def _from_json_lines(path: Path) -> _Source:
    lines = path.read_text("utf-8-sig").splitlines()
    return _of_objects(path, [json.loads(line) for line in lines if line.strip()])


def _from_parquet(path: Path) -> _Source:
    return _Source(path, pl.read_parquet(path))


READERS: dict[str, Callable[[Path], _Source]] = {
    ".csv": _from_csv,
    ".json": _from_json,
    ".jsonl": _from_json_lines,
    ".ndjson": _from_json_lines,
    ".parquet": _from_parquet,
}


def _of_objects(path: Path, rows: Any) -> _Source:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it must hold one object for each row, in a list or on lines")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [_as_text(row.get(name)) for row in rows] for name in names}
    return _Source(path, pl.DataFrame(columns, schema=dict.fromkeys(names, TEXT)))


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _typed(table: Table, source: _Source) -> tuple[pl.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """The table's columns of a file, the names of its others, and of those it is without.

    Raises TableError with all that is wrong.
    """
    given = _by_meaning(source)
    missing = [each.name for each in table.columns if each.null is None and _plain(each.name) not in given]
    if missing:
        have = ", ".join(source.frame.columns)
        raise TableError(f"{source.path} is no table of {table.name}: columns missing {missing}; it has {have}")
    columns: list[pl.Series] = []
    problems: list[tuple[int, str]] = []
    for column in table.columns:
        name = given.get(_plain(column.name))
        if name is None:
            columns.append(pl.repeat(None, source.frame.height, dtype=column.dtype, eager=True).alias(column.name))
            continue
        values, wrong = _column(column, source.frame[name])
        columns.append(values)
        problems += [(row, f"{source.row} {row + source.first}: {column.name} is {what}") for row, what in wrong]
    if problems:
        told = [text for _, text in sorted(problems)]
        more = [f"and {len(told) - SHOWN_PROBLEMS} more"] if len(told) > SHOWN_PROBLEMS else []
        raise TableError(f"{source.path}: " + "; ".join([*told[:SHOWN_PROBLEMS], *more]))
    known = {_plain(each.name) for each in table.columns}
    left_out = tuple(name for plain, name in given.items() if plain not in known)
    absent = tuple(each.name for each in table.columns if _plain(each.name) not in given)
    return pl.DataFrame(columns), left_out, absent


def _by_meaning(source: _Source) -> Mapping[str, str]:
    """A file's column names by what is left of them without capitals, spaces, hyphens and underscores."""
    names: dict[str, str] = {}
    for name in source.frame.columns:
        other = names.setdefault(_plain(name), name)
        if other != name:
            raise TableError(f"{source.path} has two columns of one meaning, {other!r} and {name!r}")
    return names


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " -_")


def _column(column: Column, given: pl.Series) -> tuple[pl.Series, Sequence[tuple[int, str]]]:
    """A column in its type, and the rows that are wrong, each with its value and the rule."""
    rule = PARSERS[column.dtype][1]
    typed = _converted(column.dtype, given)
    if typed is not None:
        absent = given.is_null()
    else:
        texts = given.cast(TEXT).str.strip_chars()
        absent = texts.is_null() | (texts == "")
        parse = PARSERS[column.dtype][0]
        values = [None if skip else parse(text) for text, skip in zip(texts, absent, strict=True)]
        typed = pl.Series(values, dtype=column.dtype)
    wrong = (typed.is_null() & ~absent).arg_true()
    problems = [(row, f"{shown(given[row])}, but must be {rule}") for row in wrong]
    if column.null is None:
        problems += [(row, "missing, but may never be") for row in absent.arg_true()]
    return typed.alias(column.name), problems


def _converted(dtype: pl.DataType, given: pl.Series) -> pl.Series | None:
    """A typed column as another type without a loss; None where its values must be read one by one."""
    if given.dtype == dtype and dtype != TEXT:
        return given
    if dtype == MOMENT and isinstance(given.dtype, pl.Datetime) and given.dtype.time_zone is not None:
        return given.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if dtype in (COUNT, NUMBER) and given.dtype.is_integer():
        return given.cast(dtype, strict=False)
    return None


def _count(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) <= rules.INT64_MAX else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _flag(text: str) -> bool | None:
    folded = text.casefold()
    return True if folded in YES else False if folded in NO else None


def _moment(text: str) -> datetime | None:
    try:
        return rules.parse_time(text.replace(" ", "T", 1))
    except ValueError:
        return None


PARSERS: dict[pl.DataType, tuple[Callable[[str], Any], str]] = {
    TEXT: (str, "text"),
    COUNT: (_count, "a whole number"),
    NUMBER: (_number, "a number"),
    FLAG: (_flag, "yes or no"),
    MOMENT: (_moment, "a time with its zone, such as 2026-02-04T10:00:00Z"),
}
