"""Users: numbers without a gap, and names that are held to them by SHA-256 alone."""

from __future__ import annotations

from hashlib import sha256

import pytest

from cart_core.store import CartStore
from cart_core.store.catalogs import catalog, users
from tests.cart_core.store.builders import MUG, life, named


@pytest.fixture(params=[0, 10_000], ids=["every batch a segment", "through the journal"])
def shop(request: pytest.FixtureRequest, tmp_path) -> CartStore:
    """An empty store."""
    return CartStore.open(tmp_path / "store", journal_rows=request.param)


def test_p10_what_holds_a_name_can_be_made_with_sha_256_alone(shop: CartStore):
    """SHA-256(salt || number || name), and over all of them in order what the batch vouches for."""
    with shop as store:
        store.append_many([*life("a", "ann"), *life("b", "Zoé")])
        store.seal()
        with store.catalog.reading() as db:
            held, batch = users.named(db), catalog.last_batch(db)
    made = [sha256(salt + number.to_bytes(8, "big") + name.encode()).digest() for number, name, salt, _ in held]
    assert [(number, name) for number, name, _, _ in held] == [(1, "ann"), (2, "Zoé")]
    assert [committed for _, _, _, committed in held] == made
    assert batch is not None
    assert (batch.user_key, batch.names) == (2, sha256((2).to_bytes(8, "big") + b"".join(made)).digest())


def test_p10_a_batch_without_new_users_vouches_for_no_name(shop: CartStore):
    """It goes on from the users before it."""
    with shop as store:
        for name in ("a", "b"):
            store.append_many(life(name, "ann"))
            store.seal()
        with store.catalog.reading() as db:
            told = [(batch.user_key, batch.names is None) for batch in catalog.batches(db)]
    assert told == [(1, False), (1, True)]


def test_p12_two_stores_hold_the_same_name_in_two_ways(tmp_path):
    """Salts are random, so nobody can look a name up by what holds it."""
    held = []
    for place in ("one", "two"):
        with CartStore.open(tmp_path / place) as store:
            store.append(named("a"), [MUG], "ann", 0)
            with store.catalog.reading() as db:
                held += users.named(db)
    assert len({salt for _, _, salt, _ in held}) == len({committed for *_, committed in held}) == 2
    assert all(len(salt) == users.SALT_BYTES for _, _, salt, _ in held)


def test_p3_a_refused_append_gives_no_number(shop: CartStore):
    """Numbers have no gap, whatever was refused or undone in between."""
    with shop as store:
        store.append(named("a"), [MUG], "ann", 0)
        with pytest.raises(ZeroDivisionError), store.catalog.writing() as db:
            users.key(db, "nobody")
            raise ZeroDivisionError
        store.append(named("b"), [MUG], "bob", 0)
        with store.catalog.reading() as db:
            assert (users.last_key(db), [number for number, *_ in users.named(db)]) == (2, [1, 2])
        assert store.verify().problems == []
