"""Charts as drawings inside a page: no script, no network, colours from the page's style sheet."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import vl_convert

from pipelines.dashboard.theme import SVG_MARKS, dressed

_OWN_WORDS = re.compile(r' (?:class="marks"|font-family="[^"]*"|role="[^"]*"|aria-[a-z]+="[^"]*")')
_ID = re.compile(r'\bid="([^"]+)"')
_SIZE = re.compile(r'<svg ([^>]*?)width="([\d.]+)" height="([\d.]+)"')


def drawing(chart: Any, name: str, label: str) -> str:
    """A chart as one SVG element that scales down with its column and is read out as ``label``.

    ``name`` must be unique in the page: ids inside the drawing are numbered under it, as the renderer's own numbers
    go on from drawing to drawing.
    """
    svg: str = vl_convert.vegalite_to_svg(dressed(chart, SVG_MARKS).to_dict(validate=False))
    for role, colour in SVG_MARKS.roles().items():
        svg = svg.replace(colour, f"var(--{role})")
    svg = _OWN_WORDS.sub("", svg)
    for number, own in enumerate(dict.fromkeys(_ID.findall(svg))):
        svg = re.sub(rf'(?<=id="){own}(?=")|(?<=#){own}(?=[")])', f"{name}-{number}", svg)
    told = f'<svg class="drawing" role="img" aria-label="{escape(label, quote=True)}" \\1style="max-width:\\2px" '
    return _SIZE.sub(told, svg, count=1)
