from datetime import timedelta

import polars as pl
import pytest

from cart_core.simulator import Shop, chunks
from pipelines.derive.experiments import acts, analyse, compare, declared, first_exposures, unit_metrics
from pipelines.derive.experiments.metrics import CATALOG, COVARIATES
from pipelines.tables import TABLES, conformed

SHOP = Shop(carts=3_000, days=16, seed=8, lift=0.8)
(EXPERIMENT,) = declared(
    """
[[experiment]]
key = "checkout_button"
control = "control"
variants = { control = 0.5, treatment = 0.5 }
primary = "conversion"
secondary = ["revenue_per_user", "average_order_value"]
guardrails = [{ metric = "removals_per_cart", worse = "higher", margin = 0.5 }]
funnel = ["step_view", "step_add"]
window_days = 5
"""
)


@pytest.fixture(scope="module")
def shop():
    """Exposures and acts of a simulated shop whose treatment sells far more."""
    (part,) = chunks(SHOP)
    exposures = pl.DataFrame(part.exposures)
    return exposures, acts(part.events, views=part.views, episodes=part.episodes)


@pytest.fixture(scope="module")
def found(shop):
    """Its experiment, analysed as of the end."""
    exposures, done = shop
    properties = exposures.select("user_id").unique(maintain_order=True)
    properties = properties.with_columns(kind=pl.col("user_id").str.split("-").list.first())
    return analyse(EXPERIMENT, exposures, done, as_of=SHOP.end, segments=properties)


@pytest.mark.parametrize("name", ["results", "daily", "srm"])
def test_tables_keep_their_contracts(found, name):
    """Each table has the columns, types and key of its contract."""
    frame = getattr(found, name)
    assert conformed(TABLES[f"experiment_{name}"], frame).equals(frame)
    assert frame.height > 0


def test_results_are_those_of_compare(shop, found):
    """The figures are ``compare`` over the metrics of the exposed users."""
    exposures, done = shop
    users = unit_metrics(
        done,
        first_exposures(exposures, "checkout_button", EXPERIMENT.variants).users,
        window=timedelta(days=5),
        as_of=SHOP.end,
    )
    again = compare(users, variant="variant", control="control", metrics=EXPERIMENT.metrics, covariates=COVARIATES)
    whole = found.results.filter(segment="all")
    assert users.equals(found.users)
    for name in ("metric", "adjusted", "effect_abs", "p_corrected", "always_low", "treatment_users"):
        assert whole[name].to_list() == again[name].to_list()
    assert set(whole["metric"]) <= set(CATALOG)
    assert whole["role"].to_list()[:2] == ["primary", "primary"]


def test_a_great_lift_is_found_and_told(found):
    """With 80 % more purchases the verdict says so, and a guardrail has a verdict of its own."""
    told = dict(found.results.filter(segment="all", adjusted="raw").select("metric", "verdict").iter_rows())
    assert told["conversion"].startswith("conversion was higher: ")
    assert told["removals_per_cart"].startswith("Guardrail ")


def test_segments_stand_beside_the_whole(found):
    """Every kind of user is a segment, and segments' users add up to all."""
    users = dict(
        found.results.filter(metric="conversion", adjusted="raw").select("segment", "control_users").iter_rows()
    )
    assert set(users) == {"all", "kind=user", "kind=guest", "kind=visitor"}
    assert sum(users.values()) == 2 * users["all"]


def test_the_last_day_is_the_result(found):
    """Day by day users only grow, and the last day says what the result says."""
    days = found.daily.filter(metric="conversion").sort("date")
    final = found.results.filter(metric="conversion", segment="all", adjusted="raw").to_dicts()[0]
    last = days.to_dicts()[-1]
    assert days["control_users"].is_sorted()
    assert [last[name] for name in ("effect_abs", "abs_low", "always_p")] == [
        final[name] for name in ("effect_abs", "abs_low", "always_p")
    ]
    assert days["date"][-1] == (SHOP.end - timedelta(days=1)).date()


def test_days_are_those_of_the_time_zone(shop):
    """In Tokyo the last moment of the period already belongs to the next day."""
    exposures, done = shop
    found = analyse(EXPERIMENT, exposures, done, as_of=SHOP.end, time_zone="Asia/Tokyo")
    assert found.daily["date"].max() == SHOP.end.date()


def test_the_split_is_told_with_those_left_out(shop, found):
    """Both arms stand with their users and with the users left out because they saw two variants."""
    exposures, _ = shop
    mixed = exposures.filter(experiment="checkout_button").group_by("user_id").agg(pl.col("variant").n_unique())
    assert found.srm["multiple_users"].sum() == mixed.filter(pl.col("variant") == 2).height > 0
    assert found.srm["observed"].sum() == found.users.height
    assert not found.srm["alarm"].any()


def test_a_wrong_split_voids_every_verdict(shop):
    """If half of treatment's exposures get lost, no verdict claims anything."""
    exposures, done = shop
    kept = exposures.filter((pl.col("variant") == "control") | (pl.col("user_id").str.ends_with("1")))
    found = analyse(EXPERIMENT, kept, done, as_of=SHOP.end)
    assert found.srm["alarm"].all()
    assert found.results["verdict"].str.starts_with("Do not use").all()


def test_before_anybody_is_exposed_there_is_nothing(shop):
    """As of a moment before the experiment the tables are empty but for the split's arms."""
    exposures, done = shop
    found = analyse(EXPERIMENT, exposures, done, as_of=SHOP.start)
    assert found.results.is_empty()
    assert found.daily.is_empty()
    assert found.srm["observed"].to_list() == [0, 0]
