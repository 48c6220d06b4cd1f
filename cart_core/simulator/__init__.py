"""A seeded shop with known truth: events, views, exposures and contacts as a real shop would leave them.

The compiled shop is loaded on first use, so that importing the package stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cart_core.simulator.behaviour import Behaviour
from cart_core.simulator.truth import Effect, Truth

if TYPE_CHECKING:
    from cart_core.simulator.run import Chunk, Shop, chunks, simulate

__all__ = ["Behaviour", "Chunk", "Effect", "Shop", "Truth", "chunks", "simulate"]

_LATE = ("Chunk", "Shop", "chunks", "simulate")


def __getattr__(name: str) -> object:
    """Load the compiled shop on first use."""
    if name in _LATE:
        return getattr(import_module("cart_core.simulator.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
