"""The command that serves the dashboard on this machine."""

from __future__ import annotations

import os
import socket
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from cart_core.cli import output
from cart_core.cli.output import session
from cart_core.errors import Refused

SCRIPT = Path(__file__).with_name("dashboard_script.py")
LOOK = {
    "theme.light.backgroundColor": "page",
    "theme.light.secondaryBackgroundColor": "paper",
    "theme.light.textColor": "ink",
    "theme.light.primaryColor": "good",
    "theme.light.borderColor": "line",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dashboard")(dashboard)


def dashboard(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="The address to listen on; anything but loopback is open to others.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Serve the dashboard until Ctrl-C: funnels, experiments, recovery, coupons, one cart's life, data health."""
    chosen = session(context)
    chosen.store().close()
    try:
        from streamlit import net_util  # noqa: F401 - whether it is there is told before anything is started
        from streamlit.web import bootstrap
    except ImportError as error:
        raise Refused(
            "not_installed",
            f"cart dashboard needs the extra dashboard: pip install cart-workbench[dashboard] ({error})",
        ) from error
    _can_listen(host, port)
    os.environ["CART_STORE"] = str(chosen.path.resolve())
    _warm_up()
    settings = options(host, port)
    bootstrap.load_config_options(settings)
    output.lines(f"dashboard of {chosen.path}: http://{host}:{port} (Ctrl-C stops it)")
    bootstrap.run(str(SCRIPT), is_hello=False, args=[], flag_options=settings)


def _can_listen(host: str, port: int) -> None:
    """Raises Refused (cannot_listen) where somebody else listens there, or the address is not this machine's."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise Refused(
            "cannot_listen", f"nothing can listen on {host}:{port} ({error.strerror}): name another by --port"
        ) from error


def options(host: str, port: int) -> dict[str, Any]:
    """Streamlit's settings: this host and port alone, no telemetry, no mail prompt, no file watching; our colours."""
    from pipelines.dashboard.theme import DARK, LIGHT

    looks = {
        name.replace("light", mode): getattr(palette, role)
        for mode, palette in (("light", LIGHT), ("dark", DARK))
        for name, role in LOOK.items()
    }
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "logger.level": "warning",
        **looks,
    }


def _warm_up() -> None:
    """Load what the pages need, so that the first visitor does not wait for it."""
    for module in ("pipelines.dashboard.app", "vl_convert"):
        import_module(module)
