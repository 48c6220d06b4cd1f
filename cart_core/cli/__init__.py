"""The ``cart`` command: parses, calls, prints; it holds no rule of its own."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from cart_core import logs, telemetry
from cart_core.cli.app import app
from cart_core.errors import CartError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command: exit 0 done, 1 refused or failed with one clear line on standard error, 2 wrong usage."""
    try:
        logs.set_up()
        telemetry.set_up()
        app(prog_name="cart")
    except (CartError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            sys.exit(0)
        sys.stderr.write(logs.error_line(error, datetime.now(UTC)))
        sys.exit(1)
