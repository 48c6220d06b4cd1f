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
    page: str
    good_wash: str
    warn_wash: str
    warn_ink: str

    def roles(self) -> dict[str, str]:
        """Role to colour."""
        return {field.name.replace("_", "-"): getattr(self, field.name) for field in fields(self)}

    def variables(self) -> str:
        """The colours as custom properties of a style sheet."""
        return "".join(f"--{role}: {colour}; " for role, colour in self.roles().items())


LIGHT = Palette(
    ink="#1b2430",
    muted="#5b6675",
    line="#dfe3e8",
    paper="#ffffff",
    good="#0e7c66",
    fair="#69b3a2",
    lost="#c8553d",
    quiet="#b8c0ca",
    page="#f5f6f4",
    good_wash="#eef8f5",
    warn_wash="#fbeae5",
    warn_ink="#9c3a24",
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
    page="#0f141a",
    good_wash="#12332d",
    warn_wash="#3a211b",
    warn_ink="#f4a48f",
)
SVG_MARKS = Palette(*(f"#0a0b{place:02x}" for place in range(12)))
"""Colours that stand for roles until a page replaces them by its own, so one drawing serves light and dark."""


def dressed(chart: alt.TopLevelMixin, palette: Palette, font: str = FONT) -> Any:
    """A chart with the shared settings: no frame, light grid lines, text in the page's colours."""
    return (
        chart.configure(
            background="transparent",
            font=font,
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
