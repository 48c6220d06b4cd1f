from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.tables import INPUTS, TABLES
from pipelines.tables.listing import listing, put_into

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_the_page_has_the_tables_as_they_are() -> None:
    """docs/metrics.md is what ``python -m pipelines.tables.listing < docs/metrics.md`` writes."""
    page = PAGE.read_text("utf-8")
    assert page == put_into(page)


def test_every_column_is_listed() -> None:
    """Every table has a section with a line per column."""
    text = listing()
    for table in [*TABLES.values(), *INPUTS.values()]:
        section = text.split(f"### {table.name}\n")[1].split("\n### ")[0]
        assert re.findall(r"^\| (\w+) \|", section, re.MULTILINE)[1:] == table.schema.names()


def test_the_sources_that_the_page_names_exist() -> None:
    """Every file that the page names as a source is there."""
    named = re.findall(r"`([\w/]+\.py)`", PAGE.read_text("utf-8"))
    derive = PAGE.parents[1] / "pipelines" / "derive"
    missing = [name for name in named if not (PAGE.parents[1] / name).exists() and not (derive / name).exists()]
    assert named
    assert missing == []


def test_a_page_without_the_mark_is_refused() -> None:
    """Nothing is overwritten where the page does not say where the listing goes."""
    with pytest.raises(ValueError, match="has no line"):
        put_into("# Another page\n")
