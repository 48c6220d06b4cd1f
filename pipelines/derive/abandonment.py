"""Abandoned carts: their silences as episodes, what became of them, and what late events changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from cart_core.errors import Refused
from pipelines.derive.frames import Frame, collected, moment_us, span_us, utc
from pipelines.derive.histories import COLUMNS, Array, Histories, histories, moments, states
from pipelines.derive.silences import NEVER, Silences, silences
from pipelines.tables import TABLES
from pipelines.tables.contract import ids_as_text

__all__ = ["COLUMNS", "RESTATED_COLUMNS", "announced", "due", "episodes", "restated", "restatements", "stream"]

RESTATED_COLUMNS = (*COLUMNS, "recorded_at")
HOUR = timedelta(minutes=60)
WEEK = timedelta(days=7)
US_PER_S = 1_000_000
EPISODES = TABLES["abandonment_episodes"]
RECOVERED = "recovered"
OUTCOMES = (RECOVERED, "resumed", "lost", "open")


def episodes(
    events: Frame,
    as_of: datetime,
    idle: timedelta | Sequence[timedelta] = HOUR,
    window: timedelta = WEEK,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """Every silence of at least ``idle`` in which a cart that was not checked out held a unit, as of a moment.

    ``events`` is a frame of EVENTS in any form and order; all events of a cart must be in it. Only those that
    happened by ``as_of`` and were recorded by ``known_at`` count. With several ``idle`` all are found in one pass.
    Columns of abandonment_episodes, unique by (idle_s, cart_id, episode_no); carts in order of (bucket, id), then
    idle_s, then time. An episode opens at last activity + idle and closes with the next activity; it is recovered if
    the cart is checked out within ``window`` of opening, else resumed if the shopper acts within it, else lost once
    the window is over, until then open. States are those at opening: prices and coupons as they were then.
    Raises ValueError for an idle or window that is not positive or a moment without zone, and as ``histories``.
    """
    idles_us = _spans([idle] if isinstance(idle, timedelta) else list(idle))
    window_us = _spans([window])[0]
    known = histories(events, as_of, known_at)
    found = silences(known, moment_us(as_of), idles_us)
    return _told(known, found, moment_us(as_of), window_us)


def stream(
    batches: Iterable[Frame],
    as_of: datetime,
    idle: timedelta | Sequence[timedelta] = HOUR,
    window: timedelta = WEEK,
    known_at: datetime | None = None,
) -> Iterator[pl.DataFrame]:
    """``episodes`` batch by batch, where each batch holds all events of its carts; memory is one batch's."""
    for batch in batches:
        yield episodes(batch, as_of, idle, window, known_at)


def due(events: Frame, as_of: datetime, idle: timedelta = HOUR) -> pl.DataFrame:
    """The carts whose silence no CartAbandoned event has announced yet, as of a moment.

    Columns cart_id, user_id, version (the cart's head, which an append must expect), last_activity_at, abandoned_at,
    unit_count; ordered as ``episodes``. A cart is due once only: announcing it makes it abandoned until the shopper
    acts. Raises as ``episodes``.
    """
    known = histories(events)
    now = moment_us(as_of)
    found = silences(known, now, _spans([idle]))
    found = found.where(np.minimum(found.resumed_us, found.completed_us) == NEVER)
    at_end = states(known, found.cart, np.full(len(found.cart), NEVER))
    rows = pl.DataFrame(
        {
            "cart_id": known.cart_ids(found.cart),
            "user_id": known.users(found.cart),
            "version": at_end["version"],
            "last_activity_at": moments(found.last_us),
            "abandoned_at": moments(found.abandoned_us),
            "unit_count": at_end["unit_count"],
        }
    )
    return rows.filter(at_end["unit_count"] > 0, at_end["status"] == "active")


def announced(events: Frame) -> pl.DataFrame:
    """Every CartAbandoned event: the columns of abandonment_events, by cart and version."""
    table = TABLES["abandonment_events"]
    columns = [*table.schema.names(), "type"]
    rows = ids_as_text(collected(events, columns).filter(pl.col("type") == "CartAbandoned"))
    return rows.select(table.schema.names()).sort("cart_id", "version")


def restatements(
    events: Frame,
    known_at_1: datetime,
    known_at_2: datetime,
    as_of: datetime | None = None,
    idle: timedelta | Sequence[timedelta] = HOUR,
    window: timedelta = WEEK,
) -> pl.DataFrame:
    """What events recorded after ``known_at_1`` and by ``known_at_2`` changed about the episodes as of one moment.

    ``as_of`` is ``known_at_1`` where it is not given, so that time passing changes nothing. Columns of the table
    restatements, one row per episode that is there in one of the two views only (added, withdrawn) or differs in
    another column than its number (changed); ordered by cart_id, last_activity_at, idle_s. Raises as ``episodes``.
    """
    known_at_1, known_at_2 = utc(known_at_1), utc(known_at_2)
    as_of = known_at_1 if as_of is None else utc(as_of)
    before, after = (_by_silence(episodes(events, as_of, idle, window, known)) for known in (known_at_1, known_at_2))
    both = before.join(after, on=_SILENCE, how="full", coalesce=True, suffix="_2")
    differing = [pl.when(pl.col(name).ne_missing(pl.col(f"{name}_2"))).then(pl.lit(name)) for name in _COMPARED]
    change = (
        pl.when(pl.col("outcome").is_null()).then(pl.lit("added"))
        .when(pl.col("outcome_2").is_null()).then(pl.lit("withdrawn"))
        .when(pl.col("fields") != "").then(pl.lit("changed"))
    )  # fmt: skip
    told = both.with_columns(fields=pl.concat_str(differing, separator=",", ignore_nulls=True))
    told = told.with_columns(change=change).drop_nulls("change")
    return (
        told.join(_late(events, known_at_1, known_at_2, as_of), on="cart_id", how="left")
        .with_columns(
            known_at_1=pl.lit(known_at_1).cast(EPISODES.schema["abandoned_at"]),
            known_at_2=pl.lit(known_at_2).cast(EPISODES.schema["abandoned_at"]),
            fields=pl.when(pl.col("change") == "changed").then(pl.col("fields")),
            late_events=pl.col("late_events").fill_null(0),
        )
        .rename({"outcome": "outcome_1", "value_cents": "value_cents_1"})
        .select(TABLES["restatements"].schema.names())
        .sort(_SILENCE)
    )


def restated(
    batches: Iterable[Frame],
    known_at_1: datetime,
    known_at_2: datetime,
    as_of: datetime | None = None,
    idle: timedelta | Sequence[timedelta] = HOUR,
    window: timedelta = WEEK,
) -> pl.DataFrame:
    """``restatements`` of all batches, each of which holds all events of its carts with RESTATED_COLUMNS.

    Raises Refused where the second moment of knowledge is before the first, and as ``episodes``.
    """
    if known_at_2 < known_at_1:
        raise Refused("bad_moments", f"what was known at {known_at_1} cannot be restated by {known_at_2}, before it")
    found = [restatements(batch, known_at_1, known_at_2, as_of, idle, window) for batch in batches]
    return pl.concat([TABLES["restatements"].empty(), *found]).sort(_SILENCE)


_SILENCE = ["cart_id", "last_activity_at", "idle_s"]
_COMPARED = ("stage", "line_count", "unit_count", "currency", "value_cents", "outcome", "resumed_at", "recovered_at")


def _by_silence(found: pl.DataFrame) -> pl.DataFrame:
    return found.select(*_SILENCE, *_COMPARED)


def _late(events: Frame, known_at_1: datetime, known_at_2: datetime, as_of: datetime) -> pl.DataFrame:
    rows = collected(events, ["cart_id", "timestamp", "recorded_at"])
    late = rows.filter(
        pl.col("recorded_at").is_between(known_at_1, known_at_2, closed="right"), pl.col("timestamp") <= as_of
    )
    return ids_as_text(late.group_by("cart_id").agg(late_events=pl.len().cast(pl.Int64)))


def _spans(spans: list[timedelta]) -> list[int]:
    if not spans or min(spans) <= timedelta(0):
        raise ValueError(f"idle and window must be longer than 0, not {[str(span) for span in spans]}")
    return sorted({span_us(span) for span in spans})


def _told(known: Histories, found: Silences, as_of_us: int, window_us: int) -> pl.DataFrame:
    state = states(known, found.cart, found.state_us)
    order = np.lexsort((found.last_us, found.idle_us, found.cart))
    order = order[state["unit_count"].to_numpy()[order] > 0]
    found = found.where(order)
    outcome, resolved = _outcomes(found, as_of_us, window_us)
    recovered = outcome == OUTCOMES.index(RECOVERED)
    number, last = _numbered(found)
    return state.select(pl.all().gather(order)).select(
        known.cart_ids(found.cart),
        pl.Series("episode_no", number, dtype=pl.Int32),
        known.users(found.cart),
        idle_s=pl.Series(found.idle_us // US_PER_S),
        last_activity_at=moments(found.last_us),
        abandoned_at=moments(found.abandoned_us),
        stage=pl.when(pl.col("checkout_started_at").is_null()).then(pl.lit("cart")).otherwise(pl.lit("checkout")),
        line_count="line_count",
        unit_count="unit_count",
        currency="currency",
        subtotal_cents="subtotal_cents",
        discount_cents="discount_cents",
        value_cents="total_cents",
        last_version="version",
        outcome=pl.Series(OUTCOMES).gather(outcome),
        resumed_at=moments(found.resumed_us, found.resumed_us != NEVER),
        recovered_at=moments(found.completed_us, recovered),
        resolved_at=moments(resolved, resolved != NEVER),
        mature=pl.Series(as_of_us - found.abandoned_us >= window_us),
        recovery_s=_spans_s(found.completed_us - found.abandoned_us, recovered),
        credited=pl.Series(last & recovered),
    )


def _outcomes(found: Silences, as_of_us: int, window_us: int) -> tuple[Array, Array]:
    """The outcome of each silence, as its place in OUTCOMES, and when it became final; NEVER while open."""
    over = found.abandoned_us + window_us
    conditions = [found.completed_us <= over, found.resumed_us <= over, over <= as_of_us]
    outcome = np.select(conditions, [0, 1, 2], 3)
    resolved = np.select(conditions, [found.completed_us, found.resumed_us, over], NEVER)
    return outcome, resolved


def _numbered(found: Silences) -> tuple[Array, Array]:
    """The number of each silence in its cart and definition, which stand together, and whether it is the last."""
    changes = (found.cart[1:] != found.cart[:-1]) | (found.idle_us[1:] != found.idle_us[:-1])
    starts = np.concatenate([[True], changes])[: len(found.cart)]
    last = np.concatenate([changes, [True]])[: len(found.cart)]
    place = np.arange(len(found.cart))
    return place - np.maximum.accumulate(np.where(starts, place, 0)) + 1, last


def _spans_s(spans_us: Array, where: Array) -> pl.Series:
    return pl.Series(np.where(where, spans_us, 0) / US_PER_S).set(pl.Series(~where), None)
