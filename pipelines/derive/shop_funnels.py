"""The funnels of a shop: by cart, by shopper, by product, by day, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines.derive.frames import Frame, collected, utc
from pipelines.derive.funnel import Funnel, attempts, histogram, step_rows, trend
from pipelines.derive.touches import (
    ADD,
    CHECKOUT,
    PURCHASE,
    VIEW,
    bought_lines,
    cart_touches,
    product_touches,
    user_touches,
)
from pipelines.tables import INPUTS, TABLES
from pipelines.tables.contract import COUNT, SMALL, TEXT

WEEK = timedelta(days=7)
US_PER_S = 1_000_000
DAILY, STEPS, USERS, PRODUCTS, TIMES = (
    TABLES[name] for name in ("funnel_daily", "funnel_steps", "user_funnel", "product_funnel", "funnel_times")
)


def cart_funnel(window: timedelta | None = WEEK) -> Funnel:
    """Add, checkout, purchase in one cart; a source that knows no checkout passes over it."""
    return Funnel((ADD, CHECKOUT, PURCHASE), window, optional=(CHECKOUT,))


def user_funnel(window: timedelta | None = WEEK, *, totals: bool = False) -> Funnel:
    """View, add, checkout, purchase by one shopper over all carts."""
    count = "totals" if totals else "uniques"
    return Funnel((VIEW, ADD, CHECKOUT, PURCHASE), window, optional=(CHECKOUT,), count=count)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Walks:
    """What carts and shoppers did, and the attempt of each that counts, found once for several tables.

    ``users`` are shoppers' touches; ``cart_attempts`` and ``user_attempts`` are of ``cart_funnel`` and ``user_funnel``,
    with the weekday of the first touch.
    """

    users: pl.DataFrame
    cart_attempts: pl.DataFrame
    user_attempts: pl.DataFrame
    as_of: datetime
    window: timedelta | None
    time_zone: str


def walks(
    events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK, time_zone: str = "UTC"
) -> Walks:
    """The walks of a shop as of a moment: what funnel tables have in common."""
    users = user_touches(events, views)
    weekday = pl.col("at").dt.convert_time_zone(time_zone).dt.weekday().cast(TEXT)
    by_cart, by_user = (
        attempts(touches.with_columns(weekday=weekday), definition, "weekday", as_of)
        for touches, definition in ((cart_touches(events), cart_funnel(window)), (users, user_funnel(window)))
    )
    return Walks(users, by_cart, by_user, as_of, window, time_zone)


def funnel_daily(
    events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK, time_zone: str = "UTC"
) -> pl.DataFrame:
    """Every attempt of every shopper by the day it began: the columns of funnel_daily, by date and step.

    A shopper who comes back after an order, or after the window, begins another attempt; no touch counts twice.
    """
    return daily_of(user_touches(events, views), as_of, window, time_zone)


def daily_of(users: pl.DataFrame, as_of: datetime, window: timedelta | None, time_zone: str) -> pl.DataFrame:
    """``funnel_daily`` of shoppers' touches."""
    return trend(users, user_funnel(window, totals=True), as_of, time_zone=time_zone)


def funnel_steps(
    events: Frame,
    views: Frame,
    as_of: datetime,
    exposures: pl.DataFrame | None = None,
    window: timedelta | None = WEEK,
    time_zone: str = "UTC",
) -> pl.DataFrame:
    """The cart and the user funnel, each unit once: the columns of funnel_steps, ordered by key.

    Breakdowns: all; weekday, 1 to 7, of the first touch; and for shoppers one per experiment, by the variant they saw
    and from its first exposure on (those who saw two variants are left out).
    """
    return steps_of(walks(events, views, as_of, window, time_zone), exposures)


def steps_of(found: Walks, exposures: pl.DataFrame | None = None) -> pl.DataFrame:
    """``funnel_steps`` of walks."""
    rows = [
        _broken_down(name, walked, definition, by)
        for name, walked, definition in (
            ("cart", found.cart_attempts, cart_funnel(found.window)),
            ("user", found.user_attempts, user_funnel(found.window)),
        )
        for by in (None, "weekday")
    ]
    exposures = INPUTS["exposures"].empty() if exposures is None else exposures
    for experiment in exposures["experiment"].unique().sort():
        exposed, definition = exposed_touches(found.users, exposures, experiment), user_funnel(found.window)
        walked = attempts(exposed, definition, "variant", found.as_of).rename({"variant": experiment})
        rows.append(_broken_down("user", walked, definition, experiment))
    return pl.concat(rows).sort(STEPS.key)


def user_depths(events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """How deep each shopper got who viewed anything: the columns of user_funnel, ordered by user_id."""
    return depths_of(walks(events, views, as_of, window))


def depths_of(walked: Walks) -> pl.DataFrame:
    """``user_depths`` of walks."""
    definition, found = user_funnel(walked.window), walked.user_attempts
    step = pl.col("depth").cast(SMALL)
    return (
        found.rename({"unit": "user_id"})
        .with_columns(
            deepest_step=(step - 1).replace_strict(dict(enumerate(definition.steps)), return_dtype=TEXT),
            convert_s=_seconds(pl.col("at_3") - pl.col("at_0")),
        )
        .rename({"at_0": "viewed_at", "at_1": "added_at", "at_2": "checkout_at", "at_3": "purchased_at"})
        .select(USERS.schema.names())
        .sort("user_id")
    )


def product_funnel(events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """Who viewed, added and bought each product: the columns of product_funnel, ordered by product_id.

    A shopper counts once per product. Products that were only bought, or only added, have a row without viewers.
    """
    bought = bought_lines(events, as_of)
    touches = product_touches(events, views, bought)
    found = attempts(touches, Funnel((VIEW, ADD, PURCHASE), window), "product_id", as_of)
    seconds = [_seconds(pl.col(f"at_{k}") - pl.col(f"at_{k - 1}")).median() for k in (1, 2)]
    depth = pl.col("depth")
    counted = found.group_by("product_id").agg(
        viewers=pl.len().cast(COUNT),
        adders=(depth >= 2).sum().cast(COUNT),  # noqa: PLR2004 - the second step
        buyers=(depth >= 3).sum().cast(COUNT),  # noqa: PLR2004 - the third
        median_add_s=seconds[0],
        median_buy_s=seconds[1],
    )
    known = touches.filter(pl.col("at") <= utc(as_of)).select("product_id").unique()
    rows = (
        known.join(counted, on="product_id", how="left")
        .join(_sold(bought), on="product_id", how="left")
        .join(_names(events, as_of), on="product_id", how="left")
        .with_columns(pl.col("viewers", "adders", "buyers", "units_bought").fill_null(0))
    )
    viewed = pl.col("viewers") > 0
    return (
        rows.with_columns(
            add_rate=pl.when(viewed).then(pl.col("adders") / pl.col("viewers")),
            buy_rate=pl.when(viewed).then(pl.col("buyers") / pl.col("viewers")),
        )
        .select(PRODUCTS.schema.names())
        .sort("product_id")
    )


def funnel_times(events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """How long each step took after the one before, and the last after the first: the columns of funnel_times."""
    return times_of(walks(events, views, as_of, window))


def times_of(walked: Walks) -> pl.DataFrame:
    """``funnel_times`` of walks."""
    rows = []
    for name, found, definition in (
        ("cart", walked.cart_attempts, cart_funnel(walked.window)),
        ("user", walked.user_attempts, user_funnel(walked.window)),
    ):
        last = len(definition.steps) - 1
        spans = [*((k, k + 1) for k in range(last)), (0, last)]
        rows += [histogram(found, *span).with_columns(funnel=pl.lit(name)) for span in spans]
    return pl.concat(rows).select(TIMES.schema.names()).sort(TIMES.key)


def _seconds(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / US_PER_S


def exposed_touches(users: pl.DataFrame, exposures: pl.DataFrame, experiment: str) -> pl.DataFrame:
    """The touches from the first exposure on, of shoppers who saw one variant, with that variant."""
    shown = exposures.filter(pl.col("experiment") == experiment)
    first = shown.group_by(unit="user_id").agg(
        pl.col("exposed_at").min(), variant=pl.col("variant").first(), variants=pl.col("variant").n_unique()
    )
    one = first.filter(pl.col("variants") == 1).drop("variants")
    return users.join(one, on="unit").filter(pl.col("at") >= pl.col("exposed_at")).drop("exposed_at")


def _broken_down(name: str, found: pl.DataFrame, definition: Funnel, by: str | None) -> pl.DataFrame:
    rows = step_rows(found, definition, by)
    value = pl.lit("all") if by is None else pl.col(by).fill_null("(none)")
    told = rows.with_columns(funnel=pl.lit(name), breakdown=pl.lit(by or "all"), breakdown_value=value)
    return told.select(STEPS.schema.names())


def _sold(bought: pl.DataFrame) -> pl.DataFrame:
    one = (pl.col("currency").n_unique() == 1) & pl.col("currency").is_not_null().all()
    revenue = (pl.col("price_cents").cast(pl.Int128) * pl.col("quantity")).sum()
    return bought.group_by("product_id").agg(
        units_bought=pl.col("quantity").cast(COUNT).sum(),
        currency=pl.when(one).then(pl.col("currency").first()),
        revenue_cents=pl.when(one).then(revenue.clip(0, 2**63 - 1).cast(COUNT)),
    )


def _names(events: Frame, as_of: datetime) -> pl.DataFrame:
    rows = collected(events, ["timestamp", "type", "product_id", "product_name"])
    added = rows.filter(pl.col("type") == "ItemAdded", pl.col("timestamp") <= utc(as_of))
    return added.group_by("product_id").agg(pl.col("product_name").sort_by("timestamp").last())
