"""Cart explorer: one cart's life, moment by moment, with what each event did, its prices, and the proof of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import polars as pl
import streamlit as st

from cart_core import settings
from cart_core.events import Envelope
from cart_core.evidence import make_pack, unproved, write_pack, write_sums
from cart_core.projector import fold
from cart_core.store import CartStore
from pipelines import files
from pipelines.dashboard import cart_life, detail_charts, layout, page, words
from pipelines.dashboard.definitions import DETAILS
from pipelines.dashboard.layout import Drawing
from pipelines.dashboard.setting import Setting
from pipelines.dashboard.theme import Palette
from pipelines.tables import ids_as_text
from pipelines.tables.contract import MOMENT

FOUND_CARTS = 50


def show(setting: Setting) -> None:
    """Search for a cart, or walk through the life of the one that the address names."""
    layout.head(
        "Cart explorer",
        "Everything that happened to one cart, as of any moment of its life.",
        "From the events themselves",
    )
    with layout.filters():
        sought = st.text_input(
            "Cart, order or shopper", key="cart", bind="query-params", width=380,
            placeholder="an id; empty lists the latest carts",
        ).strip()  # fmt: skip
    history = events_of(setting.store, sought)
    if history:
        _life(setting, history)
    else:
        _found(setting, sought)


def events_of(folder: Path, cart_id: str) -> list[Envelope]:
    """The events of a cart in order of version; none where the text is no cart's id. Nothing is written."""
    try:
        UUID(cart_id)
    except ValueError:
        return []
    with opened(folder) as store:
        return list(store.read(cart_id))


def opened(folder: Path) -> CartStore:
    """The shop's store, wherever the settings say that its parts lie."""
    return CartStore.open(folder, **settings.parts(), create=False)


def carts_like(setting: Setting, sought: str) -> pl.DataFrame:
    """The carts of an order or a shopper, or the latest carts where nothing is sought; newest first."""
    scanned = files.scan_table(setting.derived, "carts")
    if sought:
        scanned = scanned.filter((pl.col("order_id") == sought) | (pl.col("user_id") == sought))
    since = pl.lit(scanned.select(pl.col("last_event_at").top_k(FOUND_CARTS).min()).collect().item(), MOMENT)
    latest = scanned.filter(pl.col("last_event_at") >= since).sort("last_event_at", "cart_id", descending=[True, False])
    return ids_as_text(latest.head(FOUND_CARTS).collect())


def _found(setting: Setting, sought: str) -> None:
    if "carts" not in setting.source.counts:
        layout.empty("Carts have not been derived yet: a cart's id still finds it.", "cart --store STORE refresh")
        return
    carts = carts_like(setting, sought)
    if carts.is_empty():
        if sought:
            layout.empty(f"There is no cart, order or shopper {sought!r}.")
        else:
            layout.empty("There is no cart yet: no event has been imported.", "cart --store STORE import SOURCE FILE")
        return
    title = f"Carts of {sought}" if sought else "The latest carts"
    with layout.card("found", title, "Choose one to see its life."):
        layout.listing("carts", cart_life.carts(carts), carts, "One cart as the fold of all its events.")


def _life(setting: Setting, history: Sequence[Envelope]) -> None:
    last = history[-1]
    with layout.card("life", f"Cart {words.short_id(last.cart_id)}", cart_life.lead(fold(history), history)):
        version = _moment(history)
        state = fold(each for each in history if each.version <= version)
        layout.html(cart_life.told(history, version) + cart_life.state(state))
        _downloads(setting, history)
    _prices(setting, history)
    with layout.card("events", "Its events", f"{words.count(len(history))} events; the moment chosen above is marked."):
        layout.html(cart_life.events(history, version))
        layout.download_csv("events", cart_life.event_rows(history))


def _moment(history: Sequence[Envelope]) -> int:
    """The version that the visitor looks at: the last one unless the address says otherwise."""
    versions = [each.version for each in history]
    if len(versions) == 1:
        return versions[0]
    return st.slider(
        "Moment of its life (event number)", versions[0], versions[-1], versions[-1], key="version", bind="query-params"
    )


def _downloads(setting: Setting, history: Sequence[Envelope]) -> None:
    cart_id = history[0].cart_id
    with st.container(key="evidence-of-cart", horizontal=True, gap="small", vertical_alignment="center"):
        st.download_button(
            "Evidence", lambda: evidence(setting, cart_id), f"evidence-{cart_id}.zip", "application/zip",
            key="evidence", on_click="ignore", icon=":material/verified:",
            help="A folder that proves the prices of this cart, with the program that checks it offline",
        )  # fmt: skip
        with opened(setting.store) as store:
            layout.html(unproved_told(len(unproved(store, history)), len(history)), width="content")


def unproved_told(number: int, of: int) -> str:
    """How many of a cart's events have no proof yet, and what gives them one; nothing where all have."""
    if number == 0:
        return ""
    return (
        f'<p class="note"><span class="pill warn">Not sealed yet: {words.count(number)} of {words.count(of)} events'
        "</span> The evidence says so and has no proof of them; <code>cart seal</code> first gives them one.</p>"
    )


def evidence(setting: Setting, cart_id: str) -> bytes:
    """The evidence pack of a cart as a ZIP file; events that are not sealed yet have no proof in it, as it says.

    Raises Refused (``unknown_cart``) where the store holds no such cart.
    """
    with TemporaryDirectory() as made, opened(setting.store) as store:
        folder = Path(made) / f"evidence-{cart_id}"
        document = make_pack(store, store.read(cart_id), None, setting.clock())
        write_pack(document, folder)
        write_sums(folder)
        return zipped(folder)


def zipped(folder: Path) -> bytes:
    """A folder with everything in it as a ZIP file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return out.getvalue()


def _prices(setting: Setting, history: Sequence[Envelope]) -> None:
    points = cart_life.price_points(history)
    with layout.card("prices", "What it cost", cart_life.prices_lead(points)):
        if points.is_empty():
            layout.html(page.empty("Nothing was ever put into this cart."))
            return
        label = "What each product cost in this cart over time"
        last = max(each.timestamp for each in history)

        def draw(frame: pl.DataFrame, palette: Palette, width: int) -> Any:
            return detail_charts.prices(cart_life.until_now(frame, last), palette, width)

        layout.chart(setting, Drawing("prices", points, draw, label, DETAILS["prices"]))
        with st.expander("The same as a table"):
            layout.html(cart_life.price_table(points))
