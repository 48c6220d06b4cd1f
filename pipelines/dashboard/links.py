"""Addresses of the dashboard's own pages: a filter or a figure is a link that can be sent."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode


def cart(cart_id: str, version: int | None = None) -> str:
    """The cart explorer on one cart, perhaps as of one of its versions."""
    chosen = {"cart": cart_id} | ({} if version is None else {"version": str(version)})
    return f"carts?{urlencode(chosen)}"


def explain(table: str, key: str | None = None, column: str | None = None) -> str:
    """The page that takes a row of a derived table apart; without a key, its first row."""
    chosen = {"table": table} | ({"row": key} if key else {}) | ({"figure": column} if column else {})
    return f"explain?{urlencode(chosen)}"


def anchor(address: str, text: str) -> str:
    """A link as HTML that stays in this window; the text is escaped."""
    return f'<a href="{escape(address, quote=True)}" target="_self">{escape(text)}</a>'
