"""Every key of every table as it stands on disk is there once."""

from __future__ import annotations

import dagster as dg
import polars as pl

from pipelines import files
from pipelines.defs.checking import invariant
from pipelines.defs.shop import Shop
from pipelines.tables import TABLES
from pipelines.tables.contract import repeated_keys


def keys_are_unique(name: str) -> dg.AssetChecksDefinition:
    """The check of one table's key."""
    key = list(TABLES[name].key)

    def keys_of(shop: Shop) -> pl.DataFrame:
        missing = pl.any_horizontal(pl.col(each).is_null() for each in key)
        keys = files.scan_table(shop.derived, name).select(key).collect()
        return keys.filter(repeated_keys(keys, key) | missing)

    keys_of.__name__ = "keys_are_unique"
    keys_of.__doc__ = f"Each {', '.join(key)} stands in one row, and in each row."
    return invariant(name)(keys_of)


checks_of_keys = [keys_are_unique(name) for name in TABLES]
