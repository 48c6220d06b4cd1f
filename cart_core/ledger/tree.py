"""Merkle trees as in RFC 6962: a root over leaves, and the path that leads one leaf to it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from cart_core.events import Envelope
from cart_core.ledger.canonical import canonical

HASH_BYTES = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"

Hashes = np.ndarray[Any, np.dtype[np.uint8]]
"""Hashes as an (n, 32) array of bytes."""


def leaf(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || data)."""
    return sha256(LEAF_PREFIX + data).digest()


def leaf_hash(envelope: Envelope, user_key: int) -> bytes:
    """The leaf of one event: the hash of its canonical JSON."""
    return leaf(canonical(envelope, user_key))


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    return sha256(NODE_PREFIX + left + right).digest()


def merkle_root(leaves: Hashes | Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order; over none it is SHA-256 of nothing."""
    if not len(leaves):
        return sha256(b"").digest()
    return _levels(leaves)[-1][0]


def _levels(leaves: Hashes | Sequence[bytes]) -> list[list[bytes]]:
    """Every level from the leaves to the root; a node without a right neighbour moves up as it is."""
    level = [bytes(each) for each in leaves]
    levels = [level]
    while len(level) > 1:
        above = [node(*level[start : start + 2]) for start in range(0, len(level) - 1, 2)]
        level = above + level[len(level) - len(level) % 2 :]
        levels.append(level)
    return levels
