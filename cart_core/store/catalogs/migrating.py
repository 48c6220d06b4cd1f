"""Laying the tables of a catalog, and making those that an earlier version laid the ones of today."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cart_core.errors import StoreTooNew
from cart_core.store.catalogs import users
from cart_core.store.catalogs.catalog import Connection, meta
from cart_core.store.catalogs.tables import MIGRATIONS, SCHEMA_VERSION, TABLES

IN_PYTHON: dict[int, Callable[[Connection], None]] = {2: users.commit_known}
"""What is done after the statements of MIGRATIONS where SQL alone cannot."""


def create(db: Connection, types: dict[str, str], further: Iterable[str], store_id: str) -> None:
    """Lay the tables where there are none, migrate earlier ones, and run ``further`` statements, such as triggers.

    Raises StoreTooNew where a later version laid the tables.
    """
    for statement in TABLES.format(**types).split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('schema_version', ?) ON CONFLICT DO NOTHING", (str(SCHEMA_VERSION),))
    db.execute("INSERT INTO meta VALUES ('store_id', ?) ON CONFLICT DO NOTHING", (store_id,))
    first = "INSERT INTO state (id, position, recorded_at, generation, forgotten, running_hash)"
    db.execute(f"{first} VALUES (1, 0, 0, 0, 0, ?) ON CONFLICT DO NOTHING", (bytes(32),))
    _migrate(db, types)
    for statement in further:
        db.execute(statement)


def check_version(db: Connection) -> int:
    """The version of the catalog's schema. Raises StoreTooNew where it is later than this package's."""
    found = int(meta(db, "schema_version") or 0)
    if found > SCHEMA_VERSION:
        raise StoreTooNew(
            f"the store has schema version {found}, this package reads up to {SCHEMA_VERSION}: upgrade cart-workbench"
        )
    return found


def _migrate(db: Connection, types: dict[str, str]) -> None:
    for version in range(check_version(db), SCHEMA_VERSION):
        for statement in MIGRATIONS[version]:
            db.execute(statement.format(**types))
        if version in IN_PYTHON:
            IN_PYTHON[version](db)
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(version + 1),))
