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
    """Derived tables by name, and their notes: as_of, the position of the last event read, idle_s.

    ``counts`` has the rows of every table that was derived, where that is more than the rows that were read.
    """

    tables: Mapping[str, pl.DataFrame]
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

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
                "rows": self.counts[name] if name in self.counts else self.tables[name].height,
                "as_of": rules.parse_time(noted["as_of"]) if (noted := self.notes.get(name, {})).get("as_of") else None,
                "position": int(noted["position"]) if noted.get("position") else None,
            }
            for name in TABLES
            if name in self.counts or name in self.tables
        ]


SHOWN = (
    "headline",
    "funnel_steps",
    "funnel_daily",
    "funnel_times",
    "abandonment_daily",
    "abandonment_hourly",
    "cart_cohorts",
    "recovery_lift",
    "coupon_effects",
    "experiment_results",
    "experiment_daily",
    "experiment_srm",
)
"""The tables that pages show whole: they grow with days, steps and metrics, not with carts."""

BEST_CANDIDATES = 50


def load(derived: Path) -> Source:
    """Read what a page shows from the folder of derived tables; of the others only how many rows they have.

    Of the candidates, which are as many as there are silent carts, only the best of each currency are read.
    """
    standing = [name for name in TABLES if files.path_of(derived, name).exists()]
    tables = {name: files.scan_table(derived, name).collect() for name in SHOWN if name in standing}
    if "recovery_candidates" in standing:
        best = pl.col("rank") <= BEST_CANDIDATES
        tables["recovery_candidates"] = files.scan_table(derived, "recovery_candidates").filter(best).collect()
    counts = {name: files.scan_table(derived, name).select(pl.len()).collect().item() for name in standing}
    return Source(tables, {name: files.read_notes(derived, name) for name in standing}, counts)


def stamp(derived: Path) -> tuple[tuple[str, int], ...]:
    """When each derived table was last written: another stamp means that there is something new to load."""
    paths = ((name, files.path_of(derived, name)) for name in TABLES)
    return tuple((name, path.stat().st_mtime_ns) for name, path in paths if path.exists())
