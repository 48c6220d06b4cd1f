"""What people look at: the headline figures and the report, from whatever tables stand."""

from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from pipelines.dashboard.source import SHOWN
from pipelines.defs.alerts import alert_on_failure
from pipelines.defs.deriving import OWNERS, RETRIES, table
from pipelines.defs.shop import Shop, Terms
from pipelines.derive.headline import Sources
from pipelines.derive.headline import headline as headline_of
from pipelines.files import scan_table

GROUP, WEEKLY = "pages", "weekly"
COUNTED = ("status", "currency", "charged_total_cents")
SOURCES = ("carts", "cart_cohorts", "abandonment_daily", "recovery_candidates")


@table("headline", group=GROUP, deps=SOURCES)
def headline(shop: Shop, terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """The few figures that every page opens with, each from the table that defines it."""
    carts = scan_table(shop.derived, "carts").select(COUNTED).collect()
    sources = Sources(carts, *(shop.table(name) for name in SOURCES[1:]))
    return headline_of(sources, idle_s=int(terms.idle.total_seconds()))


@dg.asset(
    group_name=GROUP, deps=["headline"], kinds={"html"}, owners=OWNERS, pool="report", retry_policy=RETRIES,
    hooks={alert_on_failure}, tags={"topic": GROUP},
)  # fmt: skip
def report(shop: Shop) -> dg.MaterializeResult[Any]:
    """One HTML file that stands alone: funnel, silences, candidates, coupons, experiments, freshness."""
    return _drawn(shop)


@dg.asset(
    group_name=WEEKLY, deps=[*SHOWN, "recovery_candidates"], kinds={"html"}, owners=OWNERS, pool="weekly_report",
    retry_policy=RETRIES, hooks={alert_on_failure}, tags={"topic": GROUP},
)  # fmt: skip
def weekly_report(context: dg.AssetExecutionContext, shop: Shop, terms: Terms) -> dg.MaterializeResult[Any]:
    """The report of a week, kept under reports/ by the day it was due: one HTML file, small enough for a mail."""
    return _drawn(shop, weekly_path(shop.folder, terms.moment(context)))


def weekly_path(folder: Path, as_of: datetime) -> Path:
    """Where the report of the week that ends at a moment stands."""
    return folder / "reports" / f"report-{as_of:%Y-%m-%d}.html"


def _drawn(shop: Shop, path: Path | None = None) -> dg.MaterializeResult[Any]:
    from pipelines.dashboard.report import write  # noqa: PLC0415 - charts load for seconds, this module in every step

    path = write(shop.derived, path)
    return dg.MaterializeResult(metadata={"file": dg.MetadataValue.path(str(path)), "size_bytes": path.stat().st_size})
