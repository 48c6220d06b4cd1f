"""The command that takes what a shop knows beside its events: contacts, stock, coupons, exposures, what was sent."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, session


class Given(StrEnum):
    """What can be handed in."""

    contacts = "contacts"
    coupons = "coupons"
    exposures = "exposures"
    sends = "sends"
    stock = "stock"
    views = "views"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("hand-in")(hand_in)


def hand_in(
    context: typer.Context,
    what: Annotated[Given, typer.Argument(help="What the file holds; Metrics in the docs has its columns.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON, JSON Lines or Parquet.")],
    add: Annotated[bool, typer.Option("--add", help="Add to what is there instead of replacing it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hand in what the shop knows beside its events; a file with an error changes nothing, and says where it is.

    The next run reads it. Views are always added. A row that is there already is not there twice, however often a
    file is added.
    """
    from pipelines.handing_in import hand_in as take
    from pipelines.tables import INPUTS

    chosen = session(context)
    chosen.store().close()
    done = take(chosen.path, what.value, file, add=add)
    if as_json:
        output.document({"table": what.value, "file": str(file), **asdict(done)})
        return
    output.lines(
        f"{done.rows} rows of {what.value} taken from {file}; {done.standing} are there now",
        *([f"left out: {', '.join(done.left_out)}"] if done.left_out else []),
        *(f"there is no column {name}: null {INPUTS[what.value].column(name).null}" for name in done.absent),
    )
