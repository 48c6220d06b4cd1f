"""How sealed events lie in a file: by bucket, then cart by cart, versions ascending."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import schema

Array = np.ndarray[Any, np.dtype[Any]]


def cart_order(ids: Array, versions: Array) -> Array:
    """The order that puts rows by bucket, then cart by cart, versions ascending; stable."""
    keys = schema.cart_keys(ids)
    order = np.argsort(keys, kind="stable")
    if not _ascends(keys[order], versions[order]):
        order = np.lexsort((versions, keys))
    if _has_collision(ids[order], keys[order]):
        words = ids.view(">u8").reshape(-1, 2)
        order = np.lexsort((versions, words[:, 1], words[:, 0], keys))
    return order


def cart_starts(sorted_ids: Array) -> Array:
    """Where each cart begins in rows that stand cart by cart."""
    if not len(sorted_ids):
        return np.zeros(0, np.int64)
    words = np.ascontiguousarray(sorted_ids).view("<u8").reshape(-1, 2)
    return np.flatnonzero(np.r_[True, (words[1:] != words[:-1]).any(axis=1)])


def laid_out(table: pa.Table) -> pa.Table:
    """A table of AT_REST in the order of a file."""
    return table.take(pa.array(cart_order(schema.id_bytes(table["cart_id"]), table["version"].to_numpy())))


def row_group_bounds(sorted_buckets: Array, wanted_rows: int) -> list[int]:
    """Where row groups end, so that none is much larger than wanted and large buckets start a group of their own."""
    total = len(sorted_buckets)
    edges = np.searchsorted(sorted_buckets, np.arange(1, schema.BUCKETS + 1), side="left")
    bounds, start = [], 0
    for edge in edges:
        if edge - start >= wanted_rows // 2 or edge == total:
            parts = max(1, round((edge - start) / wanted_rows))
            bounds += [start + (edge - start) * part // parts for part in range(1, parts + 1)]
            start = int(edge)
        if edge == total:
            break
    return [int(bound) for bound in dict.fromkeys(bounds) if bound]


def _ascends(keys: Array, versions: Array) -> bool:
    same = keys[1:] == keys[:-1]
    return bool((versions[1:][same] > versions[:-1][same]).all())


def _has_collision(sorted_ids: Array, sorted_keys: Array) -> bool:
    same = sorted_keys[1:] == sorted_keys[:-1]
    return bool((sorted_ids[1:][same] != sorted_ids[:-1][same]).any())
