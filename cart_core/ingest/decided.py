"""Rows of click streams that were set aside because of what their cart was like at the time.

Such a row makes no event, so the store cannot know it again; yet the same file imported later, when the cart is
another, must add nothing. So what was decided of it is kept: a row's id and the reason, in a small SQLite file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from cart_core.importers.ids import Bytes

TABLE = "CREATE TABLE IF NOT EXISTS decided (row_id BLOB PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID"
WAIT_S = 60.0


class Decided:
    """The rows that were set aside for good, in one file that is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def reasons(self, row_ids: Bytes) -> dict[bytes, str]:
        """The reason of each of these rows that was decided before."""
        if not self._path.exists() or not len(row_ids):
            return {}
        with closing(self._open()) as db:
            if db.execute("SELECT 1 FROM decided LIMIT 1").fetchone() is None:
                return {}
            db.execute("CREATE TEMP TABLE asked (row_id BLOB PRIMARY KEY) WITHOUT ROWID")
            db.executemany("INSERT OR IGNORE INTO asked VALUES (?)", ((row.tobytes(),) for row in row_ids))
            return dict(db.execute("SELECT row_id, reason FROM asked JOIN decided USING (row_id)"))

    def add(self, rows: Iterable[tuple[bytes, str]]) -> None:
        """Keep rows and their reasons, durably; what was decided before stays."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as db, db:
            db.executemany("INSERT OR IGNORE INTO decided VALUES (?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=WAIT_S)
        db.execute("PRAGMA synchronous = FULL")
        db.execute(TABLE)
        return db
