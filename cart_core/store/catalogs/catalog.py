"""The catalog: a small transactional database with the journal, the list of segments, and the users.

``Catalog`` speaks SQL that SQLite and PostgreSQL share; a subclass opens connections and begins transactions.
Every writing transaction starts by locking the one row of ``state``, so positions are given in commit order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from cart_core.ledger import SealedBatch
from cart_core.store.at_rest import JOURNAL_COLUMNS
from cart_core.store.catalogs.tables import SCHEMA_VERSION

IDS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class State:
    """Where the store stands: last position, last moment of recording (us), how often its files or users changed."""

    position: int
    recorded_us: int
    generation: int
    forgotten: int
    running_hash: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable Parquet file of sealed events.

    A segment that was written before its place was known carries ``position_shift``, to be added to the file's
    positions, and ``recorded_us``, the moment of recording of all its rows. ``schema_version`` is that of its columns.
    """

    file: str
    first_position: int
    last_position: int
    rows: int
    size_bytes: int
    sha256: str
    min_timestamp: int
    max_timestamp: int
    position_shift: int = 0
    recorded_us: int | None = None
    retired_us: int | None = None
    segment_id: int | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Batch:
    """One sealed run of positions with its Merkle root and its link to the batch before.

    ``user_key`` is the last user whose name the chain vouches for; ``names`` is the hash over those that are new.
    """

    batch: int
    first_position: int
    last_position: int
    rows: int
    root: bytes
    recorded: bytes
    sealed_us: int
    previous: bytes
    entry: bytes
    journal_anchor: bytes | None = None
    user_key: int = 0
    names: bytes | None = None

    @property
    def sealed(self) -> SealedBatch:
        """The batch as the ledger hashes it."""
        return SealedBatch(
            batch=self.batch,
            first_position=self.first_position,
            rows=self.rows,
            root=self.root,
            recorded=self.recorded,
            sealed_us=self.sealed_us,
            previous=self.previous,
            names=self.names,
        )


class Connection(Protocol):
    """What the catalog needs of a database connection; placeholders are question marks."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run one statement and return a cursor."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """Run an INSERT for each row of parameters."""


class Catalog(ABC):
    """The door to the database: consistent reads, exclusive writes."""

    place: str
    collisions: type[Exception]
    """What the driver raises where a row has a key that another one has."""
    shared = False
    """Whether hosts reach it that do not share the store's folder."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """One transaction that sees one moment of the catalog and holds up nobody."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """One exclusive transaction, durable when it ends, undone where it raises."""

    def append(self, db: Connection, rows: Sequence[Sequence[Any]], recorded_us: int) -> None:
        """Write journal rows, the values of JOURNAL_COLUMNS and the running hash, and move the state up to the last."""
        insert(db, rows)
        advance(db, rows[-1][0], recorded_us, rows[-1][-1])

    @abstractmethod
    def erase(self) -> None:
        """Make sure that nothing deleted is left in the database's own files."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection of this process."""


STATE = "SELECT position, recorded_at, generation, forgotten, running_hash FROM state WHERE id = 1"
COLUMNS = ", ".join(JOURNAL_COLUMNS)
INSERT = f"INSERT INTO journal ({COLUMNS}, running_hash) VALUES ({', '.join('?' * (len(JOURNAL_COLUMNS) + 1))})"  # noqa: S608


def meta(db: Connection, key: str) -> str | None:
    """A setting that was laid down with the store."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def settle(db: Connection, key: str, value: str) -> None:
    """Lay a setting down for good."""
    db.execute("INSERT INTO meta VALUES (?, ?)", (key, value))


def state(db: Connection) -> State:
    """Where the store stands, in this transaction."""
    row = db.execute(STATE).fetchone()
    return State(row[0], row[1], row[2], row[3], bytes(row[4]))


def advance(db: Connection, position: int, recorded_us: int, running_hash: bytes | None = None) -> None:
    """Move the store's last position, its last moment of recording, and the journal's running hash."""
    if running_hash is None:
        db.execute("UPDATE state SET position = ?, recorded_at = ? WHERE id = 1", (position, recorded_us))
    else:
        values = (position, recorded_us, running_hash)
        db.execute("UPDATE state SET position = ?, recorded_at = ?, running_hash = ? WHERE id = 1", values)


def change_files(db: Connection) -> None:
    """Tell every reader that the list of segments or users is no longer what it was."""
    db.execute("UPDATE state SET generation = generation + 1 WHERE id = 1")


def insert(db: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write journal rows: the values of JOURNAL_COLUMNS and the running hash."""
    db.executemany(INSERT, rows)


def journal(db: Connection, after: int = 0, until: int | None = None) -> list[tuple[Any, ...]]:
    """Journal rows with after < position <= until, by position."""
    bound = 2**62 if until is None else until
    sql = f"SELECT {COLUMNS} FROM journal WHERE position > ? AND position <= ? ORDER BY position"  # noqa: S608
    return list(db.execute(sql, (after, bound)).fetchall())


def journal_of_cart(db: Connection, cart_id: bytes, after_version: int = 0) -> list[tuple[Any, ...]]:
    """Journal rows of one cart past a version, by version."""
    sql = f"SELECT {COLUMNS} FROM journal WHERE cart_id = ? AND version > ? ORDER BY version"  # noqa: S608
    return list(db.execute(sql, (cart_id, after_version)).fetchall())


def journal_where(db: Connection, column: str, ids: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """Journal rows whose ``column`` (event_id or cart_id) is one of ids, by position."""
    rows: list[tuple[Any, ...]] = []
    for part in _parts(ids):
        marks = ", ".join("?" * len(part))
        rows += db.execute(f"SELECT {COLUMNS} FROM journal WHERE {column} IN ({marks})", part).fetchall()  # noqa: S608
    return sorted(rows)


def journal_ids(db: Connection) -> list[tuple[bytes, int]]:
    """Every event id in the journal with its position."""
    return [(bytes(row[0]), row[1]) for row in db.execute("SELECT event_id, position FROM journal").fetchall()]


def journal_heads(db: Connection) -> dict[bytes, int]:
    """The head version of every cart in the journal."""
    rows = db.execute("SELECT cart_id, max(version) FROM journal GROUP BY cart_id").fetchall()
    return {bytes(row[0]): row[1] for row in rows}


def journal_head(db: Connection, cart_id: bytes) -> tuple[int, int]:
    """The head version of one cart in the journal and its position; (0, 0) where it has no row there."""
    sql = "SELECT version, position FROM journal WHERE cart_id = ? ORDER BY version DESC LIMIT 1"
    row = db.execute(sql, (cart_id,)).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def journal_heads_of(db: Connection, cart_ids: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
    """The head version of each of some carts in the journal and its position; carts without rows there are absent."""
    heads: dict[bytes, tuple[int, int]] = {}
    if len(cart_ids) == 1:
        found = journal_head(db, cart_ids[0])
        return {cart_ids[0]: found} if found[0] else {}
    for part in _parts(cart_ids):
        marks = ", ".join("?" * len(part))
        sql = f"SELECT cart_id, max(version), max(position) FROM journal WHERE cart_id IN ({marks}) GROUP BY cart_id"  # noqa: S608
        heads.update((bytes(row[0]), (row[1], row[2])) for row in db.execute(sql, part).fetchall())
    return heads


def journal_owners(db: Connection, after: int) -> list[tuple[int, int, bytes]]:
    """Position, user and cart of every journal row past a position, by position."""
    sql = "SELECT position, user_key, cart_id FROM journal WHERE position > ? ORDER BY position"
    return [(position, user, bytes(cart_id)) for position, user, cart_id in db.execute(sql, (after,)).fetchall()]


def journal_count(db: Connection, first: int, last: int) -> int:
    """How many journal rows stand between two positions, both included."""
    row = db.execute("SELECT count(*) FROM journal WHERE position BETWEEN ? AND ?", (first, last)).fetchone()
    return int(row[0])


def journal_hash(db: Connection, position: int) -> bytes:
    """The running hash up to a journal row."""
    return bytes(db.execute("SELECT running_hash FROM journal WHERE position = ?", (position,)).fetchone()[0])


def journal_hashes(db: Connection) -> list[bytes]:
    """The running hashes of all journal rows, by position."""
    return [bytes(row[0]) for row in db.execute("SELECT running_hash FROM journal ORDER BY position").fetchall()]


def delete_sealed(db: Connection, first: int, last: int) -> None:
    """Delete the journal rows that a segment covers."""
    db.execute("DELETE FROM journal WHERE position BETWEEN ? AND ?", (first, last))


SEGMENT_COLUMNS = (
    "file, first_position, last_position, rows, size_bytes, sha256, min_timestamp, max_timestamp, "
    "position_shift, recorded_at, retired_at, segment_id, schema_version"
)


def segments(db: Connection, *, retired: bool = False) -> list[Segment]:
    """The live segments (or the retired ones), by position."""
    which = "IS NOT NULL" if retired else "IS NULL"
    sql = f"SELECT {SEGMENT_COLUMNS} FROM segments WHERE retired_at {which} ORDER BY first_position"  # noqa: S608
    return [Segment(*row) for row in db.execute(sql).fetchall()]


def add_segment(db: Connection, segment: Segment) -> None:
    """Name a file as part of the store."""
    db.execute(
        "INSERT INTO segments (file, first_position, last_position, rows, size_bytes, sha256, min_timestamp, "
        "max_timestamp, position_shift, recorded_at, schema_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            segment.file,
            segment.first_position,
            segment.last_position,
            segment.rows,
            segment.size_bytes,
            segment.sha256,
            segment.min_timestamp,
            segment.max_timestamp,
            segment.position_shift,
            segment.recorded_us,
            segment.schema_version,
        ),
    )


def retire_segment(db: Connection, file: str, retired_us: int) -> None:
    """Take a file out of the store's reads; it stays on disk for readers that still hold it."""
    db.execute("UPDATE segments SET retired_at = ? WHERE file = ?", (retired_us, file))


def drop_segment(db: Connection, file: str) -> None:
    """Strike a retired file off the list."""
    db.execute("DELETE FROM segments WHERE file = ? AND retired_at IS NOT NULL", (file,))


BATCH_COLUMNS = (
    "batch, first_position, last_position, rows, root, recorded, sealed_at, previous, entry, journal_anchor, "
    "user_key, names"
)


def batches(db: Connection) -> list[Batch]:
    """The sealed batches, in the order they were sealed."""
    rows = db.execute(f"SELECT {BATCH_COLUMNS} FROM batches ORDER BY batch").fetchall()  # noqa: S608
    return [_batch(row) for row in rows]


def last_batch(db: Connection) -> Batch | None:
    """The batch sealed last, which is the chain's head."""
    rows = db.execute(f"SELECT {BATCH_COLUMNS} FROM batches ORDER BY batch DESC LIMIT 1").fetchall()  # noqa: S608
    return _batch(rows[0]) if rows else None


def add_batch(db: Connection, batch: Batch) -> None:
    """Put a link to the chain."""
    db.execute(
        f"INSERT INTO batches ({BATCH_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            batch.batch,
            batch.first_position,
            batch.last_position,
            batch.rows,
            batch.root,
            batch.recorded,
            batch.sealed_us,
            batch.previous,
            batch.entry,
            batch.journal_anchor,
            batch.user_key,
            batch.names,
        ),
    )


def known_users(db: Connection, user_ids: Sequence[str]) -> dict[str, int]:
    """The pseudonyms of those of many users that have one."""
    keys: dict[str, int] = {}
    for part in _parts(user_ids):
        marks = ", ".join("?" * len(part))
        keys.update(db.execute(f"SELECT user_id, user_key FROM users WHERE user_id IN ({marks})", part).fetchall())  # noqa: S608
    return keys


def user_names(db: Connection, keys: Sequence[int] | None = None) -> dict[int, str]:
    """The ids behind pseudonyms (all of them without ``keys``); forgotten users are absent."""
    if keys is None:
        return dict(db.execute("SELECT user_key, user_id FROM users").fetchall())
    names: dict[int, str] = {}
    for part in _parts(keys):
        marks = ", ".join("?" * len(part))
        names.update(db.execute(f"SELECT user_key, user_id FROM users WHERE user_key IN ({marks})", part).fetchall())  # noqa: S608
    return names


def user_columns(db: Connection) -> tuple[list[int], list[str]]:
    """All pseudonyms, ascending, and the ids behind them."""
    rows = db.execute("SELECT user_key, user_id FROM users ORDER BY user_key").fetchall()
    return [key for key, _ in rows], [name for _, name in rows]


def forgotten(db: Connection) -> int:
    """How many times a user was forgotten."""
    return int(db.execute("SELECT forgotten FROM state WHERE id = 1").fetchone()[0])


def user_count(db: Connection) -> int:
    """How many users the store can still name."""
    return int(db.execute("SELECT count(*) FROM users").fetchone()[0])


def find_user(db: Connection, user_id: str) -> int | None:
    """The pseudonym of a user, or None where the store knows none."""
    row = db.execute("SELECT user_key FROM users WHERE user_id = ?", (user_id,)).fetchone()
    return None if row is None else int(row[0])


def _batch(row: Sequence[Any]) -> Batch:
    number, first, last, rows, root, recorded, sealed, previous, entry, anchor, last_user, names = row
    return Batch(
        number,
        first,
        last,
        rows,
        bytes(root),
        bytes(recorded),
        sealed,
        bytes(previous),
        bytes(entry),
        None if anchor is None else bytes(anchor),
        last_user or 0,
        None if names is None else bytes(names),
    )


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), IDS_PER_QUERY):
        yield values[start : start + IDS_PER_QUERY]
