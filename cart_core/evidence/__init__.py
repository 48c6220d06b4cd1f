"""The price proof that settles a dispute: what a product cost in a cart, when, and how to check it offline."""

from cart_core.evidence.check import check_pack
from cart_core.evidence.pack import cart_of_order, make_pack, read_pack, write_pack, write_sums
from cart_core.evidence.printing import print_pdf
from cart_core.evidence.proofs import unproved
from cart_core.evidence.story import story

__all__ = [
    "cart_of_order",
    "check_pack",
    "make_pack",
    "print_pdf",
    "read_pack",
    "story",
    "unproved",
    "write_pack",
    "write_sums",
]
