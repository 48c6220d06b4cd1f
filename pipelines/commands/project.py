"""The command that folds every cart of a store into two files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("project")(project)


def project(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The folder for carts.parquet and lines.parquet.")],
    engine: Annotated[str, typer.Option(help="Where the fold runs: local or spark.")] = "local",
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what had happened by then (RFC 3339).")
    ] = None,
    known_at: Annotated[str | None, typer.Option(metavar="TIME", help="Only what was recorded by then.")] = None,
    until: Annotated[int | None, typer.Option(metavar="POSITION", help="Only events up to this position.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fold every cart: carts.parquet and lines.parquet, now or as of any moment."""
    from cart_core.projector.streaming import Moment
    from pipelines import engines

    moment = Moment(output.moment(as_of), output.moment(known_at), until)
    with session(context).store() as store, output.progress("folding carts") as tell:
        total = store.position()
        done = engines.engine(engine).project(store, out, moment, tell=lambda events: tell(events, total))
    if as_json:
        output.document({"events": done.events, "carts": done.carts, "lines": done.lines, "out": str(out)})
    else:
        output.lines(f"folded {done.events:,} events into {done.carts:,} carts and {done.lines:,} lines in {out}")
