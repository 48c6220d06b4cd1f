"""Files of comma-separated values, run by run, as columns of text; what is no row of the table is set aside."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core.errors import Problem, SourceError, shown
from cart_core.importers.ids import Whole
from cart_core.importers.lines import Lines, read_lines
from cart_core.importers.set_aside import SetAside
from cart_core.importers.sources import Options

SEPARATOR = b"\x1f"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of the ``number``-th file: their numbers, their texts, and a column of text for each name of its header.

    ``read`` counts all rows, with those that are set aside.
    """

    number: int
    file: str
    rows: Whole
    raw: pa.Array
    columns: dict[str, pa.Array]
    set_aside: list[SetAside]

    @property
    def read(self) -> int:
        """How many rows were read, with those that are set aside."""
        return len(self.rows) + len(self.set_aside)


def read_columns(
    files: Sequence[str], options: Options, needed: Sequence[str], even: str | None = None
) -> Iterator[Chunk]:
    """The rows of files with a header, in runs; columns are named in lower case.

    Where the column ``even``, whose values are all of one length, is the last, a shorter value at the very end of a
    file tells that the file is cut there. Raises SourceError where a file is empty or its header lacks one of the
    ``needed`` columns.
    """
    header: list[str] = []
    seen: set[int] = set()
    for lines in read_lines(files, options):
        seen.add(lines.number)
        if lines.begins:
            header = _header(lines, needed)
        yield _chunk(lines, header, even)
    for number, file in enumerate(files):
        if number not in seen:
            raise SourceError(f"{file} is empty: it should begin with a line that names {', '.join(needed)}")


def _header(lines: Lines, needed: Sequence[str]) -> list[str]:
    first = lines.texts[0].decode() if lines.texts else ""
    header = [name.strip().lower() for name in next(csv.reader([first]), [])]
    missing = [name for name in needed if name not in header]
    if missing:
        raise SourceError(f"{lines.file} has no column {', '.join(missing)}: it begins with {shown(first)}")
    return header


def _chunk(lines: Lines, header: list[str], even: str | None) -> Chunk:
    skipped = int(lines.begins)
    texts, rows = lines.texts[skipped:], lines.rows[skipped:]
    fields = _fields(texts)
    counts = fields.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    whole = counts == len(header)
    if lines.cut and len(whole) and header[-1] == even:
        whole[-1] &= not _ends_short(texts)
    refused = [
        _refused(lines, texts[place], rows[place], int(counts[place]), len(header)) for place in np.flatnonzero(~whole)
    ]
    fields = fields.filter(pa.array(whole))
    flat = fields.flatten()
    columns = {name: flat.take(pa.array(np.arange(place, len(flat), len(header)))) for place, name in enumerate(header)}
    raw = pa.array(texts, pa.binary()).filter(pa.array(whole))
    kept = np.array(rows, np.int64)[whole]
    return Chunk(lines.number, lines.file, kept, raw, columns, [*lines.set_aside, *refused])


def _fields(texts: list[bytes]) -> pa.Array:
    """The fields of each line."""
    if any(b'"' in text for text in texts):
        return pc.split_pattern(pa.array([_separated(text) for text in texts], pa.string()), SEPARATOR.decode())
    return pc.split_pattern(pa.array(texts, pa.string()), ",")


def _separated(text: bytes) -> bytes:
    """A line with its fields parted by a character that stands in none of them; quoted fields lose their quotes.

    A line that is no such thing stays as it is.
    """
    if b'"' not in text:
        return text.replace(b",", SEPARATOR)
    try:
        return SEPARATOR.join(field.encode() for field in next(csv.reader([text.decode()])))
    except csv.Error:
        return text


def _ends_short(texts: list[bytes]) -> bool:
    """Whether the last field of the last line is shorter than that of the line before: a cut leaves it so."""
    last, before = (text.rpartition(b",")[2] for text in (texts[-1], texts[-2] if len(texts) > 1 else texts[-1]))
    return len(last) < len(before)


def _refused(lines: Lines, text: bytes, row: int, found: int, wanted: int) -> SetAside:
    is_cut = lines.cut and row == lines.rows[-1]
    rule = f"{wanted} values, as the header has" if found != wanted else "complete: the file ends in the middle of it"
    problem = Problem("row", f"{found} values", rule)
    return SetAside(lines.file, row, "cut_line" if is_cut else "wrong_columns", [problem], text)
