"""What an import did, in counts that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cart_core import schema
from cart_core.importers.ids import Bytes


@dataclass(frozen=True, slots=True)
class ImportReport:
    """``rows`` source rows were read; ``event_rows`` of them became ``events`` in ``carts``.

    Always ``rows == event_rows + already_known + views + sum(set_aside.values())``. ``set_aside`` counts rows by
    reason; ``set_aside_file`` is the first file that holds them, None where there are none.
    """

    rows: int
    event_rows: int
    events: int
    carts: int
    already_known: int
    views: int
    set_aside: dict[str, int]
    set_aside_file: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The counts as one JSON object, as ``cart import --json`` prints it."""
        names = ("rows", "event_rows", "events", "carts", "already_known", "views", "set_aside")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Tally:
    """The counts of an import that runs."""

    rows: int = 0
    event_rows: int = 0
    events: int = 0
    already_known: int = 0
    views: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    _carts: list[Bytes] = field(default_factory=list)

    def touched(self, cart_ids: Bytes) -> None:
        """Note the carts of appended events, (n, 16) bytes with repeats."""
        self._carts.append(schema.distinct(cart_ids))
        if len(self._carts) > 1 and len(self._carts[-1]) * 2 >= len(self._carts[-2]):
            self._carts[-2:] = [schema.distinct(np.concatenate(self._carts[-2:]))]

    def report(self, set_aside_file: Path | None) -> ImportReport:
        """The counts as they are."""
        carts = len(schema.distinct(np.concatenate(self._carts))) if self._carts else 0
        by_reason = dict(sorted(self.set_aside.items()))
        return ImportReport(
            self.rows, self.event_rows, self.events, carts, self.already_known, self.views, by_reason, set_aside_file
        )
