"""What the store's calls answer, as small typed records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

Flags = np.ndarray[Any, np.dtype[np.bool_]]
REFUSED = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of each row of a batch.

    ``appended`` events were written, over ``carts`` carts; ``already_known`` flags each row of the batch that the
    store held before (or that stood earlier in the batch); ``refused`` lists the others: row (from 0), reason
    (invalid, version_gap, version_conflict, event_id_conflict) and a sentence. ``position`` is the store's last
    position afterwards.
    """

    appended: int
    carts: int
    already_known: Flags
    refused: pa.Table
    position: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """``rows`` events went from the journal into ``files`` new segments."""

    rows: int
    files: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """``before`` segments were rewritten as ``after``; ``swept`` files that nobody reads any more are gone."""

    before: int
    after: int
    swept: int


@dataclass(frozen=True, slots=True)
class Published:
    """The Delta table at ``place`` is at ``version``: ``files`` with ``rows`` events.

    This call ``added`` and ``removed`` so many files, after it had ``rewritten`` some to say all that is known of their
    events. ``unsealed`` events are still in the journal, and so not published.
    """

    place: str
    version: int
    files: int
    rows: int
    added: int
    removed: int
    rewritten: int
    unsealed: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``verify`` found: nothing wrong where ``problems`` is empty; each problem names its place."""

    events: int
    segments: int
    batches: int
    head: str
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return not self.problems
