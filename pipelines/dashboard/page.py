"""How a report is put together: sections, figures and charts as HTML that needs neither script nor network."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from pipelines.dashboard import svg
from pipelines.dashboard.theme import DARK, LIGHT, SVG_MARKS, Palette

COLOURS = (
    f":root {{ color-scheme: light dark; {LIGHT.variables()}}}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK.variables()}}} }}"
)
WIDE_PX, HALF_PX, NARROW_PX = 1_060, 500, 340

Draw = Callable[[Palette, int], Any]


def page(title: str, eyebrow: str, lead: str, sections: Sequence[str], foot: str) -> str:
    """A whole HTML page with the report's style inside it."""
    style = f"{COLOURS}\n{sheet('report.css')}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(title)}</h1>'
        f'<p class="lead">{escape(lead)}</p></header>\n'
        + "\n".join(sections)
        + f"\n<footer>{foot}</footer>\n</main>\n</body>\n</html>\n"
    )


def sheet(name: str) -> str:
    """A style sheet that stands beside this file."""
    return files("pipelines.dashboard").joinpath(name).read_text("utf-8")


def section(name: str, title: str, lead: str, body: str, meaning: str | None = None) -> str:
    """A titled part of the page; what its figures mean is one click away."""
    told = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(title)}</h2>{told}{body}'
        f"{definition(meaning)}</section>"
    )


def definition(meaning: str | None, asked: str = "How this is counted") -> str:
    """A definition that opens on a click; nothing where there is none."""
    return f"<details><summary>{escape(asked)}</summary><p>{escape(meaning)}</p></details>" if meaning else ""


def figure(name: str, value: str, of: str, meaning: str, more: str = "") -> str:
    """One headline figure with its definition, and perhaps more HTML below it."""
    return (
        f'<div class="figure"><p class="name">{escape(name)}</p><p class="value">{escape(value)}</p>'
        f'<p class="of">{escape(of)}</p>{definition(meaning, "Definition")}{more}</div>'
    )


def chart(draw: Draw, name: str, label: str, *, width: int = WIDE_PX) -> str:
    """A chart drawn twice, for a wide and for a narrow window; only one of them is shown and read out."""
    drawn = {
        "wide": svg.drawing(draw(SVG_MARKS, width), f"{name}-w", label),
        "narrow": svg.drawing(draw(SVG_MARKS, NARROW_PX), f"{name}-n", label),
    }
    return "".join(f'<div class="{size}">{drawing}</div>' for size, drawing in drawn.items())


def side_by_side(*parts: str) -> str:
    """Parts in two columns, or one below the other where the window is narrow."""
    return f'<div class="two">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def part(title: str, body: str) -> str:
    """A titled piece of a section."""
    return f"<h3>{escape(title)}</h3>{body}"


def text(value: str) -> str:
    """Text as HTML shows it."""
    return escape(value)


def slug(name: str) -> str:
    """A name as an id in the page: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def empty(reason: str) -> str:
    """What stands where there is nothing to show."""
    return f'<p class="empty">{escape(reason)}</p>'
