"""Silences of carts: the episodes, their events, their figures by day and hour, and what late events changed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from cart_core import rules
from pipelines.by_cart import ByCart, kept
from pipelines.defs.abandonment.announcing import announce
from pipelines.defs.deriving import Derived, carried, table, tables
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import abandonment, abandonment_rates
from pipelines.tables import TABLES

GROUP = "abandonment"


@tables("abandonment_episodes", "abandonment_daily", group=GROUP, deps=["events"])
def abandonment_episodes(shop: Shop, terms: Terms, as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """Every silence of every cart under the main definition, with what became of it by the moment asked for.

    By day they are counted under each definition. Only carts with new events, or with windows that were not over,
    are derived again.
    """
    found = carried(shop, silences("abandonment_episodes", terms, as_of, [terms.idle]), as_of)
    counted = kept(shop, silences("silences", terms, as_of, terms.idles, abandonment_rates.COUNTED), as_of)
    return {
        "abandonment_episodes": found,
        "abandonment_daily": Derived(abandonment_rates.daily(counted.frame, terms.time_zone), counted.told),
    }


@table("abandonment_events", group=GROUP, deps=["abandonment_episodes"])
def abandonment_events(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """Tells carts that went silent so, by a CartAbandoned event under the expected version; a second run adds none.

    A shopper who acts at that moment wins: the cart is skipped and counted.
    """
    with shop.events() as store:
        told = announce(store, as_of, terms.idle)
        position = store.position()
        columns = [*TABLES["abandonment_events"].schema, "type"]
        stored = store.scan(until=position, columns=columns).filter(pl.col("type") == "CartAbandoned")
        frame = abandonment.announced(stored)
    return Derived(frame, {"appended": told.appended, "skipped": told.skipped}, position)


@table("abandonment_hourly", group=GROUP, deps=["abandonment_episodes"])
def abandonment_hourly(shop: Shop, terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """Episodes by the hour of the week in which they opened, under the main definition."""
    return abandonment_rates.hourly(shop.table("abandonment_episodes"), terms.time_zone)


@table("cart_cohorts", group=GROUP, deps=["abandonment_episodes"])
def cart_cohorts(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Carts by the day they began: how many were left at least once, and how many were checked out."""
    columns = ("cart_id", "timestamp", "type")
    with shop.history() as history:
        begun = history.each(columns, partial(abandonment_rates.starts, as_of=as_of))
    episodes = shop.table("abandonment_episodes")
    return abandonment_rates.cohorts(pl.concat(begun), episodes, as_of, terms.window, terms.time_zone)


@table("restatements", group="audit", deps=["abandonment_episodes"])
def restatements(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """What events that became known between two moments, by default within the last day, changed about silences."""
    first, then = terms.knowledge(as_of)
    with shop.history() as history:
        batches = history.batches(abandonment.RESTATED_COLUMNS)
        frame = abandonment.restated(batches, first, then, first, terms.idle, terms.window)
    return Derived(frame, {"known_at_1": rules.format_time(first), "known_at_2": rules.format_time(then)})


def silences(
    name: str, terms: Terms, as_of: datetime, idles: list[timedelta], columns: Sequence[str] | None = None
) -> ByCart:
    """Episodes under some definitions, all columns or some; a cart is settled once the last window is over."""
    derive = partial(abandonment.episodes, as_of=as_of, idle=idles, window=terms.window)
    return ByCart(
        name,
        abandonment.COLUMNS,
        derive if columns is None else lambda events: derive(events).select(columns),
        horizon=max(idles) + terms.window,
        terms={"idles": idles, "window": terms.window, "columns": columns},
    )
