"""Frames with a row or more for each cart, and the keys that their carts are found by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from cart_core import schema
from pipelines.shop import ids_of

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Keyed:
    """A frame with a column cart_id, text or 16 bytes, and the key of each row's cart."""

    frame: pl.DataFrame
    keys: Array

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """A frame with its keys."""
        return cls(frame, schema.cart_keys(ids_of(frame["cart_id"])))

    def rows_without(self, keys: Array) -> Array:
        """The rows of all carts but those of some keys, which ascend."""
        if not len(keys):
            return np.arange(len(self.keys))
        return np.flatnonzero(keys[np.minimum(np.searchsorted(keys, self.keys), len(keys) - 1)] != self.keys)

    def merged(self, rows: Array, fresh: pl.DataFrame) -> pl.DataFrame:
        """These rows, and those of other carts: both stand in order of their keys, and no key is in both."""
        places = np.searchsorted(self.keys[rows], schema.cart_keys(ids_of(fresh["cart_id"])))
        order = np.insert(rows, places, np.arange(len(self.keys), len(self.keys) + fresh.height))
        return pl.concat([self.frame, fresh])[order]
