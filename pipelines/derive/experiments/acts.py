"""What users did, as one narrow table."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.derive.frames import Frame, collected, moment_column
from pipelines.tables.contract import COUNT, ID_BYTES, MOMENT, TEXT, ids_as_text

ACTS = pl.Schema({"user_id": TEXT, "at": MOMENT, "since": MOMENT, "act": TEXT, "value": COUNT})
"""``since`` is when the thing began that the act belongs to: the cart for removals and abandonments, else ``at``."""

NEEDED = ("ItemAdded", "ItemRemoved", "CheckoutStarted", "CheckoutCompleted")
VIEW, CART, ADD, REMOVAL, CHECKOUT, ORDER, ABANDONED = (
    *("view", "cart", "add", "removal", "checkout", "order", "abandoned"),
)


def acts(events: Frame, *, views: Frame | None = None, episodes: Frame | None = None) -> pl.DataFrame:
    """What users did that experiments measure; columns user_id, at, since, act, value.

    Acts: add, removal and checkout per event; order, once per cart, with value the charged cents; cart, once per cart,
    at its first item; view, from ``views`` (user_id, at); abandoned, once per cart, at its first of the abandonment
    ``episodes`` (cart_id, abandoned_at). ``events`` is any frame of EVENTS. Acts without a user are left out.
    No order. Raises TableError for a missing column.
    """
    columns = ["cart_id", "user_id", "timestamp", "type", "total_cents"]
    rows = _lazy(events, columns).filter(pl.col("type").is_in(NEEDED)).collect()
    rows = moment_column(rows, "timestamp").rename({"timestamp": "at"})
    begun = _first(rows, "ItemAdded").select("cart_id", "user_id", since="at")
    parts = [
        _plain(rows.filter(pl.col("type") == "ItemAdded"), ADD),
        _plain(rows.filter(pl.col("type") == "CheckoutStarted"), CHECKOUT),
        _plain(_first(rows, "CheckoutCompleted"), ORDER, pl.col("total_cents")),
        _plain(begun.rename({"since": "at"}), CART),
        _in_cart(rows.filter(pl.col("type") == "ItemRemoved").select("cart_id", "at"), begun, REMOVAL),
    ]
    if episodes is not None:
        parts.append(_abandoned(collected(episodes, ["cart_id", "abandoned_at"]), begun))
    if views is not None:
        parts.append(_plain(moment_column(collected(views, ["user_id", "at"]), "at"), VIEW))
    return pl.concat(parts).filter(pl.col("user_id").is_not_null())


def ids_as_bytes(episodes: pl.DataFrame) -> pl.DataFrame:
    """The same episodes with cart ids as events have them, so that ``acts`` of many parts need not turn events' ids."""
    if episodes.schema["cart_id"] == ID_BYTES:
        return episodes
    return episodes.with_columns(pl.col("cart_id").str.replace_all("-", "", literal=True).str.decode("hex"))


def _abandoned(episodes: pl.DataFrame, begun: pl.DataFrame) -> pl.DataFrame:
    if episodes.schema["cart_id"] != begun.schema["cart_id"]:
        episodes, begun = ids_as_text(episodes), ids_as_text(begun)
    silent = episodes.join(begun.select("cart_id"), on="cart_id", how="semi")
    return _in_cart(silent.group_by("cart_id").agg(at=pl.min("abandoned_at")), begun, ABANDONED)


def _lazy(events: Frame, columns: Sequence[str]) -> pl.LazyFrame:
    if isinstance(events, pl.LazyFrame):
        return events.select(columns)
    return collected(events, columns).lazy()


def _first(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The earliest event of a kind in each cart."""
    ours = rows.filter(pl.col("type") == kind).select("cart_id", "user_id", "at", "total_cents")
    return ours.group_by("cart_id").agg(
        pl.col("at").min(), pl.col("user_id", "total_cents").get(pl.col("at").arg_min())
    )


def _plain(rows: pl.DataFrame, act: str, value: pl.Expr | None = None) -> pl.DataFrame:
    told = rows.select("user_id", "at", since="at", act=pl.lit(act), value=pl.lit(0) if value is None else value)
    return told.cast(ACTS)


def _in_cart(rows: pl.DataFrame, begun: pl.DataFrame, act: str) -> pl.DataFrame:
    """Acts that belong to a cart: its user's, since it began."""
    told = rows.join(begun, on="cart_id").select("user_id", "at", "since", act=pl.lit(act), value=pl.lit(0))
    return told.cast(ACTS)
