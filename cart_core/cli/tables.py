"""Commands that give tables: export and sql."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session

if TYPE_CHECKING:
    from collections.abc import Sequence


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export)
    app.command("sql")(sql)


def export(
    context: typer.Context,
    what: Annotated[Literal["events", "carts", "lines"], typer.Argument(help="events, carts or lines.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .jsonl, .parquet or .csv.")],
    as_json: AsJson = False,
) -> None:
    """Write events, carts or lines to a file; it appears whole or not at all."""
    from cart_core import exporting

    with session(context).store() as store, output.progress(f"exporting {what}") as tell:
        rows = exporting.export(store, what, file, progress=tell)
    if as_json:
        output.document({"rows": rows, "file": str(file)})
    else:
        output.lines(f"wrote {rows:,} {what} to {file}")


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A DuckDB query over events, carts, lines and every derived table.")],
    as_json: AsJson = False,
) -> None:
    """Ask the store in SQL; the query can read the store and nothing else."""
    from cart_core.store import duck

    with session(context).store() as store:
        columns, rows = duck.query(store, query)
    if as_json:
        output.document([dict(zip(columns, map(_plain, row), strict=True)) for row in rows])
    else:
        output.table(columns, [[_text(cell) for cell in row] for row in rows], right=_numbers(rows, len(columns)))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else _text(value)


def _text(value: Any) -> Any:
    from datetime import datetime

    from cart_core import rules

    return rules.format_time(value) if isinstance(value, datetime) and value.tzinfo else value


def _numbers(rows: Sequence[Sequence[Any]], width: int) -> list[int]:
    return [place for place in range(width) if rows and isinstance(rows[0][place], int | float)]
