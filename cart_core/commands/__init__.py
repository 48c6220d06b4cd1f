"""What may be asked of a cart: commands and the events that follow from them, undo and redo. Pure."""

from cart_core.commands.decide import decide
from cart_core.commands.undo import redo, undo
from cart_core.commands.words import (
    MAX_QUANTITY,
    REFUSALS,
    AddItem,
    ApplyCoupon,
    Command,
    CompleteCheckout,
    Decision,
    ExpireCoupon,
    HandOver,
    MarkAbandoned,
    MergeCart,
    RemoveCoupon,
    RemoveItem,
    SetQuantity,
    StartCheckout,
    Strategy,
    UpdatePrice,
)

__all__ = [
    "MAX_QUANTITY",
    "REFUSALS",
    "AddItem",
    "ApplyCoupon",
    "Command",
    "CompleteCheckout",
    "Decision",
    "ExpireCoupon",
    "HandOver",
    "MarkAbandoned",
    "MergeCart",
    "RemoveCoupon",
    "RemoveItem",
    "SetQuantity",
    "StartCheckout",
    "Strategy",
    "UpdatePrice",
    "decide",
    "redo",
    "undo",
]
