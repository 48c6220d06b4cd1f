"""Orders that charged another total than their events add up to, by how much, and which other total it was."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import numpy as np
import polars as pl

from cart_core.projector import kernel
from cart_core.rules import INT64_MAX
from pipelines.derive.discounts import worth
from pipelines.derive.frames import Frame
from pipelines.derive.histories import COLUMNS, Array, Histories, histories, tables_at, with_event
from pipelines.tables import TABLES
from pipelines.tables.contract import COUNT

__all__ = ["overcharges"]

TABLE = TABLES["overcharges"]
NEEDED = (*COLUMNS, "order_id", "total_cents")
REASONS = ("without_coupons", "original_prices", "original_prices_without_coupons", "before_last_change")


def overcharges(events: Frame, as_of: datetime | None = None) -> pl.DataFrame:
    """Every CheckoutCompleted whose total differs from the cart's at that version: the columns of overcharges.

    ``events`` is a frame of EVENTS with all events of its carts. A cart of mixed currencies has no total to compare
    and is left out. The reason is the first of the other totals that was charged to the cent. Carts in order of
    (bucket, id), then version. Raises as ``histories``.
    """
    known = histories(with_event(events, "CheckoutCompleted"), as_of, columns=NEEDED)
    orders = np.flatnonzero(known.kinds[known.order] == kernel.CHECKOUT_COMPLETED)
    charged = pl.Series(known.rows.cells("total_cents", known.order[orders]), dtype=COUNT)
    projected = _carts(known, orders)["total_cents"]
    wrong = orders[(charged != projected).fill_null(value=False).to_numpy()]
    rows = _stated(known, wrong)
    return _explained(_others(known, wrong, rows)).select(TABLE.schema.names())


def _carts(known: Histories, places: Array) -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(tables_at(known, places).carts))


def _stated(known: Histories, places: Array) -> pl.DataFrame:
    """What each wrong order says, beside what its cart adds up to."""
    carts, rows = known.cart[places], known.order[places]
    told = _carts(known, places).select(
        known.cart_ids(carts),
        known.users(carts),
        "version",
        "order_id",
        "currency",
        "line_count",
        "coupons",
        "subtotal_cents",
        completed_at=pl.Series(known.rows.times(rows)),
        charged_cents=pl.Series(known.rows.cells("total_cents", rows), dtype=COUNT),
        projected_cents="total_cents",
        discount_cents="discount_cents",
    )
    difference = pl.col("charged_cents").cast(pl.Int128) - pl.col("projected_cents")
    capped = difference.clip(-INT64_MAX, INT64_MAX).cast(COUNT)
    return told.with_row_index("row").with_columns(difference_cents=capped)


def _others(known: Histories, places: Array, rows: pl.DataFrame) -> pl.DataFrame:
    """The totals that might have been charged instead, each in a column of its name."""
    return (
        rows.join(_original_subtotals(known, places, rows), on="row", how="left")
        .with_columns(pl.col("original").fill_null(0))
        .join(_before_last_change(known, places), on="row", how="left")
        .pipe(_discounted)
    )


def _original_subtotals(known: Histories, places: Array, rows: pl.DataFrame) -> pl.DataFrame:
    lines = cast("pl.DataFrame", pl.from_arrow(tables_at(known, places).lines))
    counts = rows["line_count"]
    owners = pl.Series("row", np.repeat(np.arange(len(places), dtype=np.uint32), counts.to_numpy()))
    value = pl.col("original_price_cents").cast(pl.Int128) * pl.col("quantity")
    return lines.with_columns(owners).group_by("row").agg(original=value.sum().clip(0, INT64_MAX).cast(COUNT))


def _discounted(rows: pl.DataFrame) -> pl.DataFrame:
    """Original prices less what the coupons take off them."""
    applied = rows.select("row", "original", "coupons").explode("coupons", empty_as_null=False).unnest("coupons")
    off = applied.group_by("row").agg(off=worth("original").sum())
    joined = rows.join(off, on="row", how="left", maintain_order="left")
    less = pl.min_horizontal(pl.col("off").fill_null(0), pl.col("original").cast(pl.Int128)).cast(COUNT)
    return joined.with_columns(
        without_coupons=pl.col("subtotal_cents"),
        original_prices=pl.col("original") - less,
        original_prices_without_coupons=pl.col("original"),
    )


def _before_last_change(known: Histories, places: Array) -> pl.DataFrame:
    """Each cart's total before the last event that changed it, looking back from the order."""
    begins = known.begins[known.cart[places]]
    sizes = places + 1 - begins
    row = np.repeat(np.arange(len(places), dtype=np.uint32), sizes)
    ends = np.cumsum(sizes)
    steps = np.arange(len(row)) - (ends - sizes - begins)[row]
    totals = _stepwise(known, steps, row)
    last = pl.col("total").last().over("row")
    return totals.filter(pl.col("total") != last).group_by("row").agg(before_last_change=pl.col("total").last())


def _stepwise(known: Histories, steps: Array, row: Array) -> pl.DataFrame:
    if not len(steps):
        return pl.DataFrame(schema={"row": pl.UInt32, "total": COUNT})
    return pl.DataFrame({"row": row, "total": _carts(known, steps)["total_cents"]})


def _explained(rows: pl.DataFrame) -> pl.DataFrame:
    fits = {name: pl.col("charged_cents") == pl.col(name) for name in REASONS}
    reason = pl.coalesce(
        *(pl.when(condition).then(pl.lit(name)) for name, condition in fits.items()),
        pl.when(pl.col("line_count") == 0).then(pl.lit("empty_cart")),
        pl.lit("unexplained"),
    )
    explained = pl.coalesce(pl.when(condition).then(pl.col(name)) for name, condition in fits.items())
    return rows.with_columns(reason=reason, explained_cents=explained)
