"""Silences of carts: the episodes, their events, their figures by day and hour, and what late events changed."""

from datetime import datetime, timedelta

import polars as pl

from cart_core import rules
from pipelines.defs.abandonment.announcing import announce
from pipelines.defs.deriving import Derived, table
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import abandonment, abandonment_rates
from pipelines.tables import TABLES

GROUP = "abandonment"


@table("abandonment_episodes", group=GROUP, deps=["events"])
def abandonment_episodes(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Every silence of every cart under the main definition, with what became of it by the moment asked for."""
    return silences(shop, terms, as_of, [terms.idle])


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


@table("abandonment_daily", group=GROUP, deps=["abandonment_episodes"])
def abandonment_daily(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Episodes by the day they opened, for each definition of silence and each stage."""
    return abandonment_rates.daily(silences(shop, terms, as_of, terms.idles), terms.time_zone)


@table("abandonment_hourly", group=GROUP, deps=["abandonment_episodes"])
def abandonment_hourly(shop: Shop, terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """Episodes by the hour of the week in which they opened, under the main definition."""
    return abandonment_rates.hourly(shop.table("abandonment_episodes"), terms.time_zone)


@table("cart_cohorts", group=GROUP, deps=["abandonment_episodes"])
def cart_cohorts(shop: Shop, terms: Terms, as_of: datetime) -> pl.DataFrame:
    """Carts by the day they began: how many were left at least once, and how many were checked out."""
    columns = ("cart_id", "timestamp", "type")
    with shop.history() as history:
        begun = [abandonment_rates.starts(events, as_of) for events in history.batches(columns)]
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


def silences(shop: Shop, terms: Terms, as_of: datetime, idles: list[timedelta]) -> pl.DataFrame:
    """Episodes of the whole store under some definitions, bucket by bucket, so that memory holds one at a time."""
    with shop.history() as history:
        found = list(abandonment.stream(history.batches(abandonment.COLUMNS), as_of, idles, terms.window))
    return pl.concat([TABLES["abandonment_episodes"].empty(), *found])
