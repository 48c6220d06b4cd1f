"""Funnels: by day, by breakdown, by shopper, by product, and how long each step takes."""

from datetime import datetime

import polars as pl

from pipelines.defs.deriving import table
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import shop_funnels

GROUP = "funnels"


@table("funnel_daily", group=GROUP, deps=["events"])
def funnel_daily(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """View, add, checkout, purchase over the attempts that shoppers began on each day."""
    with shop.history() as history:
        return shop_funnels.funnel_daily(history.scan(), shop.views(), as_of, terms.window, terms.time_zone)


@table("funnel_steps", group=GROUP, deps=["events"])
def funnel_steps(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """The cart and the shopper funnel, whole, by weekday and by experiment."""
    exposures = shop.given("exposures")
    with shop.history() as history:
        return shop_funnels.funnel_steps(history.scan(), shop.views(), as_of, exposures, terms.window, terms.time_zone)


@table("user_funnel", group=GROUP, deps=["events"])
def user_funnel(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """How deep each shopper got who viewed anything."""
    with shop.history() as history:
        return shop_funnels.user_depths(history.scan(), shop.views(), as_of, terms.window)


@table("product_funnel", group=GROUP, deps=["events"])
def product_funnel(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Who viewed, added and bought each product."""
    with shop.history() as history:
        return shop_funnels.product_funnel(history.scan(), shop.views(), as_of, terms.window)


@table("funnel_times", group=GROUP, deps=["events"])
def funnel_times(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """How long each step took after the one before."""
    with shop.history() as history:
        return shop_funnels.funnel_times(history.scan(), shop.views(), as_of, terms.window)
