"""Explain a number: from a row of any derived table to what it adds up from, down to carts and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pipelines.derive.explain import abandonment, carts, experiments, funnels, headline, recovery
from pipelines.derive.explain.evidence import WHAT, Evidence, Explanation, Row
from pipelines.tables import TABLES
from pipelines.tables.contract import Table, TableError

__all__ = ["TRACERS", "Evidence", "Explanation", "explain", "key_of"]

TRACERS: dict[str, Callable[[Row, Evidence], pl.DataFrame]] = {
    name: tracer
    for module in (carts, abandonment, recovery, funnels, experiments, headline)
    for name, tracer in module.TRACERS.items()
}
"""How a row of each derived table is taken apart."""

TERMS = {
    "recovery_rate": ("recovered", "mature"),
    "abandonment_rate": ("abandoned", "carts"),
    "checkout_rate": ("checked_out", "carts"),
    "treatment_rate": ("treatment_recovered", "treatment_users"),
    "holdout_rate": ("holdout_recovered", "holdout_users"),
    "step_rate": ("converted", "entered"),
    "add_rate": ("adders", "viewers"),
    "buy_rate": ("buyers", "viewers"),
}
"""What a ratio is made of: numerator and denominator."""


def explain(name: str, key: Mapping[str, Any], evidence: Evidence, column: str | None = None) -> Explanation:
    """One row of a derived table, taken apart; with a column, only what adds to it (or to its ratio's terms).

    ``key`` has a value for each key column of the table (see ``key_of``). The parts' sums are the row's figures, as
    long as nothing was appended since the table was derived. Raises TableError where there is no such table, column
    or row.
    """
    table = _table(name)
    asked = [pl.col(each) == pl.lit(value, table.column(each).dtype) for each, value in key.items()]
    rows = evidence.scan(name).filter(*asked).collect()
    if rows.height != 1:
        raise TableError(f"table {name} has {rows.height} rows with {dict(key)}, not one")
    row = rows.row(0, named=True)
    found = TRACERS[name](row, evidence)
    found = found.select(each for each in found.columns if each in WHAT or each in table.schema)
    if column is not None:
        table.column(column)
        terms = [each for each in TERMS.get(column, (column,)) if each in found.columns]
        if terms:
            found = found.filter(pl.any_horizontal(pl.col(each) != 0 for each in terms)).select(*WHAT, *terms)
    return Explanation(name, row, found)


def key_of(name: str, text: str) -> dict[str, Any]:
    """The key of a row from text: its values in the order of the table's key, separated by commas.

    Days are 2026-01-31, moments RFC 3339, yes and no true and false. Raises TableError where there are more or fewer
    values than key columns, or one is none of its type.
    """
    table = _table(name)
    values = [each.strip() for each in text.split(",")]
    if len(values) != len(table.key):
        raise TableError(f"table {name} has the key {', '.join(table.key)}; {text!r} is not those, with commas between")
    return {each: _value(table, each, value) for each, value in zip(table.key, values, strict=True)}


def _table(name: str) -> Table:
    if name not in TABLES:
        raise TableError(f"there is no derived table {name!r}; there are {sorted(TABLES)}")
    return TABLES[name]


def _value(table: Table, column: str, text: str) -> Any:
    dtype = table.column(column).dtype
    series = pl.Series([text])
    try:
        if dtype == pl.Binary:
            return bytes.fromhex(text.replace("-", ""))
        if dtype == pl.Date:
            return series.str.to_date("%Y-%m-%d").item()
        if isinstance(dtype, pl.Datetime):
            return series.str.to_datetime("%+", time_unit="us", time_zone="UTC").item()
        return series.cast(dtype).item()
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise TableError(f"table {table.name}: {text!r} is no {dtype}, which {column} is") from error
