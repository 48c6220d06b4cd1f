"""The command ``cart serve``, which the ``cart`` command finds through its entry point."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cart_core.api.settings import VARIABLES, Settings, trust_from
from cart_core.errors import Refused

TOKENS = "Tokens are set up by environment variables: " + "; ".join(
    f"{name}, {told}" for name, told in VARIABLES.items()
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", epilog=TOKENS)(serve)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="How many processes answer, all on the one store.")] = 1,
    prices: Annotated[
        Path | None,
        typer.Option(
            envvar="CART_PRICES", help="A catalogue (.parquet or .csv) that shoppers' prices must agree with."
        ),
    ] = None,
    *,
    access_log: Annotated[bool, typer.Option(help="Write one JSON object a line for each request.")] = True,
) -> None:
    """Serve the HTTP API. Without token settings it listens on loopback only, and everybody there may do everything."""
    settings = Settings(context.obj.path, host, port, workers, trust_from(os.environ), prices, access_log)
    try:
        from cart_core.api import server  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Refused(
            "not_installed", f"serving needs the extra api: pip install cart-workbench[api] ({error})"
        ) from error
    if settings.open:
        sys.stderr.write("no token settings: listening on loopback only, and whoever is there may do everything\n")
    server.serve(settings, typer.echo)
