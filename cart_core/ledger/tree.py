"""Merkle trees as in RFC 6962: a root over leaves, and the path that leads one leaf to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np

HASH_BYTES = 32
COMPILED_NODES = 50_000
"""From how many nodes on the compiled loop is worth its start, which takes about a second in a new process."""

Hashes = np.ndarray[Any, np.dtype[np.uint8]]
"""Hashes as an (n, 32) array of bytes."""
Beside = dict[int, dict[int, bytes]]
"""Hashes of a tree by depth and place, both from 0."""


def leaf(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Hashes | Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order; over none it is SHA-256 of nothing."""
    level = _array(leaves)
    if not len(level):
        return sha256(b"").digest()
    while len(level) > 1:
        level = _above(level)
    return bytes(level[0])


def inclusion_path(leaves: Hashes | Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead leaf ``index`` to the root, from the leaf's neighbour up: at most log2(n), rounded up.

    Raises IndexError where there is no such leaf.
    """
    level = _array(leaves)
    if not 0 <= index < len(level):
        raise IndexError(f"leaf {index} of a tree of {len(level)}")
    path = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(bytes(level[index ^ 1]))
        level, index = _above(level), index >> 1
    return path


def hashes_beside(leaves: Hashes | Sequence[bytes], chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Beside:
    """The fewest hashes that, with the chosen leaves, give the root: by depth from the leaves up, then by place.

    ``chosen`` flags each leaf. Where none is chosen there is nothing to lead anywhere, and no hash.
    """
    level, known = _array(leaves), np.asarray(chosen, bool)
    found: Beside = {}
    for depth in range(max(len(level) - 1, 0).bit_length()):
        places = np.flatnonzero(known) ^ 1
        places = places[places < len(level)]
        found[depth] = {int(place): bytes(level[place]) for place in places[~known[places]]}
        level, known = _above(level), np.logical_or.reduceat(known, np.arange(0, len(known), 2))
    return found


def root_from_path(leaf_hash: bytes, index: int, rows: int, path: Sequence[bytes]) -> bytes:
    """The root that a path leads leaf ``index`` of ``rows`` to.

    Raises ValueError where the path is too short or too long for that place.
    """
    if not 0 <= index < rows:
        raise ValueError(f"leaf {index} of a tree of {rows}")
    here, last, rest = leaf_hash, rows - 1, list(path)
    while last:
        if index ^ 1 <= last:
            if not rest:
                raise ValueError(f"the path has {len(path)} hashes, too few for leaf {index} of {rows}")
            here = node(rest.pop(0), here) if index & 1 else node(here, rest.pop(0))
        index, last = index >> 1, last >> 1
    if rest:
        raise ValueError(f"the path has {len(path)} hashes, {len(rest)} too many")
    return here


def _array(leaves: Hashes | Sequence[bytes]) -> Hashes:
    if isinstance(leaves, np.ndarray):
        return leaves
    return np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, HASH_BYTES)


def _above(level: Hashes) -> Hashes:
    """The level above: each pair's node; a node without a right neighbour moves up as it is."""
    pairs = len(level) // 2
    above = np.empty((len(level) - pairs, HASH_BYTES), np.uint8)
    above[pairs:] = level[2 * pairs :]
    if pairs >= COMPILED_NODES:
        _hash_pairs(level, above[:pairs])
    else:
        joined = np.ascontiguousarray(level[: 2 * pairs]).tobytes()
        nodes = [sha256(b"\x01" + joined[at : at + 64]).digest() for at in range(0, len(joined), 64)]
        above[:pairs] = np.frombuffer(b"".join(nodes), np.uint8).reshape(-1, HASH_BYTES)
    return above


def _hash_pairs(level: Hashes, out: Hashes) -> None:
    from cart_core.ledger.sha256 import hash_pairs  # noqa: PLC0415 - numba takes a second to load

    cores = os.cpu_count() or 1
    cuts = [len(out) * core // cores for core in range(cores + 1)]
    with ThreadPoolExecutor(cores) as pool:
        parts = [pool.submit(hash_pairs, level[2 * start : 2 * end], out[start:end]) for start, end in pairwise(cuts)]
        for part in parts:
            part.result()
