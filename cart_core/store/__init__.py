"""The append-only store behind one door."""

from cart_core.store.memory import MemoryStore
from cart_core.store.results import Admission, Compacted, Sealed, Verified
from cart_core.store.store import CartStore

__all__ = ["Admission", "CartStore", "Compacted", "MemoryStore", "Sealed", "Verified"]
