"""The catalog in one SQLite file beside the segments: WAL, synchronous=FULL, several processes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

from cart_core.errors import StoreBusy, StoreCorrupt, StoreError, StoreReadOnly
from cart_core.store.catalogs import migrating
from cart_core.store.catalogs.catalog import Catalog
from cart_core.store.catalogs.tables import UNCOMMITTED

BUSY_TIMEOUT_S = 30.0
TYPES = {
    "int": "INTEGER",
    "blob": "BLOB",
    "real": "REAL",
    "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "one_user": "UNIQUE (user_id)",
    "last_user": "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'users'), 0)",
    "free_users": "DROP TRIGGER IF EXISTS users_keep",
}
COVERED = (
    "EXISTS (SELECT 1 FROM segments WHERE retired_at IS NULL "
    "AND first_position <= OLD.position AND last_position >= OLD.position)"
)
KEPT_OF_SEGMENTS = (
    "segment_id, file, first_position, last_position, rows, size_bytes, sha256, min_timestamp, max_timestamp, "
    "position_shift, recorded_at"
)
REPLACED = (
    "EXISTS (SELECT 1 FROM segments newer WHERE newer.retired_at IS NULL AND newer.segment_id <> OLD.segment_id "
    "AND newer.first_position <= OLD.first_position AND newer.last_position >= OLD.last_position)"
)
KNOWN = " OR ".join(
    f"EXISTS (SELECT 1 FROM journal WHERE {key})"  # noqa: S608
    for key in ("position = NEW.position", "event_id = NEW.event_id", "cart_id = NEW.cart_id AND version = NEW.version")
)
TRIGGERS = (
    ("journal_keeps", "BEFORE UPDATE ON journal", "", "an event is never changed"),
    ("journal_grows", "BEFORE INSERT ON journal", f"WHEN {KNOWN}", "an event is never replaced"),
    ("journal_covers", "BEFORE DELETE ON journal", f"WHEN NOT {COVERED}", "no segment holds this event"),
    (
        "segments_stand",
        f"BEFORE UPDATE OF {KEPT_OF_SEGMENTS} ON segments",
        "",
        "a segment is never changed",
    ),
    (
        "segments_grow",
        "BEFORE INSERT ON segments",
        "WHEN EXISTS (SELECT 1 FROM segments WHERE file = NEW.file)",
        "a segment is never replaced",
    ),
    (
        "segments_retire",
        "BEFORE UPDATE OF retired_at ON segments",
        f"WHEN NOT {REPLACED}",
        "no other segment holds its events",
    ),
    (
        "segments_cover",
        "BEFORE DELETE ON segments",
        "WHEN OLD.retired_at IS NULL",
        "a segment in use is never struck off",
    ),
    ("batches_keep", "BEFORE UPDATE ON batches", "", "a batch is never changed"),
    (
        "batches_grow",
        "BEFORE INSERT ON batches",
        "WHEN EXISTS (SELECT 1 FROM batches WHERE batch = NEW.batch)",
        "a batch is never replaced",
    ),
    ("batches_stay", "BEFORE DELETE ON batches", "", "a batch is never struck off"),
    ("users_keep", "BEFORE UPDATE ON users", "", "a pseudonym never passes to another user"),
    ("users_grow", "BEFORE INSERT ON users", "WHEN NEW.commitment IS NULL", UNCOMMITTED),
    (
        "users_ascend",
        "BEFORE UPDATE OF user_key ON state",
        "WHEN NEW.user_key < OLD.user_key",
        "no number is given twice",
    ),
    ("forgotten_keeps", "BEFORE UPDATE ON forgotten", "", "a user who was forgotten is never changed"),
    ("forgotten_stays", "BEFORE DELETE ON forgotten", "", "a user who was forgotten is never struck off"),
    (
        "forgotten_grows",
        "BEFORE INSERT ON forgotten",
        "WHEN EXISTS (SELECT 1 FROM forgotten WHERE user_key = NEW.user_key)",
        "a user who was forgotten is never replaced",
    ),
    (
        "state_ascends",
        "BEFORE UPDATE OF position, recorded_at ON state",
        "WHEN NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at",
        "the store never goes back",
    ),
    ("state_stays", "BEFORE DELETE ON state", "", "the store never begins anew"),
)


class SqliteCatalog(Catalog):
    """One SQLite file; each thread has a connection of its own, so readers never wait for writers."""

    collisions = sqlite3.IntegrityError

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.place = str(path)
        self._path = path
        self._timeout_s = busy_timeout_s
        self._local = threading.local()
        self._open: list[tuple[sqlite3.Connection, threading.RLock, int]] = []
        with self.writing() as db:
            migrating.create(db, TYPES, map(_trigger_sql, TRIGGERS), str(uuid4()))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One transaction that sees one moment of the catalog and holds up nobody."""
        with translated(self.place):
            db = self._connection()
            if db.in_transaction:
                yield db
                return
            with self._local.busy:
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One exclusive transaction, durable when it ends, undone where it raises."""
        try:
            db = self._connection()
            with self._local.busy:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise _error(self.place, error) from error

    def erase(self) -> None:
        """Empty the write-ahead log, so that nothing deleted is left in it.

        Raises StoreBusy where a reader holds on to it for longer than the timeout.
        """
        with translated(self.place):
            busy, *_ = self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreBusy(f"{self.place}: a reader holds the old log; what was deleted goes at the next checkpoint")

    def close(self) -> None:
        """Close every connection of this process, each when its thread's transaction is over."""
        while self._open:
            db, busy, pid = self._open.pop()
            with busy if pid == os.getpid() else nullcontext():
                db.close()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        known: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if known is not None and self._local.pid == os.getpid():
            return known
        db = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")
        self._local.connection, self._local.pid, self._local.busy = db, os.getpid(), threading.RLock()
        self._open.append((db, self._local.busy, os.getpid()))
        return db


def _trigger_sql(trigger: tuple[str, str, str, str]) -> str:
    name, event, condition, words = trigger
    refusal = f"SELECT RAISE(ABORT, 'append-only: {words}')"
    return f"CREATE TRIGGER IF NOT EXISTS {name} {event} {condition} BEGIN {refusal}; END"


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into those of cart_core.errors, the one place where that happens."""
    try:
        yield
    except sqlite3.Error as error:
        raise _error(place, error) from error


def _error(place: str, error: sqlite3.Error) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreBusy(f"{place}: another writer held the catalog too long ({text}): try again")
    if "readonly" in text or "unable to open" in text:
        return StoreReadOnly(f"{place}: the catalog may not be opened or written ({text}): check its permissions")
    if "malformed" in text or "not a database" in text or "disk image" in text:
        return StoreCorrupt(f"{place}: the catalog is damaged ({text}): restore it from a backup")
    if "full" in text or "disk I/O" in text:
        return StoreError(f"{place}: cannot be written ({text}); the store is as it was: make room and try again")
    return StoreError(f"{place}: {text}")
