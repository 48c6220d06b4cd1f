"""The ``cart`` commands that need pipelines: each loads what it needs only when it runs."""

from __future__ import annotations

from importlib import import_module

import typer

MODULES = ("campaign", "dashboard", "demo", "explain", "hand_in", "project", "refresh", "restatements")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name in MODULES:
        import_module(f"pipelines.commands.{name}").register(app)


# The root of the command loads this package: it comes first, whichever of the two a caller names.
import_module("cart_core.cli")
