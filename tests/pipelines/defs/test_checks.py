"""Each invariant finds the rows that break it, and none where it holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest

from cart_core.events import CartAbandoned, CheckoutCompleted, CheckoutStarted, ItemAdded, QuantityChanged
from pipelines import by_cart
from pipelines.defs import everything
from pipelines.defs.abandonment import announcing
from pipelines.defs.abandonment import checks as abandonment
from pipelines.defs.carts import checks as carts
from pipelines.defs.checking import invariant
from pipelines.defs.events import checks as events
from pipelines.defs.experiments import checks as experiments
from pipelines.defs.pages import checks as pages
from pipelines.defs.recovery import checks as recovery
from pipelines.defs.shop import Shop
from pipelines.engines import engine
from pipelines.files import path_of, write_table
from pipelines.tables import TABLES
from tests.builders import NOON, cart_id, history
from tests.pipelines.dashboard.shop_tables import rows_of

AS_OF = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
EPISODE = {
    "cart_id": cart_id(1),
    "episode_no": 1,
    "user_id": "u1",
    "idle_s": 3600,
    "last_activity_at": NOON,
    "abandoned_at": NOON + HOUR,
    "outcome": "open",
    "mature": False,
    "credited": False,
}
CANDIDATE = {
    "campaign": "recovery",
    "cart_id": cart_id(1),
    "episode_no": 1,
    "user_id": "u1",
    "eligible": True,
    "reasons": [],
    "last_activity_at": NOON,
}
DAY = {"idle_s": 3600, "episodes": 6, "mature": 5, "recovered": 1, "resumed": 2, "lost": 2, "immature": 1}
COHORT = {"carts": 5, "abandoned": 5, "checked_out": 5}
OUTCOME = {"assigned_at": NOON, "sent_at": NOON, "recovered_at": NOON, "recovered_attributed": True}
LIFT = {
    "treatment_users": 9,
    "holdout_users": 1,
    "treatment_recovered": 9,
    "holdout_recovered": 0,
    "lift_abs": 0.1,
    "lift_low": -0.1,
    "lift_high": 0.2,
}
EFFECT = {
    "effect_abs": 0.1,
    "abs_low": 0.0,
    "abs_high": 0.2,
    "effect_rel": 0.1,
    "rel_low": 0.0,
    "rel_high": 0.2,
    "p_value": 0.05,
    "p_corrected": 0.1,
}
DAILY_EFFECT = {"experiment": "e", "metric": "m", "arm": "B", "control_users": 5, "treatment_users": 5}
RATE = {"figure": "checkout_rate", "unit": "ratio", "value": 0.25, "part": 1, "whole": 4}
CHANGE = {"change": "changed", "fields": "outcome"}
CONTACT = {"user_id": "u1", "email": "u1@shop.test", "consent": True, "time_zone": "UTC"}


@pytest.fixture
def shop(tmp_path) -> Shop:
    """An empty shop."""
    return Shop(store=str(tmp_path))


def put(shop: Shop, name: str, *rows: dict[str, Any], **notes: str) -> None:
    """Put rows where a derived table stands, whether they keep its contract or not."""
    frame = rows_of(name, list(rows)) if rows else TABLES[name].empty()
    shop.derived.mkdir(parents=True, exist_ok=True)
    pq.write_table(frame.to_arrow().replace_schema_metadata(notes), path_of(shop.derived, name))


def offending(check, shop: Shop) -> int:
    """How many rows a check finds; it passes exactly where it finds none."""
    result = check(shop)
    found = result.metadata["offending_rows"].value
    assert result.passed == (found == 0)
    return int(found)


@pytest.mark.parametrize(
    ("check", "table", "sound", "broken"),
    [
        (abandonment.silences_are_long_enough, "abandonment_episodes", {}, {"abandoned_at": NOON}),
        (abandonment.silences_are_long_enough, "abandonment_episodes", {}, {"resolved_at": NOON}),
        (abandonment.nothing_undecided_counts_as_lost, "abandonment_episodes", {}, {"outcome": "lost"}),
        (abandonment.nothing_undecided_counts_as_lost, "abandonment_episodes", {}, {"mature": True}),
        (abandonment.outcomes_add_up, "abandonment_daily", {}, {"lost": 3}),
        (abandonment.outcomes_add_up, "abandonment_daily", {}, {"immature": 0}),
        (abandonment.rates_are_shares, "cart_cohorts", {}, {"abandoned": 6}),
        (abandonment.rates_are_shares, "cart_cohorts", {}, {"checked_out": 6}),
        (abandonment.restatements_say_what_changed, "restatements", {}, {"fields": None}),
        (abandonment.restatements_say_what_changed, "restatements", {}, {"change": "added", "outcome_1": "lost"}),
        (abandonment.restatements_say_what_changed, "restatements", {}, {"change": "withdrawn", "outcome_2": "lost"}),
        (recovery.every_no_has_its_reason, "recovery_candidates", {}, {"reasons": ["holdout"]}),
        (recovery.every_no_has_its_reason, "recovery_candidates", {}, {"eligible": False}),
        (recovery.nothing_is_recovered_before_its_assignment, "recovery_outcomes", {}, {"assigned_at": NOON + HOUR}),
        (recovery.nothing_is_recovered_before_its_assignment, "recovery_outcomes", {}, {"sent_at": None}),
        (recovery.recovered_are_part_of_their_arm, "recovery_lift", {}, {"treatment_recovered": 10}),
        (recovery.recovered_are_part_of_their_arm, "recovery_lift", {}, {"lift_low": 0.15}),
        (recovery.recovered_are_part_of_their_arm, "recovery_lift", {"lift_abs": None}, {"holdout_recovered": 2}),
        (experiments.arms_are_split_as_planned, "experiment_srm", {"alarm": False}, {"alarm": True}),
        (experiments.effects_lie_within_their_intervals, "experiment_results", {}, {"abs_high": 0.05}),
        (experiments.effects_lie_within_their_intervals, "experiment_results", {"effect_rel": None}, {"rel_low": 0.15}),
        (experiments.effects_lie_within_their_intervals, "experiment_results", {}, {"p_value": 1.1}),
        (experiments.effects_lie_within_their_intervals, "experiment_results", {}, {"p_corrected": 0.01}),
        (recovery.coupons_take_no_more_than_was_there, "coupon_effects", {}, {"carts": 6}),
        (carts.differences_are_of_the_two_totals, "overcharges", {}, {"charged_cents": 7}),
        (carts.differences_are_of_the_two_totals, "overcharges", {}, {"charged_cents": 4, "difference_cents": 0}),
        (pages.rates_are_their_parts, "headline", {}, {"part": 2}),
        (pages.rates_are_their_parts, "headline", {}, {"value": 1.25, "part": 5}),
    ],
)
def test_rows_of_one_table(shop, check, table: str, sound: dict[str, Any], broken: dict[str, Any]):
    """A sound row passes, and one that breaks the rule is found."""
    row = {
        "abandonment_episodes": EPISODE,
        "abandonment_daily": DAY,
        "cart_cohorts": COHORT,
        "restatements": CHANGE,
        "recovery_candidates": CANDIDATE,
        "recovery_outcomes": OUTCOME,
        "recovery_lift": LIFT,
        "experiment_srm": {},
        "experiment_results": EFFECT,
        "headline": RATE,
        "coupon_effects": {"removals": 5, "carts": 5, "rate_after": 0.5},
        "overcharges": {"charged_cents": 5, "projected_cents": 4, "difference_cents": 1},
    }[table]
    put(shop, table, row | sound)
    assert offending(check, shop) == 0
    put(shop, table, row | sound, row | broken)
    assert offending(check, shop) == 1


def test_no_order_is_credited_twice(shop):
    """Two credited episodes of one cart are found, both."""
    credited = EPISODE | {"credited": True}
    put(shop, "abandonment_episodes", credited, EPISODE | {"episode_no": 2})
    assert offending(abandonment.each_order_is_credited_once, shop) == 0
    put(shop, "abandonment_episodes", credited, credited | {"episode_no": 2})
    assert offending(abandonment.each_order_is_credited_once, shop) == 2


def test_hours_hold_every_episode(shop):
    """The hours of a week that miss an episode are found."""
    put(shop, "abandonment_episodes", EPISODE, EPISODE | {"episode_no": 2})
    put(shop, "abandonment_hourly", {"idle_s": 3600, "hour": 1, "episodes": 1}, {"idle_s": 3600, "episodes": 1})
    assert offending(abandonment.hours_add_up_to_the_episodes, shop) == 0
    put(shop, "abandonment_hourly", {"idle_s": 3600, "hour": 1, "episodes": 1})
    assert offending(abandonment.hours_add_up_to_the_episodes, shop) == 1


def test_announcements_of_this_job(shop):
    """An announcement over the head of a shopper is found, one that a shop imported is none of this job's doing."""
    with shop.events() as store:
        store.append_many(history(SHIRT, cart=cart_id(1)))
        announcing.announce(store, NOON + 2 * HOUR, HOUR)
        acts = history(SHIRT, QuantityChanged("p1", 2, 3), CartAbandoned(NOON), cart=cart_id(2))
        store.append_many(acts)
    assert offending(abandonment.nobody_acted_before_the_announcement, shop) == 0
    assert offending(abandonment.each_silence_is_announced_once, shop) == 0
    with shop.events() as store:
        again = [CartAbandoned(NOON + timedelta(minutes=1)), CartAbandoned(NOON)]
        store.append(cart_id(1), again, "u1", 2, timestamp=NOON, metadata=announcing.METADATA)
    assert offending(abandonment.each_silence_is_announced_once, shop) == 2
    assert offending(abandonment.nobody_acted_before_the_announcement, shop) == 1


def test_checks_of_events_say_what_they_looked_at(shop, monkeypatch):
    """Carts without events since the last look are passed over, unless all are asked for, as every week."""
    monkeypatch.setattr(by_cart, "MOSTLY", 1.0)
    looked_at = []
    for checked in (shop, shop, Shop(store=shop.store, check_all=True)):
        with shop.events() as store:
            number = len(looked_at) + 1
            store.append_many([*history(SHIRT, cart=cart_id(number)), *history(SHIRT, cart=cart_id(number + 10))])
        result = events.versions_are_gapless(checked)
        assert result.passed
        looked_at.append(result.metadata["looked_at"].value)
    assert looked_at == ["2 of 2 carts", "2 of 4 carts", "6 of 6 carts"]


def test_buyers_are_found_in_any_cart(shop):
    """A candidate who bought with another cart since the silence began is found."""
    with shop.events() as store:
        bought = history(SHIRT, CheckoutStarted(), CheckoutCompleted("o1", 5800), cart=cart_id(2), user="u1")
        store.append_many(bought)
    at = {"as_of": "2026-01-31T09:30:00Z", "position": "3"}
    put(shop, "recovery_candidates", CANDIDATE | {"last_activity_at": NOON + HOUR}, **at)
    assert offending(recovery.buyers_are_excluded, shop) == 0
    put(shop, "recovery_candidates", CANDIDATE, CANDIDATE | {"eligible": False}, **at)
    assert offending(recovery.buyers_are_excluded, shop) == 1
    put(shop, "recovery_candidates", CANDIDATE, **at | {"position": "2"})  # it was not known when the table was made
    assert offending(recovery.buyers_are_excluded, shop) == 0


def test_consent_is_asked_of_the_contacts(shop):
    """An eligible shopper without consent, address or contact is found."""
    put(shop, "recovery_candidates", CANDIDATE)
    write_table(shop.folder / "inputs", "contacts", rows_of_contacts(CONTACT))
    assert offending(recovery.nobody_is_written_to_without_consent, shop) == 0
    for changed in ({"consent": False}, {"email": None}, {"user_id": "u2"}):
        write_table(shop.folder / "inputs", "contacts", rows_of_contacts(CONTACT | changed))
        assert offending(recovery.nobody_is_written_to_without_consent, shop) == 1


def rows_of_contacts(row: dict[str, Any]) -> pl.DataFrame:
    """One contact as its table."""
    types = {"user_id": pl.String, "email": pl.String, "consent": pl.Boolean, "time_zone": pl.String}
    return pl.DataFrame([row], schema=types)


def test_candidates_are_the_open_episodes(shop):
    """An open episode that is no candidate is found, and so is a candidate that is no open episode."""
    put(shop, "abandonment_episodes", EPISODE, EPISODE | {"episode_no": 2, "outcome": "lost"})
    put(shop, "recovery_candidates", CANDIDATE)
    assert offending(recovery.every_open_episode_is_there, shop) == 0
    put(shop, "recovery_candidates", CANDIDATE | {"episode_no": 2})
    assert offending(recovery.every_open_episode_is_there, shop) == 2


def test_a_shopper_in_both_arms_is_found(shop):
    """Another campaign may draw otherwise, the same one may not."""
    row = {"campaign": "a", "user_id": "u1", "assignment": "treatment"}
    put(shop, "recovery_assignments", row, row | {"campaign": "b", "assignment": "holdout"})
    assert offending(recovery.a_shopper_stays_in_one_arm, shop) == 0
    put(shop, "recovery_assignments", row, row | {"assignment": "holdout"})
    assert offending(recovery.a_shopper_stays_in_one_arm, shop) == 1


def test_an_arm_that_loses_users_is_found(shop):
    """Users of an arm may only grow from day to day."""
    first, then = datetime(2026, 1, 1, tzinfo=UTC).date(), datetime(2026, 1, 2, tzinfo=UTC).date()
    put(shop, "experiment_daily", DAILY_EFFECT | {"date": then}, DAILY_EFFECT | {"date": first})
    assert offending(experiments.users_only_come, shop) == 0
    put(shop, "experiment_daily", DAILY_EFFECT | {"date": then}, DAILY_EFFECT | {"date": first, "control_users": 6})
    assert offending(experiments.users_only_come, shop) == 1


def test_figures_of_two_moments_are_found(shop):
    """A headline whose tables are as of different moments is no headline."""
    for name in ("cart_cohorts", "abandonment_daily", "recovery_candidates", "headline"):
        put(shop, name, as_of="2026-01-31T09:30:00Z")
    assert offending(pages.figures_are_of_one_moment, shop) == 0
    put(shop, "cart_cohorts", as_of="2026-01-30T09:30:00Z")
    assert offending(pages.figures_are_of_one_moment, shop) == 4


@pytest.fixture
def folded(shop) -> Shop:
    """A shop with one open and one bought cart, and their tables."""
    with shop.events() as store:
        store.append_many(history(SHIRT, cart=cart_id(1)))
        store.append_many(history(SHIRT, CheckoutStarted(), CheckoutCompleted("o1", 5800), cart=cart_id(2)))
        engine("local").refresh(store, shop.derived)
    return shop


CART_CHECKS = (carts.carts_hold_every_event, carts.totals_add_up, carts.lines_add_up_to_their_carts)


def test_the_fold_keeps_the_invariants_of_carts(folded):
    """Carts and lines as they are folded break no rule."""
    assert [offending(check, folded) for check in CART_CHECKS] == [0, 0, 0]


@pytest.mark.parametrize(
    ("check", "table", "column", "value"),
    [
        (carts.carts_hold_every_event, "carts", "version", 9),
        (carts.totals_add_up, "carts", "discount_cents", 1),
        (carts.totals_add_up, "carts", "order_id", None),
        (carts.lines_add_up_to_their_carts, "lines", "quantity", 9),
        (carts.lines_add_up_to_their_carts, "lines", "price_cents", 1),
        (carts.lines_add_up_to_their_carts, "carts", "line_count", 2),
    ],
)
def test_a_cart_that_does_not_add_up_is_found(folded, check, table, column, value):
    """Whichever column is wrong, the check that looks at it finds its rows."""
    frame = folded.table(table)
    (part,) = (folded.derived / f"{table}.parquet").glob("*.parquet")
    frame.with_columns(pl.lit(value, frame.schema[column]).alias(column)).write_parquet(part)
    assert offending(check, folded) >= 1


def test_events_of_a_store_have_no_gap(shop):
    """A store's own events break no rule, and an empty store has none to break."""
    assert offending(events.versions_are_gapless, shop) == 0
    with shop.events() as store:
        store.append_many(history(SHIRT, CheckoutStarted(), cart=cart_id(1)))
    assert offending(events.versions_are_gapless, shop) == 0


def test_failed_files_are_told(shop):
    """Each dropped file that could not be imported is a row with its reason; it stops nothing."""
    place = shop.inbox / "failed" / "parquet"
    place.mkdir(parents=True)
    (place / "bad.parquet.reason.txt").write_text("no Parquet\n")
    result = events.no_file_failed(shop)
    assert not result.passed
    assert "| bad.parquet | no Parquet |" in result.metadata["sample"].value
    (spec,) = events.no_file_failed.check_specs
    assert not spec.blocking


def test_every_table_has_a_blocking_check():
    """Nothing is derived from a table of which nobody has asked anything."""
    specs = [spec for each in everything.checks() for spec in each.check_specs]
    asked = {spec.asset_key.to_user_string() for spec in specs if spec.blocking}
    made = {key.to_user_string() for each in everything.assets() for key in each.keys}
    assert (made & set(TABLES)) - asked == set()


def test_every_check_says_what_it_asks():
    """Its name and its description tell the rule to whoever looks at the graph."""
    specs = [spec for each in everything.checks() for spec in each.check_specs]
    assert all(spec.description and spec.description.endswith(".") for spec in specs)


def test_a_broken_rule_stops_what_is_derived_from_the_table(tmp_path):
    """Downstream of a blocking check that fails nothing is made."""
    ran = []

    @dg.asset
    def carts() -> None:
        ran.append("carts")

    @dg.asset(deps=[carts])
    def after() -> None:
        ran.append("after")

    @invariant("carts")
    def never_holds(_shop: Shop) -> pl.DataFrame:
        """Never."""
        return pl.DataFrame({"row": [1]})

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [carts, after, never_holds],
            instance=instance,
            resources={"shop": Shop(store=str(tmp_path))},
            raise_on_error=False,
        )
    assert not done.success
    assert ran == ["carts"]
