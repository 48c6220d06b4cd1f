"""Carts as the fold of their events, and the orders that do not add up."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from cart_core.projector.kept import Refreshed
from pipelines.by_cart import ByCart
from pipelines.defs.alerts import alert_on_failure
from pipelines.defs.deriving import RETRIES, Derived, carried, preview, specified, table
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import overcharges as derived_overcharges
from pipelines.engines import engine
from pipelines.files import KEPT, scan_table

ABOUT = "Every cart and every live line as all events make them; only carts that new events touch are folded again."


@dg.multi_asset(
    name="carts",
    specs=[specified(name, ABOUT, "carts", ["events"]) for name in KEPT],
    pool="carts",
    retry_policy=RETRIES,
    hooks={alert_on_failure},
)
def carts(shop: Shop, terms: Terms) -> Iterator[dg.MaterializeResult[Any]]:
    """Bring carts and lines up to the store's last event."""
    began = time.perf_counter()
    with shop.events() as store:
        done: Refreshed = engine(terms.engine).refresh(store, shop.derived)
    for name in KEPT:
        rows = scan_table(shop.derived, name)
        yield dg.MaterializeResult(
            asset_key=name,
            metadata={
                "dagster/row_count": rows.select(pl.len()).collect().item(),
                "preview": dg.MetadataValue.md(preview(rows.head().collect())),
                "position": done.position,
                "events_since_last": done.events,
                "recomputed": f"{done.parts_written} of {done.parts} parts, from {done.events:,} events",
                "rebuilt": done.rebuilt,
                "seconds": round(time.perf_counter() - began, 3),
            },
        )


@table("overcharges", group="audit", deps=["events"])
def overcharges(shop: Shop, _terms: Terms, as_of: datetime) -> Derived:
    """Every order that charged another total than its cart's events add up to, with the total that explains it."""
    derive = partial(derived_overcharges.overcharges, as_of=as_of)
    plan = ByCart("overcharges", derived_overcharges.NEEDED, derive, horizon=timedelta(0))
    return carried(shop, plan, as_of)
