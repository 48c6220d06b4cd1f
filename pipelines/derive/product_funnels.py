"""The funnel of each product: who viewed, added and bought it, and what was sold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core.projector.streaming import in_order
from pipelines.derive.columns import Ints, columns_of, micros, numbered, step_numbers, texts
from pipelines.derive.frames import Frame, moment_us
from pipelines.derive.funnel import Funnel
from pipelines.derive.funnel_attempts import WEEK, attempts_in, plans_of
from pipelines.derive.funnel_kernel import HEAD
from pipelines.derive.funnel_lots import Lot, Paths, gathered, lot_of, lots_of_views
from pipelines.derive.histories import FOLDED, with_event
from pipelines.derive.touches import ADD, EVENT_OF, PURCHASE, VIEW, bought_lines
from pipelines.tables import TABLES
from pipelines.tables.contract import COUNT, TEXT

EVENT_COLUMNS = (*FOLDED, "product_name")
STEPS = (VIEW, ADD, PURCHASE)
US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """What some whole carts add: who added and bought which product, the lines of orders, and products' names."""

    touches: list[Lot]
    bought: pl.DataFrame
    names: pl.DataFrame


def part_of(events: Frame, as_of: datetime) -> Part:
    """The part of some whole carts in the product funnel as of a moment; columns ``EVENT_COLUMNS``."""
    table = columns_of(events, EVENT_COLUMNS)
    bought = bought_lines(with_event(table, EVENT_OF[PURCHASE]), as_of)
    kinds = [EVENT_OF[ADD] if step == ADD else "" for step in STEPS]
    touches = [
        lot_of(table, "user_id", "timestamp", "type", kinds, as_of, "product_id"),
        lot_of(bought, "user_id", "completed_at", STEPS.index(PURCHASE), (), as_of, "product_id"),
    ]
    return Part(touches, bought, _names(table, as_of))


def products_of(parts: Sequence[Part], views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """``product_funnel`` of a shop whose carts are in ``parts``, each in one, as of the same moment."""
    touches = [lot for part in parts for lot in part.touches]
    paths = gathered([*lots_of_views(views, as_of, "product_id"), *touches])
    rows = (
        _counted(paths, Funnel(STEPS, window))
        .join(_sold(pl.concat(part.bought for part in parts)), on="product_id", how="left")
        .join(_latest(pl.concat(part.names for part in parts)), on="product_id", how="left")
        .with_columns(pl.col("viewers", "adders", "buyers", "units_bought").fill_null(0))
    )
    viewed = pl.col("viewers") > 0
    return (
        rows.with_columns(
            add_rate=pl.when(viewed).then(pl.col("adders") / pl.col("viewers")),
            buy_rate=pl.when(viewed).then(pl.col("buyers") / pl.col("viewers")),
        )
        .select(TABLES["product_funnel"].schema.names())
        .sort("product_id")
    )


def product_funnel(events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """Who viewed, added and bought each product: the columns of product_funnel, ordered by product_id.

    A shopper counts once per product. Products that were only bought, or only added, have a row without viewers.
    """
    return products_of([part_of(events, as_of)], views, as_of, window)


def _counted(paths: Paths, definition: Funnel) -> pl.DataFrame:
    """Columns product_id, viewers, adders, buyers, median_add_s, median_buy_s of every product that has a touch."""
    count = len(paths.products)
    found = [(np.zeros(count, np.int64), _TOOK), *in_order(partial(_pairs, definition), paths.each())]
    took = (
        pl.concat(rows for _, rows in found)
        .group_by("product")
        .agg(
            adders=pl.len().cast(COUNT),
            buyers=pl.col("bought").sum().cast(COUNT),
            median_add_s=pl.col("add_us").median() / US_PER_S,
            median_buy_s=pl.col("buy_us").filter("bought").median() / US_PER_S,
        )
    )
    told = pl.DataFrame(
        {
            "product_id": texts(paths.products),
            "product": np.arange(count, dtype=np.int32),
            "viewers": np.sum([viewers for viewers, _ in found], axis=0),
        }
    )
    touched = np.bincount(paths.product, minlength=count) > 0
    return told.filter(pl.Series(touched)).join(took, on="product", how="left").drop("product")


_TOOK = pl.DataFrame(schema={"product": pl.Int32, "bought": pl.Boolean, "add_us": pl.Int64, "buy_us": pl.Int64})


def _pairs(definition: Funnel, share: tuple[int, Paths]) -> tuple[Ints, pl.DataFrame]:
    """Of some shoppers: how many viewed each product, and a row for each who added it then."""
    pairs = share[1].apart()
    found = attempts_in(0, pairs.touched(), plans_of(definition, list(definition.steps)), totals=False)
    product, depth = pairs.product[pairs.starts[found[:, 0]]], found[:, 1]
    viewed, added, bought = found[:, HEAD:].T
    took = pl.DataFrame(
        {
            "product": product,
            "bought": depth == STEPS.index(PURCHASE),
            "add_us": added - viewed,
            "buy_us": bought - added,
        }
    )
    return np.bincount(product, minlength=len(pairs.products)), took.filter(depth >= STEPS.index(ADD))


def _names(events: pa.Table, as_of: datetime) -> pl.DataFrame:
    """The latest name of each product in a cart: product_id, timestamp, product_name."""
    added = (step_numbers(events["type"], [EVENT_OF[ADD]]) == 0) & (micros(events["timestamp"]) <= moment_us(as_of))
    product, ids = numbered(events["product_id"])
    rows = np.flatnonzero(added & (product >= 0))
    rows = rows[np.argsort(micros(events["timestamp"])[rows], kind="stable")]
    last = np.full(len(ids), -1)
    last[product[rows]] = rows
    named = last >= 0
    told = events.select(["timestamp", "product_name"]).take(pa.array(last[named]))
    names = cast("pl.DataFrame", pl.from_arrow(told)).with_columns(pl.col("product_name").cast(TEXT))
    return names.insert_column(0, texts(ids.filter(pa.array(named))).alias("product_id"))


def _latest(names: pl.DataFrame) -> pl.DataFrame:
    return names.group_by("product_id").agg(pl.col("timestamp", "product_name").sort_by("timestamp").last())


def _sold(bought: pl.DataFrame) -> pl.DataFrame:
    one = (pl.col("currency").n_unique() == 1) & pl.col("currency").is_not_null().all()
    revenue = (pl.col("price_cents").cast(pl.Int128) * pl.col("quantity")).sum()
    return bought.group_by("product_id").agg(
        units_bought=pl.col("quantity").cast(COUNT).sum(),
        currency=pl.when(one).then(pl.col("currency").first()),
        revenue_cents=pl.when(one).then(revenue.clip(0, 2**63 - 1).cast(COUNT)),
    )
