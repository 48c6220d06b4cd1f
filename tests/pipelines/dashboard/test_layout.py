"""What a visitor takes away from a chart: its rows, and its picture."""

from __future__ import annotations

import io
from datetime import date

import polars as pl

from pipelines.dashboard import charts, layout
from pipelines.dashboard.layout import Drawing
from tests.pipelines.dashboard import shop_tables

PNG = b"\x89PNG\r\n\x1a\n"


def test_rows_come_back_from_their_file():
    """The CSV of a table has its columns and values."""
    daily = shop_tables.funnel_daily()
    read = pl.read_csv(io.BytesIO(layout.csv(daily)), try_parse_dates=True)
    assert read["converted"].to_list() == daily["converted"].to_list()
    assert read["date"][0] == date(2026, 1, 1)


def test_no_cell_is_run_as_a_formula():
    """Text that a spreadsheet would run begins with a quote; numbers and other text stay as they are."""
    frame = pl.DataFrame({"name": ["=1+1", "@x", "mug"], "number": [-1, 2, 3]})
    assert layout.csv(frame).decode().splitlines() == ["name,number", "'=1+1,-1", "'@x,2", "mug,3"]


def test_lists_are_json_in_a_file():
    """A column of lists is one cell of JSON a row."""
    assert layout.csv(pl.DataFrame({"reasons": [["a", "b"], []]})).decode().splitlines()[1:] == [
        '"[""a"", ""b""]"',
        "[]",
    ]


def test_a_chart_is_a_picture():
    """The PNG of a chart is one, and larger than an empty one would be."""
    picture = layout.png(Drawing("funnel", shop_tables.funnel_steps(), charts.funnel_steps, "", ""))
    assert picture.startswith(PNG)
    assert len(picture) > 10_000


def test_days_are_counted_from_the_last():
    """The last so many days of a table, the last one among them."""
    daily = shop_tables.cohorts(days=20)
    assert layout.last_days(daily, 7)["date"].to_list() == [date(2026, 1, day) for day in range(14, 21)]
    assert layout.last_days(daily, None).height == 20
