"""Names for screen readers that the theme leaves out."""

from __future__ import annotations

from typing import Any

SEARCH = 'data-md-component="search" role="dialog"'


def on_post_page(output: str, **_: Any) -> str:
    """The search, which opens as a dialog, is told to be one."""
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')


def on_post_template(output_content: str, **_: Any) -> str:
    """The same on pages that are no document, such as the one for an address that leads nowhere."""
    return output_content.replace(SEARCH, f'{SEARCH} aria-label="Search"')
