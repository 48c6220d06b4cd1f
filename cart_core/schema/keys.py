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
FEW = 1_000
_HIGH, _LOW, _WORD = int(MIX_HIGH), int(MIX_LOW), 2**64 - 1


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


def cart_key(cart_id: bytes) -> int:
    """The key of one cart id, as ``cart_keys`` gives it."""
    low, high = int.from_bytes(cart_id[:8], "little"), int.from_bytes(cart_id[8:], "little")
    mixed = (low * _HIGH ^ (high ^ low >> 29) * _LOW) & _WORD
    mixed = (mixed ^ mixed >> 32) * _HIGH & _WORD
    return (cart_id[15] % BUCKETS << int(KEY_BITS)) | mixed >> int(BUCKET_BITS)


def ascending(keys: Array) -> Array:
    """The stable order that sorts 64-bit hashes.

    It sorts the keys themselves, whose last bits make room for their row: processors sort plain integers several times
    as fast as they find an order. Where two keys differ in those bits alone, their rows are put right afterwards.
    """
    room = np.uint64(max(0, len(keys) - 1).bit_length())
    packed = (keys >> room << room) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    order = (packed & ((np.uint64(1) << room) - np.uint64(1))).astype(np.int64)
    ordered = keys[order]
    wrong = np.flatnonzero(ordered[1:] < ordered[:-1])
    if len(wrong) > FEW:
        return np.argsort(keys, kind="stable")
    shared = ordered >> room
    for place in wrong:
        start, end = np.searchsorted(shared, shared[place], "left"), np.searchsorted(shared, shared[place], "right")
        run = np.sort(order[start:end])
        order[start:end] = run[np.argsort(keys[run], kind="stable")]
    return order


def take_ids(ids: Array, rows: Array) -> Array:
    """Some of many 16-byte ids, copied as pairs of words, which is six times as fast as byte by byte."""
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    return np.take(words, rows, axis=0).view(np.uint8)


def differ(ids: Array) -> Array:
    """Per id but the first, of (n, 16) bytes, whether it is another than the one before."""
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    return np.asarray((words[1:, 0] != words[:-1, 0]) | (words[1:, 1] != words[:-1, 1]))


def distinct(ids: Array) -> Array:
    """Each of many ids once, in the order of their keys."""
    ordered = take_ids(ids, key_order(ids))
    return ordered[np.r_[True, differ(ordered)]] if len(ordered) else ordered


def key_order(ids: Array) -> Array:
    """The order that puts carts, given as (n, 16) bytes, by (key, id)."""
    keys = cart_keys(ids)
    order = ascending(keys)
    ordered = keys[order]
    if (ordered[1:] == ordered[:-1]).any():
        words = ids.view(">u8").astype(np.uint64)
        order = np.lexsort((words[:, 1], words[:, 0], keys))
    return order
