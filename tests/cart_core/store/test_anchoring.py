"""P10: whoever can rewrite the whole store is found out by anchors that are kept elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cart_core import ledger
from cart_core.errors import Refused, SourceError, StoreCorrupt
from cart_core.store import CartStore
from tests.cart_core.store.builders import MORE_MUGS, life, named

KEY = ledger.new_private_key()
PUBLIC = ledger.public_key_of(KEY)


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    """Where anchors are kept: not in the store."""
    return tmp_path / "anchors.jsonl"


def sealed_with(store: CartStore, *carts: str) -> None:
    """Put carts into a store and seal it after each."""
    for cart in carts:
        store.append_many(life(cart))
        store.seal()


def wrong(store: CartStore, anchors: Path, public_key: str | None = None) -> list[str]:
    """What verify says with these anchors, where it says nothing without them."""
    assert store.verify().problems == []
    return store.verify(anchors, public_key).problems


@pytest.mark.parametrize("key", [None, KEY])
def test_p10_a_store_that_only_grew_fits_all_its_anchors(durable: CartStore, anchors: Path, key: bytes | None):
    """Each seal adds a line and changes none; compaction and forgetting change no head."""
    lines: list[str] = []
    for cart in ("a", "b", "c"):
        sealed_with(durable, cart)
        durable.anchor(anchors, key)
        assert anchors.read_text().splitlines()[:-1] == lines
        lines = anchors.read_text().splitlines()
    durable.compact()
    durable.forget("ann")
    sealed_with(durable, "d")
    assert [json.loads(line)["position"] for line in lines] == [5, 10, 15]
    assert wrong(durable, anchors, PUBLIC if key else None) == []


@pytest.mark.parametrize("go_on", [False, True])
def test_p10_a_store_that_was_rolled_back_is_found(tmp_path: Path, ticking, anchors: Path, *, go_on: bool):
    """A copy of yesterday in today's place, sound in itself, with or without new events since."""
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        sealed_with(store, "a")
        store.anchor(anchors)
    shutil.copytree(tmp_path / "store", tmp_path / "yesterday")
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        sealed_with(store, "b")
        store.anchor(anchors)
    with CartStore.open(tmp_path / "yesterday", clock=ticking) as store:
        if go_on:
            sealed_with(store, "c")
        found = wrong(store, anchors)
        place = f"{anchors} line 2: anchor.{'head' if go_on else 'batches'}: "
        assert [each.startswith(place) for each in found] == [True]
        with pytest.raises(StoreCorrupt, match="nothing was anchored"):
            store.anchor(anchors)
    assert len(anchors.read_text().splitlines()) == 2


def test_p10_another_store_in_its_place_is_found(tmp_path: Path, ticking, anchors: Path):
    """The same events in a store that was made anew have another name, and were sealed at another moment."""
    for name in ("store", "rebuilt"):
        with CartStore.open(tmp_path / name, clock=ticking) as store:
            sealed_with(store, "a")
            if name == "store":
                store.anchor(anchors)
            else:
                assert "this is store" in wrong(store, anchors)[0]


def test_p10_an_anchor_must_be_signed_by_the_key_that_is_asked_for(durable: CartStore, anchors: Path):
    """Unsigned ones, and those signed by anybody else, are named by their line."""
    sealed_with(durable, "a")
    other = ledger.new_private_key()
    for key in (KEY, None, other):
        durable.anchor(anchors, key)
    assert wrong(durable, anchors, PUBLIC) == [
        f"{anchors} line 2: anchor.signature: is missing",
        f"{anchors} line 3: anchor.publicKey: is {ledger.public_key_of(other)}, but must be {PUBLIC}",
    ]


def test_p10_any_changed_byte_of_a_signed_anchor_is_found(durable: CartStore, anchors: Path):
    """And none of its places is without meaning."""
    sealed_with(durable, "a")
    durable.anchor(anchors, KEY)
    whole = anchors.read_bytes()
    for place in range(len(whole)):
        anchors.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert durable.verify(anchors, PUBLIC).problems, f"byte {place}: {whole[place : place + 1]!r}"


def test_a_file_without_anchors_vouches_for_nothing(durable: CartStore, anchors: Path):
    """An empty one is a problem; one that is missing cannot be asked."""
    anchors.touch()
    assert wrong(durable, anchors) == [f"{anchors}: holds no anchor"]
    with pytest.raises(SourceError, match="cannot be read"):
        durable.verify(anchors.with_name("none"))


def test_an_event_that_is_not_sealed_is_not_anchored(durable: CartStore, anchors: Path):
    """An anchor reaches as far as the last seal, and says so."""
    sealed_with(durable, "a")
    durable.append(named("a"), [MORE_MUGS], "ann", 5)
    assert durable.anchor(anchors)["position"] == 5


def test_a_public_key_is_read_from_hex_or_pem():
    """As new-key and as openssl write it; anything else is refused."""
    pem = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mine = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(PUBLIC)).public_bytes(*pem).decode()
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*pem).decode()
    assert ledger.read_public_key(f"{PUBLIC.upper()}\n") == ledger.read_public_key(mine) == PUBLIC
    for text in ("", PUBLIC[1:], other):
        with pytest.raises(Refused, match="public key"):
            ledger.read_public_key(text)
