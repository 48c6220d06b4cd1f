"""A store to tamper with, and the tools of somebody who has write access to every file of it."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from cart_core.events import CheckoutCompleted, ItemAdded, PriceUpdated
from cart_core.store import CartStore
from tests.cart_core.store.builders import MUG, POT, START, envelope, life, named
from tests.cart_core.store.conftest import SteppingClock

LATER = START + timedelta(days=1)
RICH = (
    ItemAdded("pan", "Pan", 1, 5900, "USD", "https://shop.example/pan.png"),
    PriceUpdated("pan", 5900, 4900, "sale"),
    CheckoutCompleted("order 1", 4900),
)


OTHER: dict[str, object] = {
    "event_id": b"\7" * 16,
    "cart_id": b"\7" * 16,
    "version": 9,
    "user_key": 1,
    "timestamp": LATER,
    "recorded_at": LATER,
    "type": "ItemRemoved",
    "product_id": "cup",
    "product_name": "Cup",
    "quantity": 99,
    "old_quantity": 7,
    "price_cents": 1,
    "old_price_cents": 2,
    "currency": "EUR",
    "image_url": "https://shop.example/cup.png",
    "coupon_code": "HALF",
    "discount_type": "fixed",
    "discount_value": 5.0,
    "reason": "mistake",
    "last_activity_at": LATER,
    "order_id": "order 2",
    "total_cents": 1,
    "metadata": [("session", "other")],
}


def make(folder: Path) -> Path:
    """A store with two batches from the journal, one that came as a file of its own, and a journal of six events."""
    with CartStore.open(folder, clock=SteppingClock(), journal_rows=8) as store:
        store.append_many(life("a", "ann"))
        store.seal()
        store.append_many([envelope("b", place, event, user="bob") for place, event in enumerate(RICH, 1)])
        store.append(named("b"), [MUG], "bob", 3, metadata={"session": "s"}, timestamp=START)
        store.seal()
        store.append_many(life("c", "eve") + life("d", "eve"))
        store.append(named("a"), [POT], "ann", 5, metadata={"session": "t"}, timestamp=START)
        store.append_many(life("e", "ann"))
        assert store.verify().problems == []
    return folder


def problems(folder: Path) -> list[str]:
    """What ``verify`` finds."""
    with CartStore.open(folder) as store:
        return store.verify().problems


def alter(folder: Path, *statements: str) -> None:
    """Run statements on the catalog as its owner can: triggers dropped."""
    db = sqlite3.connect(folder / "catalog.sqlite")
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        assert db.execute(statement).rowcount != 0
    db.commit()
    db.close()


def files(folder: Path) -> list[Path]:
    """The segment files by position, writable."""
    found = sorted((folder / "segments").iterdir())
    for each in found:
        each.chmod(0o644)
    return found


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)
