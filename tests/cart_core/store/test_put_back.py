"""P6, P7 and P9 after an earlier catalog was put back beside newer segments and caches, as a hasty restore does.

What came after it is gone, and nothing of it may show: not in a cart, an owner, a query of a moment or a position.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from cart_core.projector.streaming import Moment
from cart_core.store import CartStore
from cart_core.store.reading import duck
from tests.cart_core.store.builders import MORE_MUGS, MUG, POT, life, named
from tests.cart_core.store.conftest import SteppingClock

SPAN = timedelta(hours=1)


def asked(store: CartStore, until: int | None = None) -> list[tuple[object, ...]]:
    """Carts by SQL, of a moment or now."""
    sql = "SELECT cart_id, version, total_cents FROM carts ORDER BY 1"
    return duck.query(store, sql, Moment(until=until))[1]


def folded(store: CartStore) -> list[tuple[object, ...]]:
    """The same, cart by cart."""
    ids = sorted({str(UUID(bytes=each)) for each in store.scan().collect()["cart_id"]})
    carts = [store.cart(each) for each in ids]
    return [(each.cart_id, each.version, each.total_cents) for each in carts]


def look(store: CartStore, until: int) -> None:
    """Ask in every way that leaves something in a cache."""
    asked(store)
    asked(store, until)
    for user in ("ann", "bob"):
        store.carts_of(user)
    store.verify()


@pytest.fixture(params=[0, 8, 10_000], ids=lambda rows: f"{rows} rows go through the journal")
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], CartStore]:
    """Open a store whose catalog is that of 11 events, with segments and caches of 22."""
    clock, home = SteppingClock(), tmp_path / "store"

    def opened() -> CartStore:
        return CartStore.open(home, clock=clock, journal_rows=request.param)

    with opened() as store:
        store.append_many([*life("a"), *life("b")])
        store.seal()
        store.append(named("n"), [MUG], "ann", 0)
    shutil.copy(home / "catalog.sqlite", tmp_path / "earlier")
    with opened() as store:
        store.append(named("n"), [POT], "ann", 1)
        look(store, 12)
        store.append_many([*life("c", "bob"), *life("d", "bob")])
        store.seal()
        store.compact(SPAN)
        look(store, 12)
    for path in home.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "earlier", home / "catalog.sqlite")
    return opened


def test_p7_a_store_put_back_is_as_it_was(reopened: Callable[[], CartStore]):
    """It verifies, and every door tells of the 11 events."""
    with reopened() as store:
        assert (store.verify().problems, store.position()) == ([], 11)
        assert asked(store) == asked(store, 11) == folded(store)
        assert (store.carts_of("bob"), len(store.carts_of("ann"))) == ([], 3)


def test_p6_p7_a_store_put_back_goes_on_with_other_events(reopened: Callable[[], CartStore]):
    """Other events at the positions of lost ones are those that are read, before and after sealing and compaction."""
    with reopened() as store:
        store.append(named("n"), [MORE_MUGS], "zed", 1)
        assert asked(store, 12) == asked(store) == folded(store)
        store.append_many([*life("e", "zed"), *life("f", "zed")])
        for _ in range(2):
            assert asked(store) == folded(store)
            assert asked(store, 12) == [row for row in folded(store) if row[0] not in {named("e"), named("f")}]
            assert (store.carts_of("bob"), len(store.carts_of("zed")), store.verify().problems) == ([], 3, [])
            assert store.scan().collect()["position"].sort().to_list() == list(range(1, 23))
            store.seal()
            store.compact(SPAN)


def test_p9_files_of_what_was_lost_are_swept_once_their_grace_is_over(reopened: Callable[[], CartStore]):
    """And none of those that the catalog names."""
    with reopened() as store:
        store.compact(timedelta(0))
        with store.catalog.reading() as db:
            names = {row[0] for row in db.execute("SELECT file FROM segments").fetchall()}
        assert {path.name for path in (store.path / "segments").iterdir()} >= names
        assert (store.verify().problems, asked(store)) == ([], folded(store))
