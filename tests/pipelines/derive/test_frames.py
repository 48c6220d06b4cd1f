from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from cart_core.events import CheckoutCompleted, CouponApplied, CouponRemoved, ItemAdded
from cart_core.schema import to_table
from pipelines.derive import abandonment_rates, product_funnels, recovery_outcomes, shop_funnels
from pipelines.derive.abandonment import due, episodes, restatements
from pipelines.derive.coupons import coupon_effects
from pipelines.derive.frames import collected, moment_column, moment_us, utc
from pipelines.derive.overcharges import overcharges
from pipelines.derive.recovery import Inputs, candidates, orders
from pipelines.tables import INPUTS, TableError
from tests.builders import NOON, cart_id, envelope

MINUTE = timedelta(minutes=1)
AS_OF = NOON + timedelta(days=1)
BOOK = ItemAdded("p1", "Book", 2, 1_000, "USD")
EVENTS = to_table(
    [
        envelope(BOOK, 1, cart=cart_id(1), at=NOON),
        envelope(CouponApplied("TEN", "percentage", 10), 2, cart=cart_id(1), at=NOON + MINUTE),
        envelope(CouponRemoved("TEN", "expired"), 3, cart=cart_id(1), at=NOON + 9 * MINUTE),
        envelope(BOOK, 1, cart=cart_id(2), at=NOON),
        envelope(CheckoutCompleted("o1", 5), 2, cart=cart_id(2), at=NOON + 90 * MINUTE),
    ]
)
VIEWS = pl.DataFrame(
    [{"view_id": "v1", "product_id": "p1", "user_id": "u1", "at": NOON}], schema=INPUTS["views"].schema
)


def outcomes(as_of: datetime) -> pl.DataFrame:
    """The outcomes of what would have been drawn a moment before."""
    drawn = recovery_outcomes.assignments(candidates(EVENTS, as_of, Inputs()))
    return recovery_outcomes.outcomes(drawn, orders(EVENTS, as_of), INPUTS["sends"].empty(), as_of)


@pytest.mark.parametrize(
    "derive",
    [
        lambda as_of: episodes(EVENTS, as_of),
        lambda as_of: episodes(EVENTS, AS_OF, known_at=as_of),
        lambda as_of: due(EVENTS, as_of),
        lambda as_of: restatements(EVENTS, as_of, as_of, as_of),
        lambda as_of: abandonment_rates.cohorts(
            abandonment_rates.starts(EVENTS, as_of), episodes(EVENTS, AS_OF), as_of
        ),
        lambda as_of: candidates(EVENTS, as_of, Inputs()),
        outcomes,
        lambda as_of: coupon_effects(EVENTS, as_of),
        lambda as_of: overcharges(EVENTS, as_of),
        lambda as_of: shop_funnels.funnel_daily(EVENTS, VIEWS, as_of),
        lambda as_of: shop_funnels.funnel_steps(EVENTS, VIEWS, as_of),
        lambda as_of: product_funnels.product_funnel(EVENTS, VIEWS, as_of),
    ],
    ids=[
        "episodes",
        "known_at",
        "due",
        "restatements",
        "cohorts",
        "candidates",
        "outcomes",
        "coupons",
        "overcharges",
        "funnel_daily",
        "funnel_steps",
        "products",
    ],
)
def test_a_moment_is_the_same_in_any_zone(derive: Callable[[datetime], pl.DataFrame]) -> None:
    """As of 12:00 UTC and 21:00 in Tokyo are one moment."""
    tokyo = AS_OF.astimezone(ZoneInfo("Asia/Tokyo"))
    assert derive(tokyo).equals(derive(AS_OF))


def test_a_moment_without_a_zone_is_refused() -> None:
    """A clock time without a zone is no moment, and what to write instead is said."""
    for function in (utc, moment_us):
        with pytest.raises(ValueError, match="tzinfo=UTC"):
            function(datetime(2026, 1, 1))


def test_missing_columns_are_named() -> None:
    """A frame that lacks a column is refused with the columns it has."""
    with pytest.raises(TableError, match=r"columns missing \['step'\]; the frame has \['unit'\]"):
        collected(pl.DataFrame({"unit": ["u"]}), ["unit", "step"])


@pytest.mark.parametrize(
    "dtype", [pl.Datetime("ms", "UTC"), pl.Datetime("ns", "Asia/Tokyo"), pl.Datetime("us")], ids=str
)
def test_times_become_utc_microseconds(dtype: Any) -> None:
    """Any unit and zone becomes microseconds in UTC; a time without a zone is taken as UTC."""
    frame = pl.DataFrame({"at": [NOON]}).with_columns(pl.col("at").dt.convert_time_zone(dtype.time_zone or "UTC"))
    told = frame.with_columns(pl.col("at").cast(dtype) if dtype.time_zone else pl.col("at").dt.replace_time_zone(None))
    assert moment_column(told, "at").schema == {"at": pl.Datetime("us", "UTC")}
    assert moment_column(told, "at")["at"].to_list() == [NOON.astimezone(UTC)]


def test_a_column_without_times_is_refused() -> None:
    """Text is no time."""
    with pytest.raises(TableError, match="at is String, but must be a time"):
        moment_column(pl.DataFrame({"at": ["noon"]}), "at")
