"""Explain a figure: one row of a derived table, taken apart into the carts and events that it adds up from."""

from __future__ import annotations

import polars as pl
import streamlit as st

from pipelines import files
from pipelines.dashboard import detail_listings, layout, page, words
from pipelines.dashboard.definitions import FIGURES
from pipelines.dashboard.setting import Setting
from pipelines.tables import TABLES, Table

OFFERED_ROWS = 500
EVERYTHING = "Everything"
NUMBERS = (pl.Int32, pl.Int64, pl.Float64)


def show(setting: Setting) -> None:
    """Choose a row, perhaps one figure of it, and see its parts; each part leads to its cart."""
    layout.head("Explain a figure", "From a row of a table to the carts and events behind it.", "Explain")
    standing = [name for name in TABLES if name in setting.source.counts]
    if setting.explain is None or not standing:
        layout.empty("There is nothing to explain: no table has been derived yet.", "cart --store STORE refresh")
        return
    with layout.filters():
        name = layout.one_of("Table", standing, "table")
        table = TABLES[name]
        keys = rows_offered(setting, table)
        if not keys:
            layout.html(page.empty(f"The table {name} has no rows."))
            return
        row = st.selectbox("Row", keys, key="row", bind="query-params", width=340, accept_new_options=True) or keys[0]
        column = layout.one_of("Figure", [EVERYTHING, *_figures(table)], "figure")
    with st.spinner("Taking it apart: the events of its carts are read"):
        found, parts = setting.explain(name, row, None if column == EVERYTHING else column)
    with layout.card("row", *_titled(table, row)):
        layout.html(detail_listings.row(table, found, None if column == EVERYTHING else column))
    with layout.card("parts", "What it adds up from", detail_listings.parts_lead(parts)):
        if parts.height:
            meaning = "Each line is one part: a cart, an episode, a shopper or an event, and what it adds to the row."
            layout.listing("parts", detail_listings.parts(parts), parts, meaning)


def rows_offered(setting: Setting, table: Table) -> list[str]:
    """The keys of a table's first rows as text, as ``cart explain`` takes them."""
    rows = files.scan_table(setting.derived, table.name).select(table.key).head(OFFERED_ROWS).collect()
    return [",".join(detail_listings.key_text(value) for value in row) for row in rows.iter_rows()]


def _titled(table: Table, row: str) -> tuple[str, str]:
    """What a row is called: a headline figure by its name on the overview, others by their table."""
    figure = FIGURES.get(row) if table.name == "headline" else None
    return (figure.title, figure.meaning) if figure else (words.words(table.name), table.meaning)


def _figures(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.dtype in NUMBERS and column.name not in table.key]
