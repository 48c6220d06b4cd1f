"""The derived tables that a page reads, with what was noted when each was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from cart_core import rules
from pipelines import files
from pipelines.tables import TABLES


@dataclass(frozen=True, slots=True)
class Source:
    """Derived tables by name, and their notes: as_of, the position of the last event read, idle_s."""

    tables: Mapping[str, pl.DataFrame]
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def rows(self, name: str) -> pl.DataFrame:
        """A table; without rows where it was never derived."""
        found = self.tables.get(name)
        return TABLES[name].empty() if found is None else found

    def one_definition(self, name: str) -> pl.DataFrame:
        """A table of silences under the definition that the headline uses, or else its shortest."""
        frame = self.rows(name)
        noted = self.notes.get("headline", {}).get("idle_s")
        idle_s = int(noted) if noted else frame["idle_s"].min()
        return frame.filter(pl.col("idle_s") == pl.lit(idle_s, pl.Int64))

    @property
    def as_of(self) -> datetime | None:
        """The latest moment that any table is as of."""
        moments = [rules.parse_time(noted["as_of"]) for noted in self.notes.values() if "as_of" in noted]
        return max(moments, default=None)

    def freshness(self) -> list[dict[str, Any]]:
        """One row per table that was derived, in the order of the contracts: table, rows, as_of, position."""
        return [
            {
                "table": name,
                "rows": self.tables[name].height,
                "as_of": rules.parse_time(noted["as_of"]) if (noted := self.notes.get(name, {})).get("as_of") else None,
                "position": int(noted["position"]) if noted.get("position") else None,
            }
            for name in TABLES
            if name in self.tables
        ]


SHOWN = (
    "headline",
    "funnel_steps",
    "funnel_daily",
    "abandonment_daily",
    "abandonment_hourly",
    "recovery_candidates",
    "recovery_lift",
    "coupon_effects",
    "experiment_results",
    "experiment_srm",
)
"""The tables that pages show rows of; of the others only freshness is told."""


def load(derived: Path) -> Source:
    """Read what a page shows from the folder of derived tables; of large tables only how many rows they have."""
    tables, notes = {}, {}
    for name in TABLES:
        if files.path_of(derived, name).exists():
            scanned = files.scan_table(derived, name)
            tables[name] = (scanned if name in SHOWN else scanned.select(TABLES[name].columns[0].name)).collect()
            notes[name] = files.read_notes(derived, name)
    return Source(tables, notes)
