"""The jobs by name: all tables, what an hour needs, and days of the past."""

from __future__ import annotations

import dagster as dg

HOURLY_GROUPS = ("events", "carts", "abandonment", "recovery", "funnels", "pages")
WEEK = dg.AssetSelection.assets("weekly_report")
HOUR = dg.AssetSelection.groups(*HOURLY_GROUPS) - dg.AssetSelection.assets("segments")

refresh = dg.define_asset_job(
    "refresh",
    selection=HOUR,
    description="What changes by the hour: imports what lies in the inbox, then derives carts, silences, candidates, "
    "funnels and the report.",
)
nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all() - WEEK,
    description="Every table, experiments, coupons and restatements among them, and the sealing of the day's events.",
)
weekly = dg.define_asset_job(
    "weekly",
    selection=WEEK.upstream() | HOUR,
    description="The report of the week: every table that it shows as of one moment, then the file under reports/.",
)
BACKFILL = (
    "Days of the past, derived anew: the rows of these days are replaced in every daily table, a year in one run with "
    "dg launch --job backfill --partition-range 2025-01-01...2025-12-31."
)
