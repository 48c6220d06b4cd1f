"""A DuckDB connection over one moment of the store, which may read the store and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from cart_core import rules
from cart_core.errors import Refused
from cart_core.projector.streaming import NOW, Moment
from cart_core.schema import EVENTS
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.reading import projection
from cart_core.store.segments import upcasting

if TYPE_CHECKING:
    from cart_core.store.store import CartStore

READING = {
    duckdb.StatementType.SELECT,
    duckdb.StatementType.EXPLAIN,
    duckdb.StatementType.RELATION,
    duckdb.StatementType.MULTI,
}


def connect(
    store: CartStore, tables: Mapping[str, Path] | None = None, moment: Moment = NOW
) -> duckdb.DuckDBPyConnection:
    """Views events, carts, lines of a moment, and one for each Parquet file of ``tables``; ids are text, times in UTC.

    External access is off and the configuration locked, so a query can reach no other file, network or extension.
    """
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    with store.catalog.reading() as reading:
        position = catalog.state(reading).position
        live = store.reader.segments(reading)
        tail = at_rest.from_journal(catalog.journal(reading))
        names = catalog.user_names(reading)
    moment = replace(moment, until=position if moment.until is None else min(moment.until, position))
    places = store.folder.locations([each for each in live if upcasting.is_current(each.schema_version)])
    earlier = [store.folder.read(each) for each in live if each.file not in places]
    _load(db, "users", pa.table({"user_key": pa.array(names, pa.int64()), "user_id": list(names.values())}))
    _load(db, "journal", pa.concat_tables([tail, *earlier]))
    db.execute(f"CREATE VIEW events AS {_events_sql(live, places)} {_within(moment)}")
    files = {**projection.current(store, moment), **{name: (path,) for name, path in (tables or {}).items()}}
    for name, paths in files.items():
        source = f"read_parquet([{', '.join(_quoted(str(path)) for path in paths)}])"
        db.execute(f'CREATE VIEW "{name}" AS SELECT {_columns(db, source)} FROM {source}')
    allowed = ", ".join(_quoted(str(each)) for each in (*places.values(), *chain.from_iterable(files.values())))
    db.execute(f"SET allowed_paths = [{allowed}]")
    db.execute("SET enable_external_access = false")
    db.execute("SET lock_configuration = true")
    return db


def query(store: CartStore, sql: str, moment: Moment = NOW) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of a query over events, carts, lines and every derived table.

    Under a bound of ``moment`` there are no derived tables, which are of the moment they were derived at. Raises
    Refused with DuckDB's own words where the query is wrong or reaches for more.
    """
    derived = {path.stem: path for path in sorted((store.path / "derived").glob("*.parquet"))} if moment == NOW else {}
    for name in projection.TABLES:
        derived.pop(name, None)
    with connect(store, derived, moment) as db:
        try:
            _check_reads(db, sql)
            done = db.execute(sql)
            return [each[0] for each in done.description or ()], done.fetchall()
        except duckdb.Error as error:
            raise Refused("bad_query", str(error).splitlines()[0]) from error


def _check_reads(db: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse what is no query: a COPY could write over a segment's file where file permissions do not hold."""
    for statement in db.extract_statements(sql):
        if statement.type not in READING:
            raise Refused(
                "not_a_query", f"only queries may be asked, not {statement.type.name}: {statement.query[:60]}"
            )


def _load(db: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    db.register("loading", table)
    db.execute(f"CREATE TABLE {name} AS SELECT * FROM loading")
    db.unregister("loading")


def _events_sql(live: list[Segment], places: dict[str, str]) -> str:
    live = [each for each in live if each.file in places]
    plain = [each for each in live if not each.position_shift and each.recorded_us is None]
    sources = ["SELECT * EXCLUDE (bucket) FROM journal"]
    if plain:
        files = ", ".join(_quoted(places[each.file]) for each in plain)
        sources.append(f"SELECT * EXCLUDE (bucket) FROM read_parquet([{files}])")
    for each in live:
        if each.position_shift or each.recorded_us is not None:
            recorded = "recorded_at" if each.recorded_us is None else f"make_timestamptz({each.recorded_us})"
            sources.append(
                f"SELECT * EXCLUDE (bucket) REPLACE (position + {each.position_shift} AS position, "
                f"{recorded} AS recorded_at) FROM read_parquet({_quoted(places[each.file])})"
            )
    columns = ", ".join(_event_column(name) for name in EVENTS.names)
    return f"SELECT {columns} FROM ({' UNION ALL BY NAME '.join(sources)}) stored LEFT JOIN users USING (user_key)"


def _within(moment: Moment) -> str:
    bounds = {
        "position": moment.until,
        "timestamp": moment.at and f"make_timestamptz({rules.to_micros(moment.at)})",
        "recorded_at": moment.known_at and f"make_timestamptz({rules.to_micros(moment.known_at)})",
    }
    held = [f"stored.{name} <= {bound}" for name, bound in bounds.items() if bound is not None]
    return f"WHERE {' AND '.join(held)}" if held else ""


def _event_column(name: str) -> str:
    if name == "user_id":
        return f"coalesce(users.user_id, '{at_rest.FORGOTTEN}' || stored.user_key) AS user_id"
    return f"stored.{name}::VARCHAR AS {name}" if name in ("event_id", "cart_id") else f"stored.{name}"


def _columns(db: duckdb.DuckDBPyConnection, source: str) -> str:
    described = db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return ", ".join(
        f'"{name}"::VARCHAR AS "{name}"' if kind == "UUID" else f'"{name}"' for name, kind, *_ in described
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
