"""What every page of the dashboard is handed: the shop's folder, its tables, colours, a clock and an explainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.dashboard.source import Source
from pipelines.dashboard.theme import Palette

Explain = Callable[[str, str, str | None], tuple[dict[str, object], pl.DataFrame]]
"""A table, the key of a row as text and perhaps a column -> the row, and the parts it adds up from."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One visit to the dashboard.

    ``store`` is the shop's folder. ``explain`` is None where figures cannot be taken apart; it is handed in because
    pages compute nothing.
    """

    store: Path
    source: Source
    palette: Palette
    clock: Callable[[], datetime]
    explain: Explain | None = None

    @property
    def derived(self) -> Path:
        """Where the derived tables stand."""
        return self.store / "derived"
