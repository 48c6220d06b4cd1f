import builtins
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cart_core import ledger
from cart_core.errors import Refused
from tests.builders import NOON
from tests.cart_core.ledger.builders import small_ledger

BATCHES = small_ledger([3, 2, 4])[2]
KEY = ledger.new_private_key()
PUBLIC = ledger.public_key_of(KEY)


def anchored(count: int = 2, key: bytes | None = None):
    """The anchor of the first batches, made at noon."""
    return ledger.anchor(BATCHES[:count], at=NOON, store="s1", private_key=key)


def test_an_anchor_says_what_the_ledger_was():
    """Which store, when, how far, under which head."""
    assert anchored() == {
        "format": "cart-anchor/1",
        "store": "s1",
        "at": "2026-01-01T12:00:00Z",
        "position": 5,
        "batches": 2,
        "head": ledger.chain_head(BATCHES[:2]).hex(),
    }


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_ledger_that_only_grew_agrees_with_its_anchor(count, key):
    """Also when batches were sealed since."""
    assert ledger.check_anchor(anchored(count, key), BATCHES, store="s1") == []


@pytest.mark.parametrize(
    ("batches", "problem"),
    [
        (BATCHES[:1], "anchor.batches: 2 batches were anchored at 2026-01-01T12:00:00Z, but the chain has 1"),
        (small_ledger([3, 3])[2], "anchor.head: the first 2 batches were "),
        (small_ledger([2, 3, 4])[2], "anchor.head: the first 2 batches were "),
    ],
)
def test_a_ledger_that_was_rebuilt_does_not_agree(batches, problem):
    """Shortened or rewritten, even with a sound chain of its own."""
    assert ledger.chain_problems(batches) == []
    assert ledger.check_anchor(anchored(), batches, store="s1")[0].startswith(problem)


def test_an_anchor_is_of_one_store():
    """That of another store says so."""
    assert ledger.check_anchor(anchored(), BATCHES, store="s2") == ["anchor.store: is s1, but this is store s2"]


def test_a_signed_anchor_is_held_to_its_signer():
    """By the key that was asked for, and by no other."""
    other = ledger.public_key_of(ledger.new_private_key())

    assert ledger.check_anchor(anchored(key=KEY), BATCHES, store="s1", public_key=PUBLIC) == []
    assert ledger.check_anchor(anchored(key=KEY), BATCHES, store="s1", public_key=other) == [
        f"anchor.publicKey: is {PUBLIC}, but must be {other}"
    ]
    assert ledger.check_anchor(anchored(), BATCHES, store="s1", public_key=PUBLIC) == ["anchor.signature: is missing"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", (NOON + timedelta(days=1)).isoformat()),
        ("position", 6),
        ("batches", 1),
        ("head", "00" * 32),
        ("store", "s2"),
        ("signature", "00" * 64),
    ],
)
def test_a_signed_anchor_cannot_be_altered(field, value):
    """Its signature covers every field."""
    document = {**anchored(key=KEY), field: value}

    found = ledger.check_anchor(document, BATCHES, store="s1", public_key=PUBLIC)

    assert found[0] == f"anchor.signature: is not the one of {PUBLIC} over this anchor"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("position", 6, "anchor.position: is 6, but the first 2 batches reach 5"),
        ("format", "cart-anchor/2", "anchor: is no cart-anchor/1 document"),
        ("more", 1, "anchor: is no cart-anchor/1 document"),
        ("batches", "2", "anchor: is no cart-anchor/1 document"),
        pytest.param("publicKey", PUBLIC, "anchor.signature: is missing", id="publicKey-given"),
        ("signature", "xyz", "anchor: is no cart-anchor/1 document"),
    ],
)
def test_an_unsigned_anchor_that_was_altered_is_told_by_its_field(field, value, problem):
    """As far as the chain itself can tell."""
    assert ledger.check_anchor({**anchored(), field: value}, BATCHES, store="s1")[0].startswith(problem)


@pytest.mark.parametrize("document", [{}, {"format": "cart-anchor/1"}])
def test_what_is_no_anchor_is_told(document):
    """A missing field is a problem, not a crash."""
    assert ledger.check_anchor(document, BATCHES, store="s1")[0].startswith("anchor: is no cart-anchor/1 document")


@pytest.mark.parametrize("pem", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_bad_key_is_refused_by_name(pem):
    """Whatever the file holds."""
    with pytest.raises(Refused, match="Ed25519") as refused:
        anchored(key=pem)
    assert refused.value.code == "bad_key"


def test_a_key_of_another_kind_is_refused():
    """Only Ed25519 signs anchors."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(Refused, match="must be of Ed25519, but is of EC"):
        anchored(key=key)


def test_signing_without_the_package_says_what_to_install(monkeypatch):
    """Anchors without a signature need nothing."""
    imported = builtins.__import__

    def absent(name, *rest, **named):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return imported(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)

    assert anchored()["batches"] == 2
    with pytest.raises(Refused, match="pip install cryptography") as refused:
        anchored(key=KEY)
    assert refused.value.code == "no_signing"
