"""The root of the ``cart`` command: the store option, and the commands of this package and of others."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from cart_core.cli import audit, backup, carts, config, copying, events, evidence, maintenance, output, tables

COMMAND_GROUP = "cart_core.commands"

app = typer.Typer(
    name="cart",
    help="Shopping carts that remember everything: an append-only store of cart events, and what it tells.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(*, wanted: bool) -> None:
    if wanted:
        import cart_core

        typer.echo(cart_core.__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    store: Annotated[Path, typer.Option(envvar="CART_STORE", help="The store's folder.", show_default=True)] = Path(
        "data/store"
    ),
    _version_wanted: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda value: _version(wanted=value), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Name the store that the command works on."""
    context.obj = output.Session(store)


events.register(app)
carts.register(app)
evidence.register(app)
audit.register(app)
tables.register(app)
maintenance.register(app)
copying.register(app)
config.register(app)
backup.register(app)
for _point in entry_points(group=COMMAND_GROUP):
    _point.load()(app)
