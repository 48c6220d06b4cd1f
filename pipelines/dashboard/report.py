"""The report: one HTML file that tells where shoppers drop off, whom to write to, and whether to trust the numbers."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from pipelines.dashboard import page, sections, words
from pipelines.dashboard.source import Source, load

REPORT_FILE = "report.html"
FOOT = (
    "Made by Cart Workbench from an append-only history of cart events. "
    "<code>cart explain</code> leads from any figure to the carts and events behind it."
)


def write(derived: Path, place: Path | None = None) -> Path:
    """Write the report of a folder of derived tables and return its path, by default ``report.html`` among them.

    The file appears whole or not at all; a table that was never derived leaves its section out.
    """
    path = place or derived / REPORT_FILE
    text = render(load(derived))
    path.parent.mkdir(parents=True, exist_ok=True)
    trial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    trial.write_text(text, "utf-8")
    os.replace(trial, path)
    return path


def render(source: Source) -> str:
    """The report as HTML: no script, no network, and the same text for the same tables."""
    parts = (
        sections.figures,
        sections.funnel,
        sections.trend,
        sections.abandonment,
        sections.recovery,
        sections.coupons,
        sections.experiments,
        sections.freshness,
    )
    return page.page(
        title=_title(source),
        eyebrow=f"Cart report · as of {words.moment(source.as_of)}",
        lead=sections.lead(source),
        sections=[text for part in parts if (text := part(source))],
        foot=FOOT,
    )


def _title(source: Source) -> str:
    bought = sections.headline(source).get("checkout_rate", {}).get("value")
    return "What became of the carts" if bought is None else f"{words.share(bought)} of carts end in an order"
