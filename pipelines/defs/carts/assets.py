"""Carts as the fold of their events."""

from datetime import datetime

import polars as pl

from cart_core.projector import fold_table
from pipelines.defs.deriving import Derived, table, tables
from pipelines.defs.shop import Shop, Terms
from pipelines.derive.histories import COLUMNS
from pipelines.derive.overcharges import overcharges as overcharges_of
from pipelines.tables import TABLES

GROUP = "carts"


@tables("carts", "lines", group=GROUP, deps=["events"])
def carts(shop: Shop, _terms: Terms, _as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """Every cart and every live line as all events make them: the fold, bucket by bucket."""
    with shop.events() as store:
        folded = [fold_table(events) for events in store.batches()]
    return {name: pl.concat([pl.DataFrame(getattr(each, name)) for each in folded]) for name in ("carts", "lines")}


@table("overcharges", group="audit", deps=["events"])
def overcharges(shop: Shop, _terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Every order that charged another total than its cart's events add up to, with the total that explains it."""
    columns = (*COLUMNS, "order_id", "total_cents")
    with shop.events() as store:
        found = [overcharges_of(events, as_of) for events in store.batches(columns)]
    return pl.concat([TABLES["overcharges"].empty(), *found])
