"""Shopping carts as append-only streams of events: a cart is the fold of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cart_core.store import CartStore

__all__ = ["CartStore"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the store on first use, so that ``import cart_core.events`` stays light."""
    if name == "CartStore":
        from cart_core.store import CartStore

        return CartStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
