"""The derived tables as a page: what a row is, its key, and every column with type, unit and meaning.

``python -m pipelines.tables.listing < docs/metrics.md > metrics.new`` reads the page and writes it with the listing
below the line that is MARK.
"""

from __future__ import annotations

import sys
from typing import Any

import polars as pl

from pipelines.tables import INPUTS, TABLES, Column, Table

MARK = "<!-- below this line: written by python -m pipelines.tables.listing -->"


def listing() -> str:
    """All tables as Markdown, the derived ones first, then what a shop hands in."""
    derived = "\n\n".join(_section(table) for table in TABLES.values())
    given = "\n\n".join(_section(table) for table in INPUTS.values())
    return f"## Columns of the derived tables\n\n{derived}\n\n## Columns of what a shop hands in\n\n{given}\n"


def put_into(page: str) -> str:
    """The page with the listing below its mark. Raises ValueError where there is no mark."""
    above, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"the page has no line {MARK!r}")
    return f"{above}{MARK}\n\n{listing()}"


def _section(table: Table) -> str:
    key = f"Key: {', '.join(table.key)}." if table.key else "No key: rows may repeat."
    head = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    return "\n".join([f"### {table.name}", "", f"{table.meaning} {key}", "", *head, *map(_line, table.columns)])


def _line(column: Column) -> str:
    null = f" Null {column.null}." if column.null else ""
    return f"| {column.name} | {_kind(column.dtype)} | {column.unit} | {column.meaning}{null} |"


def _kind(dtype: Any) -> str:
    """A polars type in the page's words: times are microseconds in UTC."""
    if isinstance(dtype, pl.Datetime):
        return "Datetime"
    if isinstance(dtype, pl.List):
        return f"List of {_kind(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return ", ".join(f"{field.name} {_kind(field.dtype)}" for field in dtype.fields)
    return str(dtype)


if __name__ == "__main__":
    sys.stdout.write(put_into(sys.stdin.read()))
