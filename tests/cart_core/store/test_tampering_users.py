"""P10: whoever renames or swaps users in the catalog behind the store's back is found, by the users' numbers.

Events hold numbers alone, so a swap of two names would give two people's carts to each other and leave every event be.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cart_core import ledger
from cart_core.store import CartStore
from cart_core.store.catalogs import catalog, users
from tests.cart_core.store.tampering import alter, make, problems

COLUMNS = "user_key, user_id, salt, commitment"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to tamper with copies of."""
    return make(tmp_path_factory.mktemp("original") / "store")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(original, tmp_path / "store")


USER_TRICKS = {
    "a user renamed": (["UPDATE users SET user_id = 'mallory' WHERE user_key = 2"], "user 2"),
    "two names swapped": (
        [
            "UPDATE users SET user_id = 'x' WHERE user_id = 'ann'",
            "UPDATE users SET user_id = 'ann' WHERE user_id = 'bob'",
            "UPDATE users SET user_id = 'bob' WHERE user_id = 'x'",
        ],
        "user 1",
    ),
    "two users swapped whole": (
        [
            "UPDATE users SET user_key = -1 WHERE user_key = 2",
            "UPDATE users SET user_key = 2 WHERE user_key = 3",
            "UPDATE users SET user_key = 3 WHERE user_key = -1",
        ],
        "user 3",
    ),
    "a salt changed": (["UPDATE users SET salt = zeroblob(16) WHERE user_key = 2"], "user 2"),
    "a commitment changed": (["UPDATE users SET commitment = zeroblob(32) WHERE user_key = 2"], "user 2"),
    "salt and commitment dropped": (["UPDATE users SET salt = NULL, commitment = NULL WHERE user_key = 3"], "user 3"),
    "a user dropped": (["DELETE FROM users WHERE user_key = 2"], "user 2: neither named nor marked"),
    "the last users dropped": (["DELETE FROM users WHERE user_key > 1"], "user 3: neither"),
    "the last user dropped, and the number with it": (
        ["DELETE FROM users WHERE user_key = 3", "UPDATE state SET user_key = 2"],
        "users after the last number that was given (2)",
    ),
    "a user added": (
        [f"INSERT INTO users ({COLUMNS}) SELECT 4, 'mallory', salt, commitment FROM users LIMIT 1"],
        "user 4: this number was never given",
    ),
    "a user added, and the number with it": (
        [
            f"INSERT INTO users ({COLUMNS}) SELECT 4, 'zed', salt, commitment FROM users LIMIT 1",
            "UPDATE state SET user_key = 4",
        ],
        "user 4: the name is not the one that was given",
    ),
    "a user marked as forgotten who has a name": (
        ["INSERT INTO forgotten SELECT user_key, commitment FROM users WHERE user_key = 2"],
        "user 2: is named, though this user was forgotten",
    ),
    "the last number raised": (["UPDATE state SET user_key = 9"], "users 4 to 9: neither"),
    "what the chain says of the names changed": (
        ["UPDATE batches SET names = zeroblob(32) WHERE batch = 2"],
        "batch 2",
    ),
    "what the chain says of the names dropped": (["UPDATE batches SET names = NULL WHERE batch = 2"], "batch 2"),
    "how far the chain names users changed": (
        ["UPDATE batches SET user_key = user_key + 1 WHERE batch = 2"],
        "batch 2",
    ),
}


@pytest.mark.parametrize("trick", USER_TRICKS)
def test_p10_names_changed_swapped_dropped_or_added_are_found(folder: Path, trick: str):
    """The user's number is named, and never the name."""
    statements, wanted = USER_TRICKS[trick]
    alter(folder, *statements)
    found = problems(folder)
    assert any(wanted in each for each in found), found
    assert not any(name in each for each in found for name in ("ann", "bob", "mallory", "zed"))


def forge_names(folder: Path) -> None:
    """Swap two names and make salts and commitments anew, as somebody does who knows how they are made."""
    with CartStore.open(folder) as store, store.catalog.reading() as db:
        (one, ann, salt, _), (two, bob, other, _) = users.named(db)[:2]
    swapped = [(one, bob, salt), (two, ann, other)]
    alter(
        folder,
        "UPDATE users SET user_id = user_id || ' swapped' WHERE user_key < 3",
        *(
            f"UPDATE users SET user_id = '{name}', commitment = x'{users.commitment(salt, key, name).hex()}' "
            f"WHERE user_key = {key}"
            for key, name, salt in swapped
        ),
    )


def test_p10_names_swapped_with_their_commitments_are_found_by_the_chain(folder: Path):
    """The batch that vouches for them is named, and the numbers."""
    forge_names(folder)
    found = problems(folder)
    assert any("the names of user" in each and "are not those that were sealed" in each for each in found), found


def test_p10_a_chain_made_anew_over_swapped_names_is_found_by_an_anchor(folder: Path, tmp_path: Path):
    """The names are under the head, so whoever rebuilds the chain has another head than the one that others hold."""
    with CartStore.open(folder) as store:
        store.anchor(tmp_path / "anchors")
        before = store.verify().head
    forge_names(folder)
    _rebuild_chain(folder)
    with CartStore.open(folder) as store:
        assert (store.verify().problems, store.verify().head != before) == ([], True)
        assert any("anchor.head" in each for each in store.verify(tmp_path / "anchors").problems)


def _rebuild_chain(folder: Path) -> None:
    with CartStore.open(folder) as store, store.catalog.reading() as db:
        previous, covered, statements = ledger.GENESIS, 0, []
        for batch in catalog.batches(db):
            names = None if batch.names is None else users.sealed_names(db, covered, batch.user_key)
            sealed = replace(batch.sealed, names=names, previous=previous)
            held = "NULL" if names is None else f"x'{names.hex()}'"
            statements.append(
                f"UPDATE batches SET names = {held}, previous = x'{previous.hex()}', entry = x'{sealed.entry.hex()}' "
                f"WHERE batch = {batch.batch}"
            )
            previous, covered = sealed.entry, batch.user_key
    alter(folder, *statements)


def test_p10_p12_names_are_held_after_somebody_was_forgotten(folder: Path):
    """Forgetting changes no proof and hides no other change; without the salt nobody can guess the name."""
    with CartStore.open(folder) as store:
        with store.catalog.reading() as db:
            _, _, salt, committed = users.named(db)[1]
        before = store.verify().head
        store.forget("bob")
        assert (store.verify().problems, store.verify().head) == ([], before)
        with store.catalog.reading() as db:
            assert users.forgotten(db) == [(2, committed)]
    assert not any(salt in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    alter(folder, "UPDATE users SET user_id = 'bob' WHERE user_id = 'ann'")
    assert any("user 1" in each for each in problems(folder))


def test_p10_a_forgotten_user_who_is_named_again_behind_the_stores_back_is_found(folder: Path):
    """Whether the mark of having been forgotten is left or not."""
    with CartStore.open(folder) as store:
        store.forget("bob")
    again = (
        f"INSERT INTO users ({COLUMNS}) "
        f"VALUES (2, 'eve 2', zeroblob(16), x'{users.commitment(bytes(16), 2, 'eve 2').hex()}')"
    )
    alter(folder, again)
    assert any("user 2" in each for each in problems(folder))
    alter(folder, "DELETE FROM forgotten")
    assert any("the names of user" in each for each in problems(folder))
