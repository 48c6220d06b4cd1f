"""Commands carried out on the carts of a store, on behalf of shoppers and of the shop."""

from cart_core.service.asks import REFUSALS, SHOP, Answer, Ask, MergeAsk, Redo, Undo, Who
from cart_core.service.carts import CartService
from cart_core.service.catalogue import Price, PriceCatalogue, read_prices

__all__ = [
    "REFUSALS",
    "SHOP",
    "Answer",
    "Ask",
    "CartService",
    "MergeAsk",
    "Price",
    "PriceCatalogue",
    "Redo",
    "Undo",
    "Who",
    "read_prices",
]
