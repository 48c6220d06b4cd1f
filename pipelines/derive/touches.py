"""What shoppers did, as touches for a funnel: (unit, at, step), from events and product views."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import numpy as np
import polars as pl

from cart_core.projector import kernel
from pipelines.derive.frames import Frame, collected
from pipelines.derive.histories import FOLDED, histories, tables_at
from pipelines.tables.contract import MOMENT, TEXT, ids_as_text

VIEW, ADD, CHECKOUT, PURCHASE = "view", "add", "checkout", "purchase"
STEP_OF = {"ItemAdded": ADD, "CheckoutStarted": CHECKOUT, "CheckoutCompleted": PURCHASE}
EVENT_OF = {step: kind for kind, step in STEP_OF.items()}
TOUCHES = {"unit": TEXT, "at": MOMENT, "step": TEXT}


def cart_touches(events: Frame) -> pl.DataFrame:
    """Adds, checkouts and purchases of each cart: unit (cart id as text), at, step."""
    rows = collected(events, ["cart_id", "timestamp", "type"])
    return _touches(ids_as_text(rows.filter(pl.col("type").is_in(list(STEP_OF)))), "cart_id")


def user_touches(events: Frame, views: Frame) -> pl.DataFrame:
    """Views, adds, checkouts and purchases of each shopper over all carts: unit (user id), at, step.

    What a forgotten shopper did is left out, as it is nobody's.
    """
    rows = collected(events, ["user_id", "timestamp", "type"]).drop_nulls("user_id")
    acted = _touches(rows.filter(pl.col("type").is_in(list(STEP_OF))), "user_id")
    looked = collected(views, ["user_id", "at"]).select(unit="user_id", at="at", step=pl.lit(VIEW))
    return pl.concat([looked, acted])


def product_touches(events: Frame, views: Frame, bought: pl.DataFrame) -> pl.DataFrame:
    """Views, adds and purchases of each product by each shopper: unit (user and product), at, step, product_id.

    ``bought`` is what ``bought_lines`` gives.
    """
    rows = collected(events, ["user_id", "timestamp", "type", "product_id"]).filter(pl.col("type") == "ItemAdded")
    parts = [
        collected(views, ["user_id", "product_id", "at"]).with_columns(step=pl.lit(VIEW)),
        rows.select("user_id", "product_id", at="timestamp", step=pl.lit(ADD)),
        bought.select("user_id", "product_id", at="completed_at", step=pl.lit(PURCHASE)),
    ]
    whole = pl.concat(parts).drop_nulls("user_id")
    unit = pl.concat_str("user_id", "product_id", separator="\x1f").alias("unit")
    return whole.select(unit, "at", "step", "product_id")


def bought_lines(events: Frame, as_of: datetime) -> pl.DataFrame:
    """Every line of every order as it stood at the checkout.

    Columns user_id, product_id, completed_at, quantity, price_cents, currency (null where the cart mixes them).
    """
    known = histories(events, as_of, columns=FOLDED)
    places = np.flatnonzero(known.kinds[known.order] == kernel.CHECKOUT_COMPLETED) if len(known.order) else known.order
    told = tables_at(known, places)
    counts = told.carts["line_count"].to_numpy()
    carts = cast("pl.DataFrame", pl.from_arrow(told.carts.select(["user_id", "currency"])))
    orders = carts.with_columns(completed_at=pl.Series(known.rows.times(known.order[places]), dtype=MOMENT))
    lines = cast("pl.DataFrame", pl.from_arrow(told.lines.select(["product_id", "quantity", "price_cents"])))
    owners = np.repeat(np.arange(len(counts)), counts)
    return pl.concat([orders.select(pl.all().gather(owners)), lines], how="horizontal")


def _touches(rows: pl.DataFrame, unit: str) -> pl.DataFrame:
    step = pl.col("type").replace_strict(STEP_OF, return_dtype=TEXT)
    return rows.select(pl.col(unit).alias("unit"), pl.col("timestamp").alias("at"), step.alias("step"))
