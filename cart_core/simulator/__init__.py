"""A seeded shop with known truth: events, views, exposures and contacts as a real shop would leave them.

The compiled shop is loaded on first use, so that importing the package stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cart_core.simulator.behaviour import Behaviour
from cart_core.simulator.truth import Effect, Truth

if TYPE_CHECKING:
    from cart_core.simulator.parts import Chunk, chunks
    from cart_core.simulator.run import simulate
    from cart_core.simulator.shop import Shop

__all__ = ["Behaviour", "Chunk", "Effect", "Shop", "Truth", "chunks", "simulate"]

_LATE = {"Chunk": "parts", "Shop": "shop", "chunks": "parts", "simulate": "run"}


def __getattr__(name: str) -> object:
    """Load the compiled shop on first use."""
    if name in _LATE:
        return getattr(import_module(f"cart_core.simulator.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
