"""Hashes of ids: what events are found by, and the order that carts stand in wherever there are many."""

from __future__ import annotations

from typing import Any

import numpy as np

from cart_core.schema.columns import BUCKETS

Array = np.ndarray[Any, np.dtype[Any]]

MIX_HIGH = np.uint64(0x9E3779B97F4A7C15)
MIX_LOW = np.uint64(0xC2B2AE3D27D4EB4F)
BUCKET_BITS = np.uint64(6)
KEY_BITS = np.uint64(58)


def id_keys(ids: Array) -> Array:
    """A 64-bit hash of each 16-byte id: equal ids have equal keys, and hardly ever others."""
    words = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)
    with np.errstate(over="ignore"):
        mixed = (words[:, 0] * MIX_HIGH) ^ ((words[:, 1] ^ (words[:, 0] >> np.uint64(29))) * MIX_LOW)
        return np.asarray((mixed ^ (mixed >> np.uint64(32))) * MIX_HIGH)


def cart_keys(ids: Array) -> Array:
    """A 64-bit key of each cart id that sorts by bucket first."""
    bucket = (ids[:, 15] % BUCKETS).astype(np.uint64)
    return np.asarray((bucket << KEY_BITS) | (id_keys(ids) >> BUCKET_BITS))


def key_order(ids: Array) -> Array:
    """The order that puts carts, given as (n, 16) bytes, by (key, id)."""
    keys = cart_keys(ids)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    if (ordered[1:] == ordered[:-1]).any():
        words = ids.view(">u8").astype(np.uint64)
        order = np.lexsort((words[:, 1], words[:, 0], keys))
    return order
