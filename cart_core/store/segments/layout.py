"""How sealed events lie in a file: by bucket, then cart by cart, versions ascending."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import schema

Array = np.ndarray[Any, np.dtype[Any]]


def cart_order(ids: Array, versions: Array) -> Array:
    """The order that puts rows by bucket, then cart by cart, versions ascending; stable."""
    keys = schema.cart_keys(ids)
    order = schema.ascending(keys)
    ordered = keys[order]
    if not _ascends(ordered, versions[order]):
        order = np.lexsort((versions, keys))
    if _has_collision(schema.take_ids(ids, order), ordered):
        words = ids.view(">u8").reshape(-1, 2)
        order = np.lexsort((versions, words[:, 1], words[:, 0], keys))
    return order


def cart_starts(sorted_ids: Array) -> Array:
    """Where each cart begins in rows that stand cart by cart."""
    if not len(sorted_ids):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.r_[True, schema.differ(sorted_ids)])


def laid_out(table: pa.Table) -> pa.Table:
    """A table of AT_REST in the order of a file."""
    return taken(table, cart_order(schema.id_bytes(table["cart_id"]), table["version"].to_numpy()))


def taken(table: pa.Table, rows: Array) -> pa.Table:
    """Rows of a table by their numbers, one column beside another on all cores."""
    if len(rows) == len(table) and _ascends_by_one(rows):
        return table
    wanted = pa.array(rows)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        columns = list(pool.map(lambda column: column.take(wanted), table.columns))
    return pa.table(columns, schema=table.schema)


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


def _ascends_by_one(rows: Array) -> bool:
    return bool((rows == np.arange(len(rows))).all())


def _has_collision(sorted_ids: Array, sorted_keys: Array) -> bool:
    return bool((schema.differ(sorted_ids) & (sorted_keys[1:] == sorted_keys[:-1])).any())
