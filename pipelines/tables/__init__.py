"""Every derived table: columns, types, units, key and meaning.

``carts`` and ``lines`` hold cart_id as 16 bytes, as the events table does (a UUID in Parquet and Arrow, Binary in
polars, text in DuckDB); every other table holds ids as text. ``ids_as_text`` turns the one into the other.
"""

from __future__ import annotations

from pipelines.tables import abandonment, carts, experiments, funnels, headline, inputs, recovery
from pipelines.tables.contract import Column, Table, TableError, conformed, ids_as_bytes, ids_as_text, uuid_text

TABLES: dict[str, Table] = {
    table.name: table
    for module in (carts, abandonment, recovery, funnels, experiments, headline)
    for table in module.TABLES
}
"""Every derived table by name."""

INPUTS: dict[str, Table] = {table.name: table for table in inputs.TABLES}
"""What a shop hands in beside its events, by name."""

__all__ = ["INPUTS", "TABLES", "Column", "Table", "TableError", "conformed", "ids_as_bytes", "ids_as_text", "uuid_text"]
