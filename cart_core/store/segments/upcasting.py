"""Segments of earlier schema versions, read as those of today: pure functions, one for each version that changed.

A sealed file is never rewritten for a new version, so what it lacks is made up where it is read; compaction writes it
in today's columns when it comes by.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from cart_core.store.catalogs.tables import SCHEMA_VERSION

Upcaster = Callable[[pa.Table], pa.Table]

UPCASTERS: dict[int, Upcaster] = {}
"""From a version's columns to those of the next; a version that is absent has the columns of the next.

An upcaster may rename, retype, add and drop columns, never rows or their order, and must leave the canonical JSON of
every event as it is, since that is what the ledger holds. It takes a file's rows and gives rows: no clock, no disk.
"""


def is_current(schema_version: int) -> bool:
    """Whether the columns of a version are those of today."""
    return not any(version in UPCASTERS for version in range(schema_version, SCHEMA_VERSION))


def upcast(rows: pa.Table, schema_version: int) -> pa.Table:
    """Rows with the columns of a version as rows with those of today."""
    for version in range(schema_version, SCHEMA_VERSION):
        if version in UPCASTERS:
            rows = UPCASTERS[version](rows)
    return rows
