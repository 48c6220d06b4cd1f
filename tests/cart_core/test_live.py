"""Shoppers who drive a running server: bounded, repeatable, and counted."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from cart_core.api import Settings, create_app
from cart_core.client import CartClient
from cart_core.live import LiveReport, Pace, shop_live
from cart_core.store import MemoryStore
from tests.cart_core.api.running import looping


def free() -> Pace:
    """A pace that holds nobody up."""
    return Pace(1e9, now=lambda: 0.0, pause=lambda _: None)


def visit(store: MemoryStore, seed: int) -> LiveReport:
    """Forty shoppers on a server over a store."""
    with looping(create_app(Settings(Path("unused")), store)) as transport:
        return shop_live(
            lambda user: CartClient("http://localhost", user=user, transport=transport),
            carts=40,
            pace=free(),
            seed=seed,
        )


def test_what_shoppers_report_is_in_the_store() -> None:
    """As many carts and orders as they say, and nothing failed."""
    store = MemoryStore()
    report = visit(store, 1)
    ids = store.scan(columns=["cart_id"]).unique().collect()["cart_id"]
    states = [store.cart(str(UUID(bytes=each))) for each in ids]
    assert (report.carts, report.failed) == (40, 0)
    assert len(states) == 40
    assert sum(state.status == "checked_out" for state in states) == report.orders > 0
    assert all(state.charged_total_cents in (None, state.total_cents) for state in states)


def test_the_same_seed_sends_the_same_shoppers() -> None:
    """Another seed sends others."""
    one, again, other = (visit(MemoryStore(), seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_the_pace_is_kept() -> None:
    """Four a second, from the first on, however many ask; a caller who comes late waits for nobody."""
    now, pauses = [0.0], list[float]()
    pace = Pace(4, now=lambda: now[0], pause=pauses.append)
    for _ in range(3):
        pace.wait()
    now[0] = 10.0
    pace.wait()
    pace.wait()
    assert pauses == [0.0, 0.25, 0.5, 0.0, 0.25]
