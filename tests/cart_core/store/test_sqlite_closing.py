"""Closing a store that other threads still read."""

from __future__ import annotations

import threading
from pathlib import Path

from cart_core.store import CartStore


def test_closing_waits_for_the_transaction_of_another_thread(tmp_path: Path):
    """A connection is never closed under a statement, which would end the process: its reader ends first."""
    store = CartStore.open(tmp_path)
    began, ends, ended = threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        with store.catalog.reading() as db:
            began.set()
            ends.wait(60)
            assert db.execute("SELECT position FROM state").fetchone() == (0,)
            ended.set()

    reader, closer = threading.Thread(target=read), threading.Thread(target=store.close)
    reader.start()
    began.wait(60)
    closer.start()
    closer.join(0.2)
    assert closer.is_alive()
    ends.set()
    reader.join(60)
    closer.join(60)
    assert (ended.is_set(), closer.is_alive()) == (True, False)
