"""Commands carried out on the carts of a store, on behalf of shoppers and of the shop."""

from cart_core.service.asks import REFUSALS, SHOP, Answer, Ask, MergeAsk, Redo, Undo, Who
from cart_core.service.carts import CartService
from cart_core.service.catalogue import Price, PriceCatalogue, read_prices
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
