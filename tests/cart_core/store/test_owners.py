"""A user's carts are found without reading the store, and are those that a reading of it would find."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core.store import CartStore
from cart_core.store.catalogs import catalog
from tests.cart_core.store.builders import LIFE, named

USERS = ["ann", "bob", "eve"]
STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(USERS), st.sampled_from(["", "", "seal", "compact"])),
    max_size=12,
)


def by_reading(store: CartStore, user: str) -> list[str]:
    """The user's carts, by a look at every event."""
    rows = store.scan(columns=["position", "cart_id", "user_id"]).collect().sort("position").to_dicts()
    latest = {row["cart_id"]: row["position"] for row in rows if row["user_id"] == user}
    return [each.hex() for each in sorted(latest, key=latest.__getitem__, reverse=True)]


def found(store: CartStore, user: str) -> list[str]:
    """The same by the store's own call."""
    return [each.replace("-", "") for each in store.carts_of(user)]


@given(STEPS)
@settings(max_examples=25)
def test_law_every_cart_of_a_user_is_found(steps: list[Any]) -> None:
    """Carts touched by one user or several, in the journal and in segments, latest first."""
    with tempfile.TemporaryDirectory() as folder, CartStore.open(Path(folder) / "store") as store:
        for cart, user, then in steps:
            store.append(named(cart), [LIFE[0]], user, store.cart(named(cart)).version)
            if then:
                getattr(store, then)()
        for user in USERS:
            assert found(store, user) == by_reading(store, user)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two segments and a journal, closed."""
    with CartStore.open(tmp_path / "store") as store:
        for cart in "abcd":
            store.append(named(cart), [LIFE[0]], "ann" if cart in "ac" else "bob", 0)
            if cart in "bc":
                store.seal()
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[CartStore]:
    """That store, opened."""
    with CartStore.open(path) as opened:
        yield opened


def test_segments_are_read_for_their_owners_once(store: CartStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this process nor the next reads them again."""
    assert store.carts_of("ann") == [named("c"), named("a")]
    with CartStore.open(path) as again:
        for opened in (store, again):
            monkeypatch.setattr(opened.folder, "read", None)
            assert opened.carts_of("bob") == [named("d"), named("b")]


def test_a_row_of_the_journal_is_read_once(store: CartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what came since the last call is read, until a seal moves the journal's rows into a segment."""
    rows: list[list[tuple[int, int, bytes]]] = []
    real = catalog.journal_owners

    def noted(db: catalog.Connection, after: int) -> list[tuple[int, int, bytes]]:
        rows.append(real(db, after))
        return rows[-1]

    monkeypatch.setattr(catalog, "journal_owners", noted)
    assert store.carts_of("bob") == [named("d"), named("b")]
    store.append(named("e"), [LIFE[0]], "bob", 0)
    assert store.carts_of("bob") == [named("e"), named("d"), named("b")]
    store.seal()
    assert store.carts_of("bob") == [named("e"), named("d"), named("b")]
    assert [[position for position, *_ in each] for each in rows] == [[4], [5], []]


@pytest.mark.parametrize("place", [0, 8, 16, 24, 40, -1, None])
def test_torn_notes_are_made_anew(store: CartStore, path: Path, place: int | None) -> None:
    """A changed byte anywhere, or a file that ends too soon, is noticed."""
    store.carts_of("ann")
    for file in (path / "cache" / "index").glob("*.owners"):
        content = bytearray(file.read_bytes())
        if place is None:
            del content[-5:]
        else:
            content[place] ^= 1
        file.write_bytes(content)
    with CartStore.open(path) as again:
        assert again.carts_of("ann") == [named("c"), named("a")]
        assert again.carts_of("bob") == [named("d"), named("b")]


def test_a_cache_that_cannot_be_written_is_done_without(path: Path) -> None:
    """The answer is the same."""
    index = path / "cache" / "index"
    for file in index.glob("*"):
        file.unlink()
    index.rmdir()
    index.write_text("in the way")
    with CartStore.open(path) as store:
        assert store.carts_of("ann") == [named("c"), named("a")]
