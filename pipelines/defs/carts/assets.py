"""Carts as the fold of their events."""

from datetime import datetime

import polars as pl

from cart_core.projector import fold_table
from pipelines.defs.deriving import Derived, tables
from pipelines.defs.shop import Shop, Terms

GROUP = "carts"


@tables("carts", "lines", group=GROUP, deps=["events"])
def carts(shop: Shop, _terms: Terms, _as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """Every cart and every live line as all events make them: the fold, bucket by bucket."""
    with shop.events() as store:
        folded = [fold_table(events) for events in store.batches()]
    return {name: pl.concat([pl.DataFrame(getattr(each, name)) for each in folded]) for name in ("carts", "lines")}
