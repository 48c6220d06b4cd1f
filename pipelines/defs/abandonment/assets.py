"""Silences of carts: the episodes, their events, their figures by day and hour, and what late events changed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from cart_core import rules
from pipelines.by_cart import ByCart, kept
from pipelines.defs.abandonment.announcing import announce_to
from pipelines.defs.deriving import Derived, carried, table, tables
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import abandonment, abandonment_rates
from pipelines.shop import ids_of
from pipelines.tables import TABLES, ids_as_bytes

GROUP = "abandonment"
ANY_TIME = timedelta(0)
ANNOUNCED = TABLES["abandonment_events"]
ANNOUNCED_COLUMNS = (*ANNOUNCED.schema, "type")


@tables("abandonment_episodes", "abandonment_daily", group=GROUP, deps=["events"])
def abandonment_episodes(shop: Shop, terms: Terms, as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """Every silence of every cart under the main definition, with what became of it by the moment asked for.

    By day they are counted under each definition. Only carts with new events, or with windows that were not over,
    are derived again.
    """
    counted = kept(shop, silences("silences", terms, as_of, terms.idles, abandonment_rates.COUNTED), as_of)
    found = carried(shop, silences("abandonment_episodes", terms, as_of, [terms.idle]), as_of)
    return {
        "abandonment_episodes": found,
        "abandonment_daily": Derived(abandonment_rates.daily(counted.frame, terms.time_zone), counted.told),
    }


@table("abandonment_events", group=GROUP, deps=["abandonment_episodes"])
def abandonment_events(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """Tells carts that went silent so, by a CartAbandoned event under the expected version; a second run adds none.

    A shopper who acts at that moment wins: the cart is skipped and counted.
    """
    due = partial(abandonment.due, as_of=as_of, idle=terms.idle)
    plan = ByCart("due", abandonment.COLUMNS, due, terms.idle, {"idle": terms.idle}, announcements=False)
    carts = kept(shop, plan, as_of).frame
    with shop.events() as store:
        told = announce_to(store, carts, as_of)
        position = store.position()
    stored = ByCart("abandonment_events", ANNOUNCED_COLUMNS, abandonment.announced, ANY_TIME, sort=ANNOUNCED.key)
    found = carried(shop.up_to(position), stored, as_of)
    return replace(found, told={**found.told, "appended": told.appended, "skipped": told.skipped}, position=position)


@table("abandonment_hourly", group=GROUP, deps=["abandonment_episodes"])
def abandonment_hourly(shop: Shop, terms: Terms, _as_of: datetime) -> pl.DataFrame:
    """Episodes by the hour of the week in which they opened, under the main definition."""
    return abandonment_rates.hourly(shop.table("abandonment_episodes"), terms.time_zone)


@table("cart_cohorts", group=GROUP, deps=["abandonment_episodes"])
def cart_cohorts(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """Carts by the day they began: how many were left at least once, and how many were checked out."""
    columns = ("cart_id", "timestamp", "type")
    begun = kept(shop, ByCart("starts", columns, partial(abandonment_rates.starts, as_of=as_of), ANY_TIME), as_of)
    episodes = shop.table("abandonment_episodes").select(abandonment_rates.COUNTED)
    return Derived(abandonment_rates.cohorts(begun.frame, episodes, as_of, terms.window, terms.time_zone), begun.told)


@table("restatements", group="audit", deps=["abandonment_episodes"])
def restatements(shop: Shop, terms: Terms, as_of: datetime) -> Derived:
    """What events that became known between two moments, by default within the last day, changed about silences."""
    first, then = terms.knowledge(as_of)
    learnt = pl.col("recorded_at").is_between(first, then, closed="right") & (pl.col("timestamp") <= first)
    with shop.history() as history:
        late = history.scan(("cart_id", "timestamp", "recorded_at")).filter(learnt).select("cart_id").unique().collect()
        batches = history.of(ids_of(late["cart_id"]), abandonment.RESTATED_COLUMNS)
        frame = abandonment.restated(batches, first, then, first, terms.idle, terms.window)
    told = {"known_at_1": rules.format_time(first), "known_at_2": rules.format_time(then)}
    return Derived(frame, {**told, "recomputed": f"{late.height:,} carts with late events", "carts_read": late.height})


def silences(
    name: str, terms: Terms, as_of: datetime, idles: list[timedelta], columns: Sequence[str] | None = None
) -> ByCart:
    """Episodes under some definitions, all columns or some.

    Time alone begins one only while a cart's latest act is younger than the longest idle, and ends one's window.
    """
    derive = partial(abandonment.episodes, as_of=as_of, idle=idles, window=terms.window)
    return ByCart(
        name,
        abandonment.COLUMNS,
        derive if columns is None else lambda events: ids_as_bytes(derive(events).select(columns)),
        horizon=max(idles),
        terms={"idles": idles, "window": terms.window, "columns": columns},
        ripens=("abandoned_at", terms.window),
        announcements=False,
    )
