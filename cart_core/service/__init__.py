"""Commands carried out on the carts of a store, on behalf of shoppers and of the shop.

What scans the whole store is loaded on first use, so that changing one cart stays quick to start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cart_core.service.asks import REFUSALS, SHOP, Answer, Ask, MergeAsk, Redo, Undo, Who
from cart_core.service.carts import CartService
from cart_core.service.catalogue import Price, PriceCatalogue, read_prices

if TYPE_CHECKING:
    from cart_core.service.system import Changed, carry_out, expiry_asks, price_asks, read_coupon_ends

__all__ = [
    "REFUSALS",
    "SHOP",
    "Answer",
    "Ask",
    "CartService",
    "Changed",
    "MergeAsk",
    "Price",
    "PriceCatalogue",
    "Redo",
    "Undo",
    "Who",
    "carry_out",
    "expiry_asks",
    "price_asks",
    "read_coupon_ends",
    "read_prices",
]


def __getattr__(name: str) -> object:
    """Load what needs Polars and Arrow on first use."""
    if name in ("Changed", "carry_out", "expiry_asks", "price_asks", "read_coupon_ends"):
        from cart_core.service import system  # noqa: PLC0415 - the reason stands above

        return getattr(system, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
