"""Commands that back a store up and restore it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import output
from cart_core.cli.output import AsJson, ToCatalog, ToSegments, session

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup, which holds nothing else.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(context: typer.Context, folder: Folder, as_json: AsJson = False) -> None:
    """Bring a backup to where the store stands now, while writers go on; segments it holds are not copied again."""
    from cart_core.store.backup import back_up

    with session(context).store() as store:
        done = back_up(store, folder)
    if as_json:
        output.document(asdict(done))
    else:
        output.lines(
            f"backed up to position {done.position:,}: {done.copied} segments copied, {done.kept} were there, "
            f"and {done.files} other files",
        )


def restore(
    context: typer.Context,
    folder: Folder,
    to_catalog: ToCatalog = None,
    to_segments: ToSegments = None,
    as_json: AsJson = False,
) -> None:
    """Make the store, in a folder that is not there yet, of a backup, and verify it; all of it, or nothing."""
    from cart_core.store.backup import restore as restored

    done = restored(folder, session(context).path, catalog_url=to_catalog, segments=to_segments)
    if as_json:
        output.document(asdict(done))
    else:
        output.lines(
            f"restored and verified {done.events:,} events in {done.segments} segments, chain head {done.head}"
        )
