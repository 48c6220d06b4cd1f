"""Imported by the process that children are forked from: all is done once, so that each child starts in no time.

All but what makes Polars start its threads: they would be missing in a child, which waits for them for ever.
"""

import tempfile
from pathlib import Path

from cart_core.store import CartStore
from tests.cart_core.store.builders import MUG, life, named

with tempfile.TemporaryDirectory() as folder, CartStore.open(folder, journal_rows=8) as store:
    for name in ("a", "b"):
        store.append(named(name), [MUG], "ann", 0)
        store.append_many([*life(f"{name} 1"), *life(f"{name} 2")])
        store.seal()
    store.compact()

assert not [task for task in Path("/proc/self/task").glob("*/comm") if task.read_text() == "polars-0\n"]
