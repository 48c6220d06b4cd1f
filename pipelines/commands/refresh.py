"""Commands that derive a store's tables and make its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("refresh")(refresh)
    app.command("report")(report)


def refresh(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="The moment that figures are as of (RFC 3339); default now.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Only this table, and those made in one step with it; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Derive every table in this process, as Dagster would, check them, and write the report."""
    from pipelines.defs import in_process

    chosen = session(context)
    with chosen.store():
        done = in_process.refresh(chosen.path, output.moment(as_of), table)
    rows = {name: told.get("dagster/row_count") for name, told in done.told.items()}
    if as_json:
        output.document({"tables": rows, "checks": done.checks})
        return
    output.table(
        ("table", "rows"), [(name, "" if count is None else f"{count:,}") for name, count in rows.items()], (1,)
    )
    failed = [name for name, held in done.checks.items() if not held]
    output.lines(f"{len(done.checks) - len(failed)} of {len(done.checks)} checks hold", *failed)


def report(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="The file to write; default derived/report.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of the derived tables as one HTML file that needs no network."""
    from pipelines.dashboard import report as pages

    chosen = session(context)
    with chosen.store():
        path = pages.write(chosen.path / "derived", out)
    if as_json:
        output.document({"report": str(path)})
    else:
        output.lines(f"wrote {path}")
