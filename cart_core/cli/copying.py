"""The command that copies a store to another catalog or another place."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, ToCatalog, ToSegments, session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("copy-store")(copy_store)


def copy_store(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The folder of the copy, not there yet.")],
    to_catalog: ToCatalog = None,
    to_segments: ToSegments = None,
    as_json: AsJson = False,
) -> None:
    """Copy the store unchanged to another catalog or place, and verify the copy; all of it, or nothing."""
    from cart_core.store.copying import copy_store as copied

    with session(context).store() as store:
        done = copied(store, target, catalog_url=to_catalog, segments=to_segments)
    if as_json:
        output.document(asdict(done))
    else:
        output.lines(
            f"copied and verified {done.events:,} events in {done.segments} segments, {done.users:,} users",
            f"chain head {done.head}, as before",
            f"use it with: cart --store {target}",
        )
