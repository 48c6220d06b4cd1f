"""The command that takes a figure apart: from a row of a derived table to carts and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session

if TYPE_CHECKING:
    import polars as pl

    from pipelines.derive.explain import Explanation

SHOWN_PARTS = 20
EVENT_COLUMNS = ("cart_id", "version", "event_id", "type", "timestamp", "product_id")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    context: typer.Context,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A derived table, such as funnel_steps.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The row's key: its values in order, with commas between.")],
    column: Annotated[
        str | None, typer.Argument(metavar="[COLUMN]", help="Only what adds to this figure, or to its ratio's terms.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many parts to print; --json gives all.")] = SHOWN_PARTS,
    as_json: AsJson = False,
) -> None:
    """Take a figure apart: the carts and events behind one row of a derived table, and what they add up to."""
    from pipelines.derive import explain as explaining
    from pipelines.shop import evidence_for

    chosen = session(context)
    chosen.store().close()
    wanted = explaining.key_of(table, key)
    evidence = evidence_for(chosen.path, table)
    told = explaining.explain(table, wanted, evidence, column)
    events = told.events(evidence)
    if as_json:
        output.document(_document(told, events))
    else:
        _print(told, events, show)


def _document(told: Explanation, events: pl.DataFrame) -> dict[str, Any]:
    from pipelines.commands.cells import plain, plain_rows
    from pipelines.tables import ids_as_text

    return {
        "table": told.table,
        "row": plain(told.row),
        "sums": told.sums,
        "differences": {name: list(pair) for name, pair in told.differences.items()},
        "parts": plain_rows(told.parts),
        "carts": told.carts,
        "events": plain_rows(ids_as_text(events.select(EVENT_COLUMNS))),
    }


def _print(told: Explanation, events: pl.DataFrame, show: int) -> None:
    from pipelines.commands.cells import text
    from pipelines.tables import TABLES

    key = ", ".join(f"{name} {text(told.row[name])}" for name in TABLES[told.table].key)
    output.lines(f"{told.table}: {key}", TABLES[told.table].meaning, "")
    sums = [(name, text(told.row.get(name)), text(total)) for name, total in told.sums.items()]
    if sums:
        output.table(("figure", "in the table", "its parts"), sums, right=(1, 2))
    if told.differences:
        output.lines("", f"These do not add up: {', '.join(told.differences)}. Derive the table anew (cart refresh).")
    carts, parts = told.carts, told.parts
    shown = "" if parts.height <= show else f"; the first {show}"
    output.lines("", f"{parts.height:,} parts of {len(carts):,} carts stand on {events.height:,} events{shown}")
    head = parts.head(show)
    output.table(head.columns, [[text(cell) for cell in row] for row in head.iter_rows()])
    if carts:
        output.lines("", f"One cart's whole story: cart history {carts[0]}")
