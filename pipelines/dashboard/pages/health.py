"""Data health: do the rules hold, how fresh is each table, what could not be imported."""

from __future__ import annotations

import polars as pl

from pipelines import files
from pipelines.dashboard import detail_listings, layout, listings, page, set_aside, words
from pipelines.dashboard.definitions import DETAILS, SECTIONS
from pipelines.dashboard.setting import Setting


def show(setting: Setting) -> None:
    """Checks, freshness, rows set aside, and orders that charged another total than their cart's."""
    layout.head(
        "Data health",
        "Whether these numbers can be trusted.",
        f"As of {words.moment(setting.source.as_of)}",
    )
    _checks(setting)
    _freshness(setting)
    _set_aside(setting)
    _overcharges(setting)


def _checks(setting: Setting) -> None:
    noted = files.read_checks(setting.derived)
    if not noted:
        layout.empty("No check has run yet: they run whenever tables are derived.", "cart --store STORE refresh")
        return
    ordered = sorted(noted, key=lambda each: (each["offending_rows"] == 0, each["table"], each["check"]))
    with layout.card("checks", "Checks", detail_listings.checks_lead(ordered)):
        layout.listing("checks", detail_listings.checks(ordered), pl.DataFrame(ordered), DETAILS["checks"])


def _freshness(setting: Setting) -> None:
    rows = setting.source.freshness()
    if rows:
        with layout.card("freshness", "Freshness", f"{words.count(len(rows))} tables have been derived."):
            layout.listing("freshness", listings.freshness(rows), pl.DataFrame(rows), SECTIONS["freshness"])


def _set_aside(setting: Setting) -> None:
    found = set_aside.read(setting.store / "set_aside")
    with layout.card("set-aside", "Rows set aside", set_aside.lead(found)):
        if found.rows.is_empty():
            layout.html(page.empty("Every row of every import was taken."))
            return
        layout.html(
            listings.counts(set_aside.by_reason(found), ("Set aside because", "Rows"), name="Rows set aside, by reason")
        )
        layout.listing("set-aside-rows", set_aside.listing_of(found), found.rows, DETAILS["set_aside"])


def _overcharges(setting: Setting) -> None:
    if "overcharges" not in setting.source.counts:
        return
    most = files.scan_table(setting.derived, "overcharges").sort(pl.col("difference_cents").abs(), descending=True)
    rows, number = most.head(detail_listings.SHOWN_ROWS).collect(), setting.source.counts["overcharges"]
    with layout.card("overcharges", "Orders that do not add up", detail_listings.overcharges_lead(number)):
        if rows.height:
            layout.listing("overcharges", detail_listings.overcharges(rows), rows, DETAILS["overcharges"])
