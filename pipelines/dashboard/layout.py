"""What pages are laid out of: a head, cards, charts with their downloads and definitions, listings, empty states."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Any, Literal

import altair as alt
import polars as pl
import streamlit as st

from pipelines.dashboard import links, page
from pipelines.dashboard.setting import Setting
from pipelines.dashboard.theme import LIGHT, Palette, dressed

FONT = '"Source Sans", Arial, Helvetica, sans-serif'
PNG_SCALE, PNG_WIDTH_PX = 2, 1_060
PERIODS = {"All days": None, "Last 28 days": 28, "Last 14 days": 14, "Last 7 days": 7}
FORMULA = r"^[=+\-@\t\r]"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart of one table: how it is drawn, what a screen reader says, and how its figures are counted.

    ``name`` is its id in the page and the name of its files; ``table`` and ``key`` lead to the carts behind it.
    """

    name: str
    frame: pl.DataFrame
    draw: Callable[[pl.DataFrame, Palette, int], Any]
    label: str
    meaning: str
    table: str | None = None
    key: str | None = None


def style(palette: Palette) -> None:
    """The report's style sheet inside this page, in the colours of the theme that is on."""
    sheets = f".cw {{ {page.sheet('report.css')} }} {page.sheet('dashboard.css')}"
    st.html(f"<style>:root {{ {palette.variables()}}} {sheets}</style>")


def html(body: str, width: Literal["stretch", "content"] = "stretch") -> None:
    """A piece of HTML in the report's dress."""
    st.html(f'<div class="cw">{body}</div>', width=width)


def head(title: str, lead: str, eyebrow: str) -> None:
    """The page's title, what it answers, and the moment that its figures are as of."""
    html(
        f'<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>'
        f'<p class="lead">{escape(lead)}</p></header>'
    )


@contextmanager
def card(name: str, title: str, lead: str = "") -> Iterator[None]:
    """A titled part of the page."""
    with st.container(key=f"card-{name}", gap="small"):
        told = f'<p class="lead">{escape(lead)}</p>' if lead else ""
        html(f'<h2 id="{name}">{escape(title)}</h2>{told}')
        yield


@contextmanager
def filters() -> Iterator[None]:
    """A row of filters that wraps where the window is narrow; each is kept in the page's address."""
    with st.container(key="filters", horizontal=True, vertical_alignment="bottom", gap="small"):
        yield


def chosen_days() -> int | None:
    """How many days the visitor wants to see; None for all."""
    return PERIODS[one_of("Days", list(PERIODS), "days", width=180)]


def last_days(frame: pl.DataFrame, days: int | None) -> pl.DataFrame:
    """The rows of so many days by the column date, counted back from its last day."""
    last: date | None = frame["date"].max()  # type: ignore[assignment]
    return frame if days is None or last is None else frame.filter(pl.col("date") > last - timedelta(days))


def one_of(label: str, options: Sequence[str], key: str, width: int = 220) -> str:
    """A choice of one, the first unless the address says otherwise."""
    chosen = st.selectbox(label, list(options), key=key, bind="query-params", width=width)
    return chosen if chosen in options else options[0]


def chart(setting: Setting, drawing: Drawing) -> None:
    """A chart, and below it how it is counted, its rows as CSV, itself as PNG, and the carts behind it."""
    if drawing.frame.is_empty():
        html(page.empty("Nothing to draw yet: there is no such row."))
        return
    drawn = dressed(drawing.draw(drawing.frame, setting.palette, page.WIDE_PX), setting.palette, FONT)
    drawn = drawn.properties(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    st.altair_chart(drawn, width="stretch", theme=None, key=f"chart-{drawing.name}", alt=drawing.label)
    with st.container(key=f"more-{drawing.name}", horizontal=True, gap="small", vertical_alignment="center"):
        definition(drawing.meaning)
        download_csv(drawing.name, drawing.frame)
        st.download_button(
            "PNG", lambda: png(drawing), f"{drawing.name}.png", "image/png", key=f"png-{drawing.name}",
            on_click="ignore", type="tertiary", icon=":material/image:", help="This chart as a picture",
        )  # fmt: skip
        if drawing.table and setting.explain is not None:
            html(links.anchor(links.explain(drawing.table, drawing.key), "Explain"), width="content")


def definition(meaning: str) -> None:
    """How figures are counted, one click away."""
    with st.popover("How this is counted", type="tertiary", icon=":material/info:"):
        st.write(meaning)


def listing(name: str, body: str, frame: pl.DataFrame, meaning: str) -> None:
    """A table that is ready HTML, with how it is counted and its rows as CSV."""
    html(body)
    with st.container(key=f"more-{name}", horizontal=True, gap="small", vertical_alignment="center"):
        definition(meaning)
        download_csv(name, frame)


def download_csv(name: str, frame: pl.DataFrame) -> None:
    """A button that gives rows as a file."""
    st.download_button(
        "CSV", lambda: csv(frame), f"{name}.csv", "text/csv", key=f"csv-{name}",
        on_click="ignore", type="tertiary", icon=":material/download:", help="These rows as a file",
    )  # fmt: skip


def empty(reason: str, command: str | None = None) -> None:
    """What stands where there is nothing to show, and the command that changes that."""
    with st.container(key=f"card-empty-{page.slug(reason)[:40]}"):
        html(page.empty(reason) + (f"<pre><code>{escape(command)}</code></pre>" if command else ""))


def png(drawing: Drawing) -> bytes:
    """A chart as a picture on white, sharp enough to print."""
    import vl_convert  # noqa: PLC0415 - a page is drawn without it

    drawn = dressed(drawing.draw(drawing.frame, LIGHT, PNG_WIDTH_PX), LIGHT).properties(background=LIGHT.paper)
    document = drawn.to_dict(validate=False)
    document["config"]["background"] = LIGHT.paper
    picture: bytes = vl_convert.vegalite_to_png(document, scale=PNG_SCALE)
    return picture


def csv(frame: pl.DataFrame) -> bytes:
    """Rows as CSV: lists as JSON, and no cell that a spreadsheet would run as a formula."""
    return frame.select(_cells(name, dtype) for name, dtype in frame.schema.items()).write_csv().encode()


def _cells(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_nested():
        return column.map_elements(lambda value: json.dumps(_plain(value), default=str), pl.String)
    if dtype == pl.String:
        return pl.when(column.str.contains(FORMULA)).then("'" + column).otherwise(column).alias(name)
    return column


def _plain(value: Any) -> Any:
    return value.to_list() if isinstance(value, pl.Series) else value
