"""The few figures that a page opens with."""

from __future__ import annotations

from pipelines.tables.contract import COUNT, NUMBER, TEXT, Column, Table

HEADLINE = Table(
    "headline",
    "One figure of the whole shop as of one moment.",
    ("figure",),
    (
        Column("figure", TEXT, "id", "The figure's name; excluded_<reason> counts open episodes with that reason."),
        Column("unit", TEXT, "word", "count, cents or ratio."),
        Column("value", NUMBER, "unit", "The figure.", null="where its denominator is 0"),
        Column("part", COUNT, "count", "The numerator of a ratio.", null="unless a ratio"),
        Column("whole", COUNT, "count", "The denominator of a ratio.", null="unless a ratio"),
        Column("currency", TEXT, "word", "The currency of cents.", null="unless cents"),
    ),
)

TABLES = (HEADLINE,)
