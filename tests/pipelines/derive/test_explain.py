from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest

from cart_core.events import CartAbandoned, CheckoutCompleted, ItemAdded
from cart_core.projector import fold_table
from cart_core.schema import to_table
from cart_core.simulator import Shop, chunks
from pipelines.derive import abandonment_rates, product_funnels, recovery_outcomes, shop_funnels
from pipelines.derive.abandonment import announced, due, episodes, restatements
from pipelines.derive.coupons import coupon_effects
from pipelines.derive.experiments import Experiment, acts, analyse
from pipelines.derive.explain import TERMS, TRACERS, Evidence, explain, key_of
from pipelines.derive.headline import Sources, headline
from pipelines.derive.overcharges import overcharges
from pipelines.derive.recovery import Inputs, Policy, candidates, orders
from pipelines.tables import TABLES, TableError, conformed
from tests.builders import NOON, cart_id, envelope

SAMPLED = 12
HOURS = timedelta(hours=1)


class World:
    """A small simulated shop with every derived table."""

    def __init__(self) -> None:
        shop = Shop(carts=500, days=30, seed=21)
        [chunk] = chunks(shop)
        self.as_of = shop.end - timedelta(days=1)
        self.events = told_late(pa.concat_tables([chunk.events, announcements(chunk.events, self.as_of), OVERCHARGED]))
        self.views = pl.DataFrame(chunk.views)
        self.exposures = pl.DataFrame(chunk.exposures)
        self.contacts = pl.DataFrame(chunk.contacts)
        self.experiment = Experiment(
            key="checkout_button",
            control="control",
            variants={"control": 0.5, "treatment": 0.5},
            primary="conversion",
            secondary=("revenue_per_user",),
        )
        self.tables = self._tables()
        self.evidence = Evidence(
            table=self.tables.__getitem__,
            scan=lambda name: self.tables[name].lazy(),
            events=self._events,
            all_events=self.events.lazy,
            views=lambda: self.views,
            experiment=lambda _: (self.experiment, self.exposures),
            as_of=self.as_of,
            time_zone="Europe/Berlin",
        )

    def _events(self, carts: pl.Series) -> pl.DataFrame:
        wanted = [UUID(each).bytes for each in carts]
        return self.events.filter(pl.col("cart_id").is_in(wanted))

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        events, as_of, zone = self.events, self.as_of, "Europe/Berlin"
        folded = fold_table(events)
        found = episodes(events, as_of)
        inputs = Inputs(contacts=self.contacts)
        listed = candidates(events, as_of, inputs, Policy(holdout=0.3))
        earlier = candidates(events, as_of - timedelta(days=9), inputs, Policy(holdout=0.3))
        assigned = recovery_outcomes.assignments(listed, recovery_outcomes.assignments(earlier))
        became = recovery_outcomes.outcomes(assigned, orders(events, as_of), inputs.sends, as_of)
        done = acts(events, views=self.views, episodes=found)
        analysis = analyse(self.experiment, self.exposures, done, as_of=as_of, time_zone=zone)
        tables = {
            "carts": pl.DataFrame(folded.carts),
            "lines": pl.DataFrame(folded.lines),
            "overcharges": overcharges(events),
            "abandonment_episodes": found,
            "abandonment_events": announced(events),
            "abandonment_daily": abandonment_rates.daily(episodes(events, as_of, [HOURS, 24 * HOURS]), zone),
            "abandonment_hourly": abandonment_rates.hourly(found, zone),
            "cart_cohorts": abandonment_rates.cohorts(
                abandonment_rates.starts(events, as_of), found, as_of, time_zone=zone
            ),
            "restatements": restatements(events, as_of - timedelta(days=5), as_of),
            "recovery_candidates": listed,
            "recovery_assignments": assigned,
            "recovery_outcomes": became,
            "recovery_lift": recovery_outcomes.lift(became),
            "coupon_effects": coupon_effects(events, as_of),
            "funnel_daily": shop_funnels.funnel_daily(events, self.views, as_of, time_zone=zone),
            "funnel_steps": shop_funnels.funnel_steps(events, self.views, as_of, self.exposures, time_zone=zone),
            "user_funnel": shop_funnels.user_depths(events, self.views, as_of),
            "product_funnel": product_funnels.product_funnel(events, self.views, as_of),
            "funnel_times": shop_funnels.funnel_times(events, self.views, as_of),
            "experiment_results": analysis.results,
            "experiment_daily": analysis.daily,
            "experiment_srm": analysis.srm,
        }
        sources = Sources(tables["carts"], tables["cart_cohorts"], tables["abandonment_daily"], listed)
        return tables | {"headline": headline(sources, idle_s=3_600)}


def announcements(events: pa.Table, as_of: datetime) -> pa.Table:
    """CartAbandoned events for some carts that are due."""
    return to_table(
        envelope(CartAbandoned(last), version + 1, cart=cart, user=user, at=as_of)
        for cart, user, version, last, *_ in due(events, as_of).head(20).iter_rows()
    )


def told_late(events: pa.Table) -> pl.DataFrame:
    """Events as a store gives them; one in ten became known four days after it happened."""
    late = pl.when(pl.int_range(pl.len()) % 10 == 7).then(pl.duration(days=4)).otherwise(pl.duration())
    return pl.DataFrame(events).with_columns(recorded_at=pl.col("timestamp") + late)


OVERCHARGED = to_table(
    [
        envelope(ItemAdded("p1", "Book", 2, 1_000, "USD"), 1, cart=cart_id(1), at=NOON),
        envelope(CheckoutCompleted("o1", 2_100), 2, cart=cart_id(1), at=NOON + HOURS),
    ]
)


@pytest.fixture(scope="module")
def world() -> World:
    """One shop for all explanations."""
    return World()


def test_every_table_can_be_explained() -> None:
    """There is a way to take every derived table apart, and no other."""
    assert set(TRACERS) == set(TABLES)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_parts_add_up_to_the_row(world: World, name: str) -> None:
    """For rows of every table, every figure that parts add to is their sum, and every part's event exists."""
    table, rows = TABLES[name], conformed(TABLES[name], world.tables[name])
    assert rows.height > 0
    for row in rows.sample(min(SAMPLED, rows.height), seed=4).iter_rows(named=True):
        told = explain(name, {each: row[each] for each in table.key}, world.evidence)
        figures = {column: row[column] for column in told.sums if row[column] is not None}
        sums = {column: told.sums[column] for column in figures}
        assert sums == pytest.approx(figures), row
        standing = told.parts.drop_nulls("version")
        assert told.events(world.evidence).height == standing.select("cart_id", "version").unique().height


NO_SUMS = {
    "coupon_effects": {
        *("control_carts", "excess_over_before", "excess_over_control", "excess_value_cents", "day_later_net_cents"),
    },
    "experiment_srm": {"expected"},
    "headline": {"part", "whole"},
    "lines": {"price_cents", "original_price_cents"},
    "overcharges": {"explained_cents"},
    "recovery_candidates": {"price_drop_cents", "expected_value_cents"},
    "recovery_lift": {"incremental_orders"},
    "recovery_outcomes": {"value_cents"},
    "restatements": {"value_cents_1", "value_cents_2"},
}
"""Counts and amounts that are no sum over the row's parts: estimates, shares, prices, figures of other rows."""


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_count_and_amount_is_taken_apart_but_those_known_to_be_no_sum(world: World, name: str) -> None:
    """A column of counts or cents that parts do not add up to is a rate's term, or stands among the exceptions."""
    table, row = TABLES[name], world.tables[name].row(0, named=True)
    told = explain(name, {each: row[each] for each in table.key}, world.evidence)
    amounts = {each.name for each in table.columns if each.unit in {"count", "cents"} and each.name not in TERMS}
    assert amounts - set(table.key) - set(told.sums) == NO_SUMS.get(name, set())


def test_a_column_keeps_only_the_parts_that_add_to_it(world: World) -> None:
    """For a rate, only the parts of its numerator or denominator are left."""
    row = world.tables["funnel_steps"].filter(funnel="cart", breakdown="all", step="purchase").row(0, named=True)
    key = {name: row[name] for name in TABLES["funnel_steps"].key}
    told = explain("funnel_steps", key, world.evidence, "converted")
    assert told.parts.height == row["converted"]
    assert len(told.carts) == row["converted"]
    assert explain("funnel_steps", key, world.evidence, "step_rate").sums["entered"] == row["entered"]


def test_a_cart_leads_to_its_own_events(world: World) -> None:
    """The events behind a cart's lines are that cart's."""
    row = world.tables["carts"].filter(pl.col("line_count") > 1).row(0, named=True)
    told = explain("carts", {"cart_id": row["cart_id"]}, world.evidence)
    events = told.events(world.evidence)
    assert events["cart_id"].unique().to_list() == told.carts
    assert events.height <= row["version"]


def test_terms_are_columns_beside_their_rate() -> None:
    """Every rate's terms stand in the tables that have the rate."""
    for table in TABLES.values():
        for rate, terms in TERMS.items():
            if rate in table.schema:
                assert [term for term in terms if term not in table.schema] == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("carts", cart_id(5), {"cart_id": UUID(cart_id(5)).bytes}),
        ("abandonment_episodes", f"{cart_id(5)}, 2", {"cart_id": cart_id(5), "episode_no": 2}),
        ("cart_cohorts", "3600,2026-01-31", {"idle_s": 3_600, "date": datetime(2026, 1, 31, tzinfo=UTC).date()}),
        (
            "restatements",
            f"{cart_id(5)},2026-01-01T12:00:00Z,3600",
            {"cart_id": cart_id(5), "last_activity_at": NOON, "idle_s": 3_600},
        ),
    ],
)
def test_a_key_is_read_from_text(name: str, text: str, expected: dict[str, Any]) -> None:
    """Values in the order of the key, in the types of their columns."""
    assert key_of(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("nonsense", "1", "no derived table 'nonsense'"),
        ("abandonment_episodes", cart_id(1), "has the key cart_id, episode_no"),
        ("abandonment_episodes", f"{cart_id(1)},two", "'two' is no Int32, which episode_no is"),
        ("cart_cohorts", "3600,yesterday", "'yesterday' is no Date"),
        ("carts", "not hex", "is no Binary"),
    ],
)
def test_a_key_that_fits_no_row_is_refused(name: str, text: str, told: str) -> None:
    """A table, a number of values or a value that cannot be is named."""
    with pytest.raises(TableError, match=told):
        key_of(name, text)


def test_a_row_or_column_that_is_not_there_is_refused(world: World) -> None:
    """An unknown key and an unknown column are named."""
    with pytest.raises(TableError, match="has 0 rows with"):
        explain("abandonment_episodes", {"cart_id": "x", "episode_no": 1}, world.evidence)
    first = world.tables["abandonment_episodes"].select("cart_id", "episode_no").row(0, named=True)
    with pytest.raises(TableError, match="has no column 'colour'"):
        explain("abandonment_episodes", first, world.evidence, "colour")
