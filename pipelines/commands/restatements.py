"""The command that tells what late events changed about figures that were known before."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session

SHOWN = ("cart_id", "last_activity_at", "change", "fields", "outcome_1", "outcome_2", "value_cents_1", "value_cents_2")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("restatements")(restatements)


def restatements(
    context: typer.Context,
    known_at_1: Annotated[str, typer.Option("--from", metavar="TIME", help="What was known then (RFC 3339) ...")],
    known_at_2: Annotated[str, typer.Option("--to", metavar="TIME", help="... against what was known then.")],
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="The moment that both are as of; default that of --from.")
    ] = None,
    idle_minutes: Annotated[int, typer.Option(min=1, help="Silence after which a cart counts as abandoned.")] = 60,
    window_days: Annotated[int, typer.Option(min=1, help="How long after it a checkout still counts.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Show what events that became known between two moments changed about the silences of carts."""
    from pipelines.commands.cells import plain_rows, text
    from pipelines.derive.abandonment import RESTATED_COLUMNS, restated
    from pipelines.shop import PlainShop

    first, then = (output.moment(each) for each in (known_at_1, known_at_2))
    chosen = session(context)
    chosen.store().close()
    with PlainShop(chosen.path).history() as history:
        idle, window = timedelta(minutes=idle_minutes), timedelta(days=window_days)
        batches = history.batches(RESTATED_COLUMNS)
        found = restated(batches, first, then, output.moment(as_of), idle, window)  # type: ignore[arg-type]
    if as_json:
        output.document(plain_rows(found))
        return
    output.lines(f"{found.height} silences are told otherwise than they were known at {known_at_1}")
    if found.height:
        output.table(SHOWN, [[text(cell) for cell in row] for row in found.select(SHOWN).iter_rows()], right=(6, 7))
