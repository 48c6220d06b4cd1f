"""What people look at: the headline figures and the report, from whatever tables stand."""

from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from pipelines.dashboard import report as pages
from pipelines.defs.alerts import alert_on_failure
from pipelines.defs.deriving import OWNERS, RETRIES, table
from pipelines.defs.shop import Shop, Terms
from pipelines.derive.headline import Sources
from pipelines.derive.headline import headline as headline_of

GROUP = "pages"
SOURCES = ("carts", "cart_cohorts", "abandonment_daily", "recovery_candidates")
SHOWN = ("headline", "funnel_steps", "funnel_daily", "abandonment_hourly", "recovery_lift")


@table("headline", group=GROUP, deps=SOURCES)
def headline(shop: Shop, terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """The few figures that every page opens with, each from the table that defines it."""
    sources = Sources(*(shop.table(name) for name in SOURCES))
    return headline_of(sources, idle_s=int(terms.idle.total_seconds()))


@dg.asset(
    group_name=GROUP, deps=["headline"], kinds={"html"}, owners=OWNERS, pool="report", retry_policy=RETRIES,
    hooks={alert_on_failure}, tags={"topic": GROUP},
)  # fmt: skip
def report(shop: Shop) -> dg.MaterializeResult[Any]:
    """One HTML file that stands alone: funnel, silences, candidates, coupons, experiments, freshness."""
    path = pages.write(shop.derived)
    return dg.MaterializeResult(metadata={"file": dg.MetadataValue.path(str(path)), "size_bytes": path.stat().st_size})
