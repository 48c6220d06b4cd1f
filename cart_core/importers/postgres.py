"""The table ``cart_events`` of the system that this workbench grew out of, read from PostgreSQL.

It is incremental without a cursor of its own: in one snapshot, every cart's last version there is held against the
version known here, and only what is above is read. So a row whose transaction commits late is found by the next run,
whatever was read before, and a row that is corrected completes its cart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import Composed

from cart_core.errors import SourceError
from cart_core.importers import jsonl
from cart_core.importers.json_columns import JsonColumns
from cart_core.importers.sources import EventBatch, Options

TABLE = "cart_events"
CARTS_AT_ONCE = 20_000
ROWS_AT_ONCE = 20_000
COLUMNS = {
    "event_id": ("event_id", "id"),
    "cart_id": ("cart_id",),
    "user_id": ("user_id",),
    "version": ("version",),
    "type": ("type", "event_type"),
    "payload": ("payload", "event", "data", "event_data"),
    "timestamp": ("timestamp", "occurred_at", "created_at"),
    "metadata": ("metadata",),
}
NEEDED = ("cart_id", "user_id", "version", "payload", "timestamp")
Types = dict[str, tuple[str, str]]
"""For each column of COLUMNS that the table has, its name there and its type."""

CARTS = "SELECT {cart_id}::text, max({version})::bigint FROM {table} GROUP BY 1"
ROWS = """
    SELECT {version}::bigint, jsonb_strip_nulls(jsonb_build_object(
        'eventId', {event_id},
        'cartId', {cart_id}::text,
        'userId', {user_id}::text,
        'timestamp', to_char({timestamp} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'version', {version},
        'event', {event},
        'metadata', {metadata}
    ))::text
    FROM {table} JOIN unnest(%s::text[], %s::bigint[]) AS behind (cart, head) ON {cart_id}::text = behind.cart
    WHERE {version} > behind.head
    ORDER BY {cart_id}, {version}
"""


def batches(files: Sequence[str], options: Options) -> Iterator[EventBatch]:
    """The events of ``cart_events`` in the databases named by DSNs that are newer than what is known.

    A row's number is its version. A timestamp column without a zone is taken as UTC; where ids are no UUIDs an
    event's id is made from its cart and version. Raises SourceError where a database cannot be reached, or the table
    is missing or has other columns.
    """
    for dsn in files:
        shown = _shown(dsn)
        try:
            with psycopg.connect(dsn, application_name="cart import") as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                yield from _read(connection, shown, options)
        except psycopg.Error as error:
            raise SourceError(f"{shown} cannot be read: {str(error).strip()}") from error


def _shown(dsn: str) -> str:
    """A DSN without what is secret in it. Raises SourceError where it is none."""
    try:
        known = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise SourceError("what was given is no PostgreSQL connection string: postgresql://user@host/db") from error
    return f"postgresql://{known.get('host', '')}:{known.get('port', 5432)}/{known.get('dbname', '')}"


def _read(connection: Connection[Any], shown: str, options: Options) -> Iterator[EventBatch]:
    names = _names(_types(connection, shown))
    columns = JsonColumns()
    done = 0
    with connection.cursor(name="carts") as carts:
        carts.execute(_composed(CARTS, names))
        while some := carts.fetchmany(CARTS_AT_ONCE):
            heads = options.heads([cart for cart, _ in some]) if options.heads is not None else [0] * len(some)
            behind = [(cart, head) for (cart, last), head in zip(some, heads, strict=True) if head < (last or 0)]
            if behind:
                yield from _rows(connection, shown, columns, names, behind)
            done += len(some)
            if options.progress is not None:
                options.progress(done, max(done, carts.rowcount))


def _rows(
    connection: Connection[Any], shown: str, columns: JsonColumns, names: dict[str, Any], behind: list[tuple[str, int]]
) -> Iterator[EventBatch]:
    with connection.cursor(name="rows") as found:
        found.execute(_composed(ROWS, names), [[cart for cart, _ in behind], [head for _, head in behind]])
        while some := found.fetchmany(ROWS_AT_ONCE):
            texts = [text.encode() for _, text in some]
            numbers = [int(version) for version, _ in some]
            events, kept, refused = jsonl.parse(columns, shown, texts, numbers)
            taken = [texts[place] for place in kept]
            yield EventBatch(shown, events, np.array(numbers, np.int64)[kept], taken.__getitem__, refused)


def _types(connection: Connection[Any], shown: str) -> Types:
    found = dict(
        connection.execute(
            "SELECT column_name::text, data_type::text FROM information_schema.columns "
            "WHERE table_name = %s AND table_schema = ANY (current_schemas(false))",
            [TABLE],
        ).fetchall()
    )
    if not found:
        raise SourceError(f"{shown} has no table {TABLE}")
    types = {
        name: (known, found[known])
        for name, aliases in COLUMNS.items()
        if (known := next((alias for alias in aliases if alias in found), None)) is not None
    }
    missing = [name for name in NEEDED if name not in types]
    if missing:
        raise SourceError(f"{TABLE} in {shown} has no column {', '.join(missing)}: it has {', '.join(found)}")
    return types


def _names(types: Types) -> dict[str, Composed]:
    """What stands for each name in the queries."""
    names: dict[str, Any] = {name: sql.Identifier(TABLE, known) for name, (known, _) in types.items()}
    names["table"] = sql.Identifier(TABLE)
    names.setdefault("metadata", sql.SQL("NULL::jsonb"))
    payload = sql.SQL("{}::jsonb").format(names["payload"])
    names["event"] = payload
    if "type" in names:
        names["event"] = sql.SQL("jsonb_build_object('type', {}) || {}").format(names["type"], payload)
    if types.get("event_id", ("", ""))[1] not in ("uuid", "text", "character varying"):
        names["event_id"] = sql.SQL("md5({}::text || '/' || {}::text)::uuid").format(names["cart_id"], names["version"])
    if types["timestamp"][1] == "timestamp without time zone":
        names["timestamp"] = sql.SQL("({} AT TIME ZONE 'UTC')").format(names["timestamp"])
    return names


def _composed(query: str, names: dict[str, Any]) -> Composed:
    return sql.SQL(query).format(**names)
