"""What carts are: the fold of one cart, and of a whole table of events.

The tables and the compiled fold are loaded on first use, so that showing one cart stays quick to start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cart_core.projector.one import CartFold, CartState, Coupon, Line, fold

if TYPE_CHECKING:
    from cart_core.projector.many import fold_table
    from cart_core.projector.tables import CARTS, LINES, CartTables

__all__ = ["CARTS", "LINES", "CartFold", "CartState", "CartTables", "Coupon", "Line", "fold", "fold_table"]

_LATE = {
    "fold_table": "cart_core.projector.many",
    "CARTS": "cart_core.projector.tables",
    "LINES": "cart_core.projector.tables",
    "CartTables": "cart_core.projector.tables",
}


def __getattr__(name: str) -> object:
    """Load what needs pyarrow or numba on first use."""
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
