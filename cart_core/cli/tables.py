"""Commands that give tables: export and sql."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cart_core.projector.streaming import Moment

AsOf = Annotated[str | None, typer.Option(metavar="TIME", help="Only what had happened by then (RFC 3339).")]
KnownAt = Annotated[str | None, typer.Option(metavar="TIME", help="Only what was recorded by then.")]
Until = Annotated[int | None, typer.Option(metavar="POSITION", help="Only events up to this position.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export)
    app.command("sql")(sql)


def export(
    context: typer.Context,
    what: Annotated[Literal["events", "carts", "lines"], typer.Argument(help="events, carts or lines.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .jsonl, .parquet or .csv.")],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Write events, carts or lines to a file, now or as of any moment; it appears whole or not at all."""
    from cart_core import exporting

    with session(context).store() as store, output.progress(f"exporting {what}") as tell:
        rows = exporting.export(store, what, file, tell, _moment(as_of, known_at, until))
    if as_json:
        output.document({"rows": rows, "file": str(file)})
    else:
        output.lines(f"wrote {rows:,} {what} to {file}")


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A DuckDB query over events, carts, lines and every derived table.")],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Ask the store in SQL; the query can read the store and nothing else.

    As of a moment there are events, carts and lines alone: derived tables are of the moment they were derived at.
    """
    from cart_core.store.reading import duck

    with session(context).store() as store:
        columns, rows = duck.query(store, query, _moment(as_of, known_at, until))
    if as_json:
        output.document([dict(zip(columns, map(_plain, row), strict=True)) for row in rows])
    else:
        output.table(columns, [[_text(cell) for cell in row] for row in rows], right=_numbers(rows, len(columns)))


def _moment(as_of: str | None, known_at: str | None, until: int | None) -> Moment:
    from cart_core.projector.streaming import Moment

    return Moment(output.moment(as_of), output.moment(known_at), until)


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
