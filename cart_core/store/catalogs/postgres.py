"""The catalog in a schema of a PostgreSQL database: for stores that several hosts write."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cart_core.errors import (
    Refused,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
)
from cart_core.store.catalogs import catalog, migrating
from cart_core.store.catalogs.catalog import Catalog
from cart_core.store.catalogs.pool import Pool, Raw
from cart_core.store.catalogs.postgres_tables import FURTHER, TYPES
from cart_core.store.catalogs.tables import SCHEMA_VERSION

SCHEMA = "cart_store"
POOL = 10
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
OLDEST_SERVER = 130_000
TABLES = ("meta", "state", "users", "forgotten", "journal", "segments", "batches")
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A writer whose process hangs must not hold up the others for ever.
WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '60s'"
LOCK_STATE = f"{WRITE}; {catalog.STATE} FOR UPDATE"


@dataclass(frozen=True, slots=True)
class Address:
    """What a catalog's URL says: how to connect, the schema of the store, how many connections a process may have."""

    conninfo: str
    schema: str
    pool: int

    @property
    def known(self) -> dict[str, Any]:
        """The parts of the connection string, without the password."""
        return {name: value for name, value in conninfo_to_dict(self.conninfo).items() if name != "password"}

    @property
    def shown(self) -> str:
        """The address as people may read it: nothing secret."""
        known = self.known
        user = f"{known['user']}@" if "user" in known else ""
        port = f":{known['port']}" if "port" in known else ""
        return f"postgresql://{user}{known.get('host', '')}{port}/{known.get('dbname', '')}?schema={self.schema}"


def parse(url: str) -> Address:
    """Read ``postgresql://user@host:port/database?schema=cart_store&pool=10`` and whatever else libpq takes there.

    Raises Refused (bad_settings).
    """
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    schema, pool = options.pop("schema", SCHEMA), options.pop("pool", str(POOL))
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise Refused("bad_settings", f"the schema is {schema!r}, but must be small letters, digits and _ only")
    if not pool.isdecimal() or not int(pool):
        raise Refused("bad_settings", f"pool is {pool!r}, but must be a whole number of connections from 1 on")
    try:
        conninfo = make_conninfo(f"{place}?{urlencode(options, quote_via=quote)}")
    except psycopg.ProgrammingError as error:
        raise Refused("bad_settings", f"the catalog's URL cannot be read: {_line(error)}") from error
    return Address(conninfo, schema, int(pool))


class PostgresCatalog(Catalog):
    """One schema of a database; every transaction has a connection of its own out of a small pool."""

    shared = True
    collisions = psycopg.errors.UniqueViolation

    def __init__(self, url: str, *, create: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        self.address = parse(url)
        self.place = self.address.shown
        self._timeout_s = timeout_s
        self._pool = Pool(self._connect, self.address.pool, timeout_s)
        self._current = threading.local()
        try:
            self._find(create=create)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that sees one moment of the catalog and holds up nobody."""
        outer: Session | None = getattr(self._current, "session", None)
        if outer is not None:
            with translated(self.place):
                yield outer
            return
        with self._transaction(READ) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One exclusive transaction, durable when it ends, undone where it raises."""
        with self._transaction(LOCK_STATE) as session:
            yield session
            session.commit()

    def append(self, db: catalog.Connection, rows: Sequence[Sequence[Any]], recorded_us: int) -> None:
        """Write journal rows and move the state up to the last; where there is one row, both are sent in one go."""
        with db.raw.pipeline() if isinstance(db, Session) and len(rows) == 1 else nullcontext():
            super().append(db, rows, recorded_us)

    def erase(self) -> None:
        """Write the table of users anew, so that nothing deleted is left in it.

        The server's write-ahead log and backups are not ours to clear: docs/operating.md says what they hold and for
        how long. Raises StoreBusy where a transaction of this database may look at what was deleted for longer than the
        timeout.
        """
        with translated(self.place):
            raw, _ = self._pool.begin("SELECT")
            try:
                erased = self._rewrite_users(raw)
            finally:
                raw.close()
                self._pool.give_back(raw)
        if not erased:
            raise StoreBusy(
                f"{self.place}: an older transaction may still look at what was deleted, so its bytes stay: "
                "forget again when that transaction has ended"
            )

    def _rewrite_users(self, raw: Raw) -> bool:
        """Whether the table of users could be written without any deleted row, now or within the timeout.

        The server analyses tables now and then, which lasts a moment and keeps deleted rows meanwhile.
        """
        kept: list[int] = []
        raw.add_notice_handler(lambda notice: kept.append(_dead_rows(notice)))
        waited_s, pause_s = 0.0, FIRST_PAUSE_S
        while True:
            kept.clear()
            raw.execute("VACUUM (FULL, VERBOSE) users")
            if not any(kept) or waited_s >= self._timeout_s:
                return not any(kept)
            raw.execute("SELECT pg_sleep(%s)", (pause_s,))
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)

    def close(self) -> None:
        """Close every connection of this process."""
        self._pool.close()

    @contextmanager
    def _transaction(self, opening: str) -> Iterator[Session]:
        with translated(self.place):
            outer, session = getattr(self._current, "session", None), Session(*self._pool.begin(opening))
            self._current.session = session
            try:
                yield session
            finally:
                self._current.session = outer
                self._pool.give_back(session.raw)

    def _connect(self) -> Raw:
        known = self.address.known
        more: dict[str, Any] = {"application_name": "cart", "connect_timeout": CONNECT_TIMEOUT_S}
        raw = psycopg.connect(
            self.address.conninfo,
            autocommit=True,
            client_encoding="utf8",
            **{name: value for name, value in more.items() if name not in known},
        )
        try:
            raw.execute(
                f'SET search_path = "{self.address.schema}", pg_temp; SET jit = off; '
                f"SET lock_timeout = {int(self._timeout_s * 1000)}; "
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"
            )
        except BaseException:
            raw.close()
            raise
        return raw

    def _find(self, *, create: bool) -> None:
        with self.reading() as db:
            laid = _has_tables(db, ("meta",))
            behind = laid and migrating.check_version(db) < SCHEMA_VERSION
        if not laid and not create:
            raise StoreNotFound(f"{self.place}: there is no store in this database: import something into it first")
        if not laid or behind:
            self._lay()

    def _lay(self) -> None:
        """Lay the tables, or migrate those of an earlier version, unless another process does so at this moment."""
        with self._transaction(WRITE) as db:
            self._check_server(db)
            db.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"cart store {self.address.schema}",))
            if not _has_tables(db, ("meta",)):
                self._make_schema(db)
            elif migrating.check_version(db) == SCHEMA_VERSION:
                return  # another process was quicker, and may be writing by now
            else:
                db.execute("LOCK TABLE state")  # where every writer begins, so none is in the midst of something
            migrating.create(db, TYPES, FURTHER, str(uuid4()))
            db.commit()

    def _make_schema(self, db: Session) -> None:
        if _has_tables(db, TABLES):
            raise Refused(
                "bad_settings",
                f"{self.place}: this schema holds other tables with our names: name another with ?schema=",
            )
        if not db.execute("SELECT FROM pg_namespace WHERE nspname = ?", (self.address.schema,)).rowcount:
            db.execute(f'CREATE SCHEMA "{self.address.schema}"')

    def _check_server(self, db: Session) -> None:
        if db.raw.info.server_version < OLDEST_SERVER:
            raise StoreError(f"{self.place}: the server is older than PostgreSQL {OLDEST_SERVER // 10_000}: upgrade it")
        encoding = db.execute("SHOW server_encoding").fetchone()[0]
        if encoding != "UTF8":
            raise StoreError(
                f"{self.place}: the database stores text as {encoding}, but must as UTF8: "
                "make it with createdb --encoding=UTF8 --template=template0"
            )


class Session:
    """A transaction's connection as the catalog takes it: question marks for placeholders."""

    __slots__ = ("_opened", "raw")

    def __init__(self, raw: Raw, opened: Any) -> None:
        self.raw = raw
        self._opened = opened

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run one statement and return a cursor; where the state was locked, its row has come with the lock."""
        opened, self._opened = self._opened, None
        if sql == catalog.STATE and opened is not None and _last_result(opened).rowcount == 1:
            return opened
        return self.raw.execute(_marked(sql), parameters or None)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """Insert each row of parameters by a plain INSERT; more than one go as a COPY, which is quicker from two on."""
        self._opened = None
        rows, cursor = list(parameters), self.raw.cursor()
        if len(rows) == 1:
            return cursor.execute(_marked(sql), rows[0])
        with cursor.copy(_as_copy(sql)) as copy:
            for row in rows:
                copy.write_row(row)
        return cursor

    def commit(self) -> None:
        """End the transaction; when this returns, it is durable."""
        try:
            done = self.raw.execute("COMMIT").statusmessage
        except psycopg.OperationalError as error:
            if not self.raw.closed:
                raise
            raise StoreUnreachable(
                "the server was lost before it answered to the commit, which is done or not at all: "
                "repeat the call with the same event ids, and nothing is written twice"
            ) from error
        if done != "COMMIT":
            raise StoreError("a statement of this transaction failed, so nothing of it was written")


def _last_result(cursor: Any) -> Any:
    while cursor.nextset():
        pass
    return cursor


@lru_cache(maxsize=256)
def _marked(sql: str) -> str:
    return sql.replace("?", "%s")


@lru_cache(maxsize=16)
def _as_copy(insert: str) -> str:
    found = re.fullmatch(r"INSERT INTO (\w+ \([\w, ]+\)) VALUES \([?, ]+\)", insert)
    if found is None:
        raise ValueError(f"no plain INSERT: {insert}")
    return f"COPY {found[1]} FROM STDIN"


def _has_tables(db: catalog.Connection, names: Sequence[str]) -> bool:
    """Whether the schema of this session holds any of these tables; one that a search would find elsewhere is none."""
    marks = ", ".join("?" * len(names))
    sql = f"SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename IN ({marks})"  # noqa: S608
    return bool(db.execute(sql, tuple(names)).fetchone()[0])


def _dead_rows(notice: psycopg.errors.Diagnostic) -> int:
    """How many deleted rows VACUUM had to keep, from the first number in the detail of what it tells."""
    number = re.search(r"\d+", notice.message_detail or "")
    return int(number[0]) if number else 0


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into those of cart_core.errors, the one place where that happens."""
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(place, error) from error


BUSY = {"55P03", "57014", "25P03", "40P01", "40001", "53300", "55006"}
DENIED = {"42501", "25006", "28000", "28P01"}
AWAY = {"57P01", "57P02", "57P03", "57P05", "58030"}
DAMAGED = {"XX001", "XX002", "42P01", "42703"}


def _meaning(place: str, error: psycopg.Error) -> StoreError:
    state, text = error.sqlstate or "", _line(error)
    if state == "3D000" or re.search(r'database ".*" does not exist', text):
        return StoreNotFound(f"{place}: there is no such database ({text}): make it with createdb")
    if state in BUSY:
        return StoreBusy(f"{place}: another transaction held the catalog too long ({text}): try again")
    if state in DENIED or re.search(r'authentication failed|no pg_hba.conf entry|role ".*" (does not|is not)', text):
        return StoreReadOnly(f"{place}: the server refuses access ({text}): check the user's rights and password")
    if state in AWAY or state.startswith("08") or (not state and isinstance(error, psycopg.OperationalError)):
        return StoreUnreachable(f"{place}: the server does not answer ({text}): try again, or look whether it runs")
    if state in DAMAGED:
        return StoreCorrupt(f"{place}: the catalog is damaged ({text}): restore it from a backup")
    return StoreError(f"{place}: {text}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
