"""The funnels of a shop: by cart, by shopper, by day, and how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines.derive.columns import columns_of, texts
from pipelines.derive.frames import Frame
from pipelines.derive.funnel import Funnel, histogram, step_rows
from pipelines.derive.funnel_kernel import FOREVER
from pipelines.derive.funnel_lots import Lot, Paths, gathered, lot_of, lots_of_views, walked
from pipelines.derive.touches import ADD, CHECKOUT, EVENT_OF, PURCHASE, VIEW
from pipelines.tables import INPUTS, TABLES
from pipelines.tables.contract import SMALL, TEXT

WEEK = timedelta(days=7)
US_PER_S = 1_000_000
EVENT_COLUMNS = ("cart_id", "user_id", "timestamp", "type")
STEPS, USERS, TIMES = (TABLES[name] for name in ("funnel_steps", "user_funnel", "funnel_times"))


def cart_funnel(window: timedelta | None = WEEK) -> Funnel:
    """Add, checkout, purchase in one cart; a source that knows no checkout passes over it."""
    return Funnel((ADD, CHECKOUT, PURCHASE), window, optional=(CHECKOUT,))


def user_funnel(window: timedelta | None = WEEK, *, totals: bool = False) -> Funnel:
    """View, add, checkout, purchase by one shopper over all carts."""
    count = "totals" if totals else "uniques"
    return Funnel((VIEW, ADD, CHECKOUT, PURCHASE), window, optional=(CHECKOUT,), count=count)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Part:
    """What some whole carts add: the attempts of ``cart_funnel`` in them, and the touches of their shoppers."""

    cart_attempts: pl.DataFrame
    users: Lot


@dataclass(frozen=True, slots=True)
class Walks:
    """What carts and shoppers did, and the attempt of each that counts, found once for several tables.

    ``users`` are shoppers' touches; ``cart_attempts`` and ``user_attempts`` are of ``cart_funnel`` and ``user_funnel``,
    with the unit's number and its first touch of any kind.
    """

    users: Paths
    cart_attempts: pl.DataFrame
    user_attempts: pl.DataFrame
    as_of: datetime
    window: timedelta | None
    time_zone: str


def part_of(events: Frame, as_of: datetime, window: timedelta | None = WEEK) -> Part:
    """The part of some whole carts in the funnels of a shop as of a moment; columns ``EVENT_COLUMNS``."""
    table = columns_of(events, EVENT_COLUMNS)
    carts, users = (
        lot_of(table, unit, "timestamp", "type", [EVENT_OF.get(step, step) for step in definition.steps], as_of)
        for unit, definition in (("cart_id", cart_funnel()), ("user_id", user_funnel()))
    )
    return Part(walked(gathered([carts]), cart_funnel(window), as_of), users)


def walks_of(
    parts: Sequence[Part], views: Frame, as_of: datetime, window: timedelta | None = WEEK, time_zone: str = "UTC"
) -> Walks:
    """The walks of a shop whose carts are in ``parts``, each in one, with the same moment and window."""
    users = gathered([*lots_of_views(views, as_of), *(part.users for part in parts)])
    by_cart = pl.concat(part.cart_attempts for part in parts)
    return Walks(users, by_cart, walked(users, user_funnel(window), as_of), as_of, window, time_zone)


def walks(
    events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK, time_zone: str = "UTC"
) -> Walks:
    """The walks of a shop as of a moment: what funnel tables have in common.

    What a forgotten shopper did, without a user id, is in no shopper's walk, as it is nobody's.
    """
    return walks_of([part_of(events, as_of, window)], views, as_of, window, time_zone)


def funnel_daily(
    events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK, time_zone: str = "UTC"
) -> pl.DataFrame:
    """Every attempt of every shopper by the day it began: the columns of funnel_daily, by date and step.

    A shopper who comes back after an order, or after the window, begins another attempt; no touch counts twice.
    """
    return daily_of(walks(events, views, as_of, window, time_zone))


def daily_of(found: Walks) -> pl.DataFrame:
    """``funnel_daily`` of walks."""
    definition = user_funnel(found.window, totals=True)
    began = pl.col("at_0").dt.convert_time_zone(found.time_zone).dt.date()
    return step_rows(walked(found.users, definition, found.as_of).with_columns(date=began), definition, "date")


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
    weekday = pl.col("first_at").dt.convert_time_zone(found.time_zone).dt.weekday()
    rows = [
        _broken_down(name, attempted.with_columns(weekday=weekday), definition, by)
        for name, attempted, definition in (
            ("cart", found.cart_attempts, cart_funnel(found.window)),
            ("user", found.user_attempts, user_funnel(found.window)),
        )
        for by in (None, "weekday")
    ]
    exposures = INPUTS["exposures"].empty() if exposures is None else exposures
    definition = user_funnel(found.window)
    for experiment in exposures["experiment"].unique().sort():
        attempted = exposed_attempts(found.users, definition, exposures, experiment, found.as_of)
        rows.append(_broken_down("user", attempted.rename({"variant": experiment}), definition, experiment))
    return pl.concat(rows).sort(STEPS.key)


def user_depths(events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """How deep each shopper got who viewed anything: the columns of user_funnel, ordered by user_id."""
    return depths_of(walks(events, views, as_of, window))


def depths_of(found: Walks) -> pl.DataFrame:
    """``user_depths`` of walks."""
    definition, step = user_funnel(found.window), pl.col("depth").cast(SMALL)
    return (
        found.user_attempts.with_columns(
            user_id=texts(found.users.units).gather(found.user_attempts["unit"]),
            deepest_step=(step - 1).replace_strict(dict(enumerate(definition.steps)), return_dtype=TEXT),
            convert_s=_seconds(pl.col("at_3") - pl.col("at_0")),
        )
        .rename({"at_0": "viewed_at", "at_1": "added_at", "at_2": "checkout_at", "at_3": "purchased_at"})
        .select(USERS.schema.names())
        .sort("user_id")
    )


def funnel_times(events: Frame, views: Frame, as_of: datetime, window: timedelta | None = WEEK) -> pl.DataFrame:
    """How long each step took after the one before, and the last after the first: the columns of funnel_times."""
    return times_of(walks(events, views, as_of, window))


def times_of(found: Walks) -> pl.DataFrame:
    """``funnel_times`` of walks."""
    rows = []
    for name, attempted, definition in (
        ("cart", found.cart_attempts, cart_funnel(found.window)),
        ("user", found.user_attempts, user_funnel(found.window)),
    ):
        last = len(definition.steps) - 1
        spans = [*((k, k + 1) for k in range(last)), (0, last)]
        rows += [histogram(attempted, *span).with_columns(funnel=pl.lit(name)) for span in spans]
    return pl.concat(rows).select(TIMES.schema.names()).sort(TIMES.key)


def _seconds(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / US_PER_S


def exposed_touches(users: pl.DataFrame, exposures: pl.DataFrame, experiment: str) -> pl.DataFrame:
    """The touches from the first exposure on, of shoppers who saw one variant, with that variant."""
    first = _exposed(exposures, experiment)
    return users.join(first, on="unit").filter(pl.col("at") >= pl.col("exposed_at")).drop("exposed_at")


def _exposed(exposures: pl.DataFrame, experiment: str) -> pl.DataFrame:
    """Shoppers who saw one variant: unit, exposed_at (the first exposure), variant."""
    shown = exposures.filter(pl.col("experiment") == experiment)
    first = shown.group_by(unit="user_id").agg(
        pl.col("exposed_at").min(), variant=pl.col("variant").first(), variants=pl.col("variant").n_unique()
    )
    return first.filter(pl.col("variants") == 1).drop("variants")


def exposed_attempts(
    users: Paths, definition: Funnel, exposures: pl.DataFrame, experiment: str, as_of: datetime
) -> pl.DataFrame:
    """The attempts of shoppers who saw one variant, over their touches from the first exposure on.

    Columns as of ``walked``, and variant.
    """
    units = texts(users.units).alias("unit").to_frame()
    told = units.join(_exposed(exposures, experiment), on="unit", how="left", maintain_order="left")
    begins = told["exposed_at"].to_physical().fill_null(FOREVER).to_numpy()
    found = walked(users, definition, as_of, begins)
    return found.with_columns(told["variant"].gather(found["unit"]))


def _broken_down(name: str, found: pl.DataFrame, definition: Funnel, by: str | None) -> pl.DataFrame:
    rows = step_rows(found, definition, by)
    value = pl.lit("all") if by is None else pl.col(by).cast(TEXT).fill_null("(none)")
    told = rows.with_columns(funnel=pl.lit(name), breakdown=pl.lit(by or "all"), breakdown_value=value)
    return told.select(STEPS.schema.names())
