"""The command that shows every setting, its value, and where that came from."""

from __future__ import annotations

from typing import Any

import typer

from cart_core import settings
from cart_core.cli import output
from cart_core.cli.output import AsJson, session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("config")(config)


def config(context: typer.Context, as_json: AsJson = False) -> None:
    """Show each setting, its value, and where it came from; secrets are hidden."""
    folder = session(context).path
    above = context.parent or context
    source = above.get_parameter_source("store")
    given = str(folder) if source is not None and source.name == "COMMANDLINE" else None
    found = settings.known(folder, given={"store": given})
    mistyped = settings.unknown()
    if as_json:
        output.document({"settings": [_document(each) for each in found.values()], "unknown": mistyped})
        return
    output.table(
        ["setting", "value", "from", "variable"],
        [[each.setting.name, each.shown, each.source, each.setting.variable] for each in found.values()],
    )
    for name in mistyped:
        output.lines(f"{name} is set, but is no setting of this program")


def _document(each: settings.Known) -> dict[str, Any]:
    return {
        "name": each.setting.name,
        "value": each.shown,
        "source": each.source,
        "variable": each.setting.variable,
        "meaning": each.setting.meaning,
    }
