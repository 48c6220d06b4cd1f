"""One look for every chart: colours by role, and the settings that all charts share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import altair as alt

FONT = "Arial, Helvetica, sans-serif"


@dataclass(frozen=True, slots=True)
class Palette:
    """A colour for each role a mark can have."""

    ink: str
    muted: str
    line: str
    paper: str
    good: str
    fair: str
    lost: str
    quiet: str

    def roles(self) -> dict[str, str]:
        """Role to colour."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


LIGHT = Palette(
    ink="#1b2430",
    muted="#5b6675",
    line="#dfe3e8",
    paper="#ffffff",
    good="#0e7c66",
    fair="#69b3a2",
    lost="#c8553d",
    quiet="#b8c0ca",
)
DARK = Palette(
    ink="#e8ebef",
    muted="#9aa5b3",
    line="#2d3642",
    paper="#161c24",
    good="#3ecfae",
    fair="#2b8674",
    lost="#f0876d",
    quiet="#55606e",
)
SVG_MARKS = Palette(*(f"#0a0b0{place}" for place in range(8)))
"""Colours that stand for roles until a page replaces them by its own, so one drawing serves light and dark."""


def dressed(chart: alt.TopLevelMixin, palette: Palette) -> Any:
    """A chart with the shared settings: no frame, light grid lines, text in the page's colours."""
    return (
        chart.configure(
            background="transparent",
            font=FONT,
            padding=2,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=palette.muted,
            titleColor=palette.muted,
            gridColor=palette.line,
            domainColor=palette.line,
            tickColor=palette.line,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelLimit=220,
        )
        .configure_legend(
            labelColor=palette.ink,
            titleColor=palette.muted,
            labelFontSize=12,
            orient="top",
            title=None,
            symbolType="square",
        )
        .configure_text(color=palette.ink, fontSize=12)
        .configure_title(color=palette.ink, anchor="start")
    )
