"""The dashboard: which page is on, and what it is handed. ``cart dashboard`` runs it in Streamlit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import streamlit as st

from cart_core.errors import CartError
from pipelines.dashboard import layout, page
from pipelines.dashboard.pages import coupons, experiments, explain, explorer, funnel, health, overview, recovery
from pipelines.dashboard.setting import Explain, Setting
from pipelines.dashboard.source import Source, load, stamp
from pipelines.dashboard.theme import DARK, LIGHT

Page = Callable[[Setting], None]

PAGES: dict[str, tuple[str, Page]] = {
    "overview": ("Overview", overview.show),
    "funnel": ("Funnel", funnel.show),
    "experiments": ("Experiments", experiments.show),
    "recovery": ("Abandonment and recovery", recovery.show),
    "coupons": ("Coupons", coupons.show),
    "carts": ("Cart explorer", explorer.show),
    "health": ("Data health", health.show),
    "explain": ("Explain a figure", explain.show),
}
"""Every page by its address: its title, and what shows it."""

LINKED_ONLY = {"explain"}


def run(store: Path, clock: Callable[[], datetime], explain: Explain | None = None) -> None:
    """Show the page that the address names, on the tables of a shop's folder as they stand now."""
    st.set_page_config(page_title="Cart Workbench", page_icon=page.sheet("favicon.svg"), layout="wide")
    palette = DARK if st.context.theme.type == "dark" else LIGHT
    layout.style(palette)
    derived = store / "derived"
    setting = Setting(store, tables(derived, stamp(derived)), palette, clock, explain)
    pages = [
        st.Page(
            _shown(show, setting), title=title, url_path=address, default=address == "overview",
            visibility="hidden" if address in LINKED_ONLY else "visible",
        )
        for address, (title, show) in PAGES.items()
    ]  # fmt: skip
    st.navigation(pages, position="top").run()


@st.cache_resource(max_entries=4, show_spinner="Reading the tables")
def tables(derived: Path, written: tuple[tuple[str, int], ...]) -> Source:
    """The tables of a folder, read again once one of them was written anew."""
    del written
    return load(derived)


def _shown(wanted: Page, setting: Setting) -> Callable[[], None]:
    def show() -> None:
        try:
            wanted(setting)
        except CartError as error:
            st.error(f"This page cannot be shown. {error}", icon=":material/error:")

    return show
