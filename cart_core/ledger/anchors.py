"""Anchors: what the ledger's head was at a moment, signed or not, to be kept where the store's owner cannot reach.

Whoever can rewrite the whole store can rebuild its chain too; they cannot rebuild it under a head that others hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cart_core import rules
from cart_core.errors import Refused
from cart_core.ledger.canonical import canonical_json
from cart_core.ledger.chain import SealedBatch, chain_head, sealed_position

FORMAT = "cart-anchor/1"
PUBLIC_KEY = re.compile("[0-9a-fA-F]{64}")
FIELDS = frozenset(("at", "batches", "format", "head", "position", "publicKey", "signature", "store"))


def anchor(
    batches: Sequence[SealedBatch], *, at: datetime, store: str, private_key: bytes | None = None
) -> dict[str, Any]:
    """What the ledger of a store was at a moment: {format, store, at, position, batches, head}.

    ``batches`` are all of the chain; every event up to ``position`` is under the ``head``. With ``private_key``
    (Ed25519, PEM) also ``publicKey`` and ``signature``, in hex, over the canonical JSON of all the other fields.
    Raises Refused where the key is none, or the package that signs is not installed.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "store": store,
        "at": rules.format_time(at),
        "position": sealed_position(batches),
        "batches": len(batches),
        "head": chain_head(batches).hex(),
    }
    if private_key is None:
        return document
    key = _private_key(private_key)
    document["publicKey"] = key.public_key().public_bytes_raw().hex()
    return {**document, "signature": key.sign(canonical_json(document)).hex()}


def check_anchor(
    document: Mapping[str, Any], batches: Sequence[SealedBatch], *, store: str, public_key: str | None = None
) -> list[str]:
    """What is wrong with a store whose chain has these batches, if the anchor is right; empty if nothing.

    The chain must still begin with what was anchored. With ``public_key`` (hex) the anchor must be signed by it;
    without, a signature is held to the key that stands in the anchor, which anybody may have written there.
    """
    try:
        if document["format"] != FORMAT or not FIELDS.issuperset(document):
            return [f"anchor: is no {FORMAT} document"]
        return [*_signature_problems(document, public_key), *_ledger_problems(document, batches, store)]
    except (KeyError, TypeError, ValueError) as error:
        return [f"anchor: is no {FORMAT} document ({error!r})"]


def new_private_key() -> bytes:
    """A new Ed25519 private key in PEM, not encrypted: whoever holds it can sign, so keep it off the store's host."""
    serialization, ed25519, _ = _cryptography()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem: bytes = ed25519.Ed25519PrivateKey.generate().private_bytes(encoding, form, serialization.NoEncryption())
    return pem


def public_key_of(private_key: bytes) -> str:
    """The public half of a private key in PEM, as hex."""
    text: str = _private_key(private_key).public_key().public_bytes_raw().hex()
    return text


def read_public_key(text: str) -> str:
    """A public key as hex, from its hex or its PEM. Raises Refused where it is none of Ed25519."""
    word = text.strip()
    if PUBLIC_KEY.fullmatch(word):
        return word.lower()
    serialization, ed25519, _ = _cryptography()
    try:
        key = serialization.load_pem_public_key(word.encode())
    except ValueError as error:
        raise Refused("bad_key", f"the public key must be 64 hexadecimal digits, or PEM: {error}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise Refused("bad_key", f"the public key must be of Ed25519, but is of {type(key).__name__}")
    return bytes(key.public_bytes_raw()).hex()


def _ledger_problems(document: Mapping[str, Any], batches: Sequence[SealedBatch], store: str) -> list[str]:
    count, when = document["batches"], document["at"]
    if document["store"] != store:
        return [f"anchor.store: is {document['store']}, but this is store {store}"]
    if count > len(batches):
        return [f"anchor.batches: {count} batches were anchored at {when}, but the chain has {len(batches)}"]
    head = chain_head(batches[:count]).hex()
    if head != document["head"]:
        return [f"anchor.head: the first {count} batches were {document['head']} at {when}, but are {head}"]
    position = sealed_position(batches[:count])
    if position != document["position"]:
        return [f"anchor.position: is {document['position']}, but the first {count} batches reach {position}"]
    return []


def _signature_problems(document: Mapping[str, Any], public_key: str | None) -> list[str]:
    if "signature" not in document:
        return ["anchor.signature: is missing"] if public_key or "publicKey" in document else []
    signer = document["publicKey"]
    if public_key is not None and signer != public_key:
        return [f"anchor.publicKey: is {signer}, but must be {public_key}"]
    _, ed25519, invalid = _cryptography()
    signed = canonical_json({name: value for name, value in document.items() if name != "signature"})
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(
            bytes.fromhex(document["signature"]), signed
        )
    except invalid:
        return [f"anchor.signature: is not the one of {signer} over this anchor"]
    return []


def _private_key(pem: bytes) -> Any:
    serialization, ed25519, _ = _cryptography()
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise Refused("bad_key", f"the signing key must be Ed25519 in PEM, without a password: {error}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise Refused("bad_key", f"the signing key must be of Ed25519, but is of {type(key).__name__}")
    return key


def _cryptography() -> tuple[Any, Any, Any]:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise Refused("no_signing", "signing needs the package cryptography: pip install cryptography") from error
    return serialization, ed25519, InvalidSignature
