"""Funnels: by day, by breakdown, by shopper, by product, and how long each step takes."""

from datetime import datetime
from functools import partial

import polars as pl

from pipelines.defs.deriving import Derived, table, tables
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import product_funnels, shop_funnels

GROUP = "funnels"
ENCODED = ("user_id", "type", "product_id", "product_name", "currency")


@tables("funnel_steps", "funnel_daily", "user_funnel", "funnel_times", group=GROUP, deps=["events"])
def funnels(shop: Shop, terms: Terms, as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """How far carts and shoppers get: by step, day, weekday and variant, by shopper, and how long it takes.

    All of them are counted over the same attempts, which are found once.
    """
    part_of = partial(shop_funnels.part_of, as_of=as_of, window=terms.window)
    with shop.history() as history:
        parts = history.each(shop_funnels.EVENT_COLUMNS, part_of, ENCODED)
    walked = shop_funnels.walks_of(parts, shop.views(), as_of, terms.window, terms.time_zone)
    return {
        "funnel_steps": shop_funnels.steps_of(walked, shop.given("exposures")),
        "funnel_daily": shop_funnels.daily_of(walked),
        "user_funnel": shop_funnels.depths_of(walked),
        "funnel_times": shop_funnels.times_of(walked),
    }


@table("product_funnel", group=GROUP, deps=["events"])
def product_funnel(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Who viewed, added and bought each product."""
    with shop.history() as history:
        parts = history.each(product_funnels.EVENT_COLUMNS, partial(product_funnels.part_of, as_of=as_of), ENCODED)
    return product_funnels.products_of(parts, shop.views(), as_of, terms.window)
