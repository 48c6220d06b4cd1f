"""What must hold of the events before anything is derived from them."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from pipelines.defs.checking import invariant, invariant_of_carts
from pipelines.defs.shop import Shop


@invariant_of_carts("events", ("cart_id", "version"))
def versions_are_gapless(events: pa.Table) -> pl.DataFrame:
    """The versions of every cart are 1, 2, 3 ... without a gap and without a repeat."""
    carts = pl.DataFrame(events).group_by("cart_id")
    counted = carts.agg(events=pl.len(), versions=pl.col("version").n_unique(), head=pl.col("version").max())
    return counted.filter((pl.col("events") != pl.col("head")) | (pl.col("versions") != pl.col("head")))


@invariant("events", blocking=False)
def no_file_failed(shop: Shop) -> pl.DataFrame:
    """No dropped file lies among the failed ones; each has its reason beside it."""
    failed = sorted((shop.inbox / "failed").rglob("*.reason.txt"))
    rows = [(path.name.removesuffix(".reason.txt"), path.read_text("utf-8").strip()) for path in failed]
    return pl.DataFrame(rows, schema={"file": pl.String, "reason": pl.String}, orient="row")
