"""What must hold of the events before anything is derived from them."""

from __future__ import annotations

import polars as pl

from pipelines.defs.checking import invariant
from pipelines.defs.shop import Shop
from pipelines.tables import ids_as_text


@invariant("events")
def versions_are_gapless(shop: Shop) -> pl.DataFrame:
    """The versions of every cart are 1, 2, 3 ... without a gap and without a repeat."""
    with shop.events() as store:
        carts = store.scan(columns=["cart_id", "version"]).group_by("cart_id")
        counted = carts.agg(events=pl.len(), versions=pl.col("version").n_unique(), head=pl.col("version").max())
        wrong = counted.filter((pl.col("events") != pl.col("head")) | (pl.col("versions") != pl.col("head"))).collect()
    return ids_as_text(wrong)


@invariant("events", blocking=False)
def no_file_failed(shop: Shop) -> pl.DataFrame:
    """No dropped file lies among the failed ones; each has its reason beside it."""
    failed = sorted((shop.inbox / "failed").rglob("*.reason.txt"))
    rows = [(path.name.removesuffix(".reason.txt"), path.read_text("utf-8").strip()) for path in failed]
    return pl.DataFrame(rows, schema={"file": pl.String, "reason": pl.String}, orient="row")
