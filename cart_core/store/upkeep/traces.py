"""A user id in whatever form files hold it, and files without it: one function for each kind of file."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cart_core import schema

GZIP_MAGIC = b"\x1f\x8b"
WORD = "0-9A-Za-z_"
TELLING_DIGITS = 6
"""A number shorter than this says nothing inside of a text: 7 is a size, a count, a day."""

SHOPS_OWN = frozenset(schema.PAYLOAD_COLUMNS) - {"order_id"}
"""Columns that are about goods, never about people."""


class Traces:
    """A user id as text and files hold it: as it is, and as JSON, JSON inside of JSON, CSV and HTML write it.

    It is found only where it stands for itself: "ann" is neither in "joanna" nor in "ann_2"; a number of a few digits
    is found in a value only where it is all of it.
    """

    def __init__(self, user_id: str, pseudonym: str) -> None:
        self.pseudonym = pseudonym
        forms = {user_id, user_id.replace('"', '""'), html.escape(user_id)}
        for ascii_only in (True, False):
            once = json.dumps(user_id, ensure_ascii=ascii_only)[1:-1]
            forms |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
        self._plain = user_id
        self._forms = forms
        self._whole = user_id.isdecimal() and len(user_id) < TELLING_DIGITS
        either = "|".join(sorted(map(re.escape, forms), key=len, reverse=True))
        self._text = re.compile(f"(?<![{WORD}])(?:{either})(?![{WORD}])")
        self._bytes = re.compile(self._text.pattern.encode())

    def in_bytes(self, data: bytes) -> bool:
        """Whether the id is in a file's bytes."""
        return self._bytes.search(data) is not None

    def in_value(self, value: Any) -> bool:
        """Whether the id is anywhere in a value, however deep."""
        if isinstance(value, dict):
            return any(map(self.in_value, (*value, *value.values())))
        if isinstance(value, list | tuple):
            return any(map(self.in_value, value))
        return str(self.replaced(str(value))) != str(value)

    def replaced(self, value: Any) -> Any:
        """A value with the pseudonym in place of the id, however deep it lies."""
        if isinstance(value, str):
            if self._whole:
                return self.pseudonym if value == self._plain else value
            return self._text.sub(self.pseudonym, value)
        if isinstance(value, dict):
            return {self.replaced(name): self.replaced(each) for name, each in value.items()}
        return type(value)(map(self.replaced, value)) if isinstance(value, list | tuple) else value

    def in_column(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which cells of a text column may hold the id; quick, and never too few."""
        found = pc.match_substring(column, self._plain)
        for form in self._forms - {self._plain}:
            found = pc.or_(found, pc.match_substring(column, form))
        return pc.fill_null(found, False)


def clean_parquet(path: Path, target: Path, traces: Traces) -> bool:
    """Write a Parquet file with the pseudonym in place of the id, if it holds it; no row and no note of it is lost.

    One row group is in memory at a time.
    """
    file = pq.ParquetFile(path)
    numbers = range(file.num_row_groups)
    if not any(_cleaned(file.read_row_group(number), traces)[1] for number in numbers):
        return False
    notes = {key: value for key, value in (file.metadata.metadata or {}).items() if key != b"ARROW:schema"}
    with pq.ParquetWriter(target, file.schema_arrow.with_metadata(notes), compression="zstd") as writer:
        for number in numbers:
            writer.write_table(_cleaned(file.read_row_group(number), traces)[0])
    return True


def clean_lines(path: Path, target: Path, traces: Traces) -> bool:
    """Write a file of lines, plain or gzipped, without those that hold the id, if any does."""
    dropped = False
    with _opened(path, "rb") as old, _opened(target, "wb", like=path) as new:
        for line in old:
            if traces.in_bytes(line):
                dropped = True
            else:
                new.write(line)
    return dropped


def clean_json(path: Path, target: Path, traces: Traces) -> bool:
    """Write a JSON document without the list entries that hold the id, and elsewhere with the pseudonym.

    Where that is not enough, or the file is no JSON, nothing is written: it has to go.
    """
    with _opened(path, "rb") as file:
        data = file.read()
    if not traces.in_bytes(data):
        return False
    try:
        document = traces.replaced(_without_entries(json.loads(data), traces))
    except (ValueError, RecursionError):
        return True
    cleaned = json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
    if not traces.in_bytes(cleaned):
        with _opened(target, "wb", like=path) as out:
            out.write(cleaned)
    return True


def holds(path: Path, traces: Traces) -> bool:
    """Whether a file's bytes hold the id."""
    with _opened(path, "rb") as file:
        return any(traces.in_bytes(part) for part in _overlapping(file))


def _overlapping(file: IO[bytes], size: int = 2**20, overlap: int = 2**15) -> Iterator[bytes]:
    """A file in parts, each beginning with the end of the one before."""
    before = b""
    while part := file.read(size):
        yield before + part
        before = (before + part)[-overlap:]


def _opened(path: Path, mode: str, like: Path | None = None) -> Any:
    with (like or path).open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return gzip.open(path, mode) if packed else path.open(mode)


def _without_entries(value: Any, traces: Traces) -> Any:
    if isinstance(value, list):
        return [each for each in value if not traces.in_value(each)]
    if isinstance(value, dict):
        return {name: _without_entries(each, traces) for name, each in value.items()}
    return value


def _cleaned(table: pa.Table, traces: Traces) -> tuple[pa.Table, bool]:
    """A table without the id, and whether it held it."""
    changed = False
    for place, field in enumerate(table.schema):
        if field.name in SHOPS_OWN:
            continue
        column = _clean_column(table[place], traces)
        if column is not None:
            table, changed = table.set_column(place, field, column), True
    return table, changed


def _clean_column(column: pa.ChunkedArray, traces: Traces) -> pa.ChunkedArray | None:
    """The column without the id; None where it does not hold it."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        # a dictionary may hold values that no row has, and they are written, too
        known = pa.chunked_array([chunk.dictionary for chunk in column.chunks], kind.value_type)
        held = _clean_column(known, traces) is not None
        plain = column.cast(kind.value_type)
        return (_clean_column(plain, traces) or plain).dictionary_encode().cast(kind) if held else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        if not pc.any(traces.in_column(column)).as_py():
            return None
    elif not pa.types.is_nested(kind):
        return None
    values = column.to_pylist()
    cleaned = [traces.replaced(value) for value in values]
    return None if cleaned == values else pa.chunked_array([pa.array(cleaned, kind)])
