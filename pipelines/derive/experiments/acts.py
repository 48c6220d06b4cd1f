"""What users did, as one narrow table, and one row per exposed user made from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from pipelines.derive.frames import Frame, collected, moment_column
from pipelines.tables.contract import COUNT, MOMENT, TEXT, ids_as_text

ACTS = pl.Schema({"user_id": TEXT, "at": MOMENT, "since": MOMENT, "act": TEXT, "value": COUNT})
"""``since`` is when the thing began that the act belongs to: the cart for removals and abandonments, else ``at``."""

NEEDED = ("ItemAdded", "ItemRemoved", "CheckoutStarted", "CheckoutCompleted")
VIEW, CART, ADD, REMOVAL, CHECKOUT, ORDER, ABANDONED = (
    *("view", "cart", "add", "removal", "checkout", "order", "abandoned"),
)


def acts(events: Frame, *, views: Frame | None = None, episodes: Frame | None = None) -> pl.DataFrame:
    """What users did that experiments measure; columns user_id, at, since, act, value.

    Acts: add, removal and checkout per event; order, once per cart, with value the charged cents; cart, once per cart,
    at its first item; view, from ``views`` (user_id, at); abandoned, once per cart, at its first of the abandonment
    ``episodes`` (cart_id, abandoned_at). ``events`` is any frame of EVENTS. Acts without a user are left out.
    No order. Raises TableError for a missing column.
    """
    columns = ["cart_id", "user_id", "timestamp", "type", "total_cents"]
    rows = _lazy(events, columns).filter(pl.col("type").is_in(NEEDED)).collect()
    rows = moment_column(rows, "timestamp").rename({"timestamp": "at"})
    begun = _first(rows, "ItemAdded").select("cart_id", "user_id", since="at")
    parts = [
        _plain(rows.filter(pl.col("type") == "ItemAdded"), ADD),
        _plain(rows.filter(pl.col("type") == "CheckoutStarted"), CHECKOUT),
        _plain(_first(rows, "CheckoutCompleted"), ORDER, pl.col("total_cents")),
        _plain(begun.rename({"since": "at"}), CART),
        _in_cart(rows.filter(pl.col("type") == "ItemRemoved").select("cart_id", "at"), begun, REMOVAL),
    ]
    if episodes is not None:
        silent = collected(episodes, ["cart_id", "abandoned_at"]).group_by("cart_id").agg(at=pl.min("abandoned_at"))
        parts.append(_in_cart(ids_as_text(silent), ids_as_text(begun), ABANDONED))
    if views is not None:
        parts.append(_plain(moment_column(collected(views, ["user_id", "at"]), "at"), VIEW))
    return pl.concat(parts).filter(pl.col("user_id").is_not_null())


def unit_metrics(acts: pl.DataFrame, users: pl.DataFrame, *, window: timedelta | None, as_of: datetime) -> pl.DataFrame:
    """One row per exposed user with what they did from the exposure on, at most ``window`` later and by ``as_of``.

    ``users`` are those of ``Exposed``. Columns: user_id, variant, exposed_at; orders, revenue_cents, carts (begun since
    the exposure), abandoned_carts (of these), removals (from these); flags converted, viewed, added, checkout_started,
    purchased; what they did before the exposure: orders_before, revenue_before_cents, converted_before; and mature,
    whether the whole window lies before ``as_of`` (with no window: never). A user who did nothing has zeros.
    Users exposed after ``as_of`` are left out. Ordered as ``users``.
    """
    return metrics_of(counted(acts, users, window=window, as_of=as_of), users, window=window, as_of=as_of)


def counted(acts: pl.DataFrame, users: pl.DataFrame, *, window: timedelta | None, as_of: datetime) -> pl.DataFrame:
    """What the acting ones of these users did: user_id and counts, which add up over parts of the acts."""
    known = users.lazy().filter(pl.col("exposed_at") <= as_of).select("user_id", "exposed_at")
    until = pl.lit(as_of).cast(MOMENT)
    if window is not None:
        until = pl.min_horizontal(until, pl.col("exposed_at") + window)
    after = (pl.col("since") >= pl.col("exposed_at")) & (pl.col("at") <= until)
    before = pl.col("at") < pl.col("exposed_at")
    done = acts.lazy().join(known, on="user_id").group_by("user_id")
    return done.agg(
        *(_count(after, act).alias(name) for name, act in _COUNTS.items()),
        revenue_cents=_sum(after),
        orders_before=_count(before, ORDER),
        revenue_before_cents=_sum(before),
    ).collect()


def metrics_of(counts: pl.DataFrame, users: pl.DataFrame, *, window: timedelta | None, as_of: datetime) -> pl.DataFrame:
    """``unit_metrics`` of users from their counts; one without counts did nothing."""
    users = users.filter(pl.col("exposed_at") <= as_of)
    rows = users.join(counts, on="user_id", how="left", maintain_order="left")
    over = pl.lit(value=False) if window is None else pl.col("exposed_at") + window <= as_of
    return rows.select(
        *users.columns,
        *(pl.col(name).fill_null(0) for name in (*_KEPT, "orders_before", "revenue_before_cents")),
        *((pl.col(count).fill_null(0) > 0).alias(flag) for flag, count in _FLAGS.items()),
        mature=over,
    )


def metrics_by_moment(
    acts: pl.DataFrame, users: pl.DataFrame, moments: Sequence[datetime], *, window: timedelta | None
) -> Iterator[pl.DataFrame]:
    """``unit_metrics`` as of one moment after the other, which ascend; without what users did before, and mature.

    Every act is looked at once, however many moments there are. Raises ValueError where moments do not ascend.
    """
    if list(moments) != sorted(set(moments)):
        raise ValueError("the moments do not ascend")
    users = users.sort("exposed_at", maintain_order=True)
    grown = {name: np.zeros(users.height, np.int64) for name in _GROWING}
    steps = _steps(acts, users, moments, window).partition_by("step", as_dict=True)
    exposed = users["exposed_at"]
    for number, moment in enumerate(moments):
        if (more := steps.get((number,))) is not None:
            places = more["place"].to_numpy()
            for name, values in grown.items():
                values[places] += more[name].to_numpy()
        there = exposed.search_sorted(moment, side="right")
        counts = pl.DataFrame({name: values[:there].copy() for name, values in grown.items()})
        yield users.head(there).hstack(counts.select(*_KEPT, *((pl.col(of) > 0).alias(flag) for flag, of in _SINCE)))


def _steps(
    acts: pl.DataFrame, users: pl.DataFrame, moments: Sequence[datetime], window: timedelta | None
) -> pl.DataFrame:
    """What each user did between one moment and the next, as of which it counts first; place is the user's row."""
    known = users.lazy().select("user_id", "exposed_at").with_row_index("place")
    done = acts.lazy().join(known, on="user_id").filter(pl.col("since") >= pl.col("exposed_at"))
    if window is not None:
        done = done.filter(pl.col("at") <= pl.col("exposed_at") + window)
    ends = pl.Series(moments, dtype=MOMENT)
    every = pl.lit(value=True)
    counted = done.filter(pl.col("at") <= pl.lit(ends.max())).collect()
    step = ends.search_sorted(counted["at"], side="left").alias("step")
    return (
        counted.with_columns(step)
        .group_by("step", "place")
        .agg(*(_count(every, act).alias(name) for name, act in _COUNTS.items()), revenue_cents=_sum(every))
    )


_COUNTS = {
    "orders": ORDER,
    "carts": CART,
    "abandoned_carts": ABANDONED,
    "removals": REMOVAL,
    "views": VIEW,
    "adds": ADD,
    "checkouts": CHECKOUT,
}
_KEPT = ("orders", "revenue_cents", "carts", "abandoned_carts", "removals")
_GROWING = ("orders", "carts", "abandoned_carts", "removals", "views", "adds", "checkouts", "revenue_cents")
_FLAGS = {
    "converted": "orders",
    "viewed": "views",
    "added": "adds",
    "checkout_started": "checkouts",
    "purchased": "orders",
    "converted_before": "orders_before",
}
_SINCE = [(flag, count) for flag, count in _FLAGS.items() if count in _GROWING]


def _count(when: pl.Expr, act: str) -> pl.Expr:
    return (when & (pl.col("act") == act)).sum().cast(COUNT)


def _sum(when: pl.Expr) -> pl.Expr:
    return pl.col("value").filter(when & (pl.col("act") == ORDER)).sum()


def _lazy(events: Frame, columns: Sequence[str]) -> pl.LazyFrame:
    if isinstance(events, pl.LazyFrame):
        return events.select(columns)
    return collected(events, columns).lazy()


def _first(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The earliest event of a kind in each cart."""
    ours = rows.filter(pl.col("type") == kind)
    return ours.group_by("cart_id").agg(pl.all().get(pl.col("at").arg_min()))


def _plain(rows: pl.DataFrame, act: str, value: pl.Expr | None = None) -> pl.DataFrame:
    told = rows.select("user_id", "at", since="at", act=pl.lit(act), value=pl.lit(0) if value is None else value)
    return told.cast(ACTS)


def _in_cart(rows: pl.DataFrame, begun: pl.DataFrame, act: str) -> pl.DataFrame:
    """Acts that belong to a cart: its user's, since it began."""
    told = rows.join(begun, on="cart_id").select("user_id", "at", "since", act=pl.lit(act), value=pl.lit(0))
    return told.cast(ACTS)
