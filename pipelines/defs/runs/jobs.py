"""The jobs by name: all tables, what an hour needs, and days of the past."""

from __future__ import annotations

import dagster as dg

HOURLY_GROUPS = ("events", "carts", "abandonment", "recovery", "funnels", "pages")

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.groups(*HOURLY_GROUPS) - dg.AssetSelection.assets("segments"),
    description="What changes by the hour: imports what lies in the inbox, then derives carts, silences, candidates, "
    "funnels and the report.",
)
nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all(),
    description="Every table, experiments, coupons and restatements among them, and the sealing of the day's events.",
)
BACKFILL = (
    "Days of the past, derived anew: the rows of these days are replaced in every daily table, a year in one run with "
    "dg launch --job backfill --partition-range 2025-01-01...2025-12-31."
)
