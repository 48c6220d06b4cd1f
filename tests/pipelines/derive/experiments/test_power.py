import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipelines.derive.experiments import Mean, Proportion, Ratio, plan


@pytest.fixture(scope="module")
def past():
    """Past users: every fifth bought, for amounts that vary."""
    rng = np.random.default_rng(1)
    bought = np.arange(10_000) % 5 == 0
    return pl.DataFrame(
        {"converted": bought, "revenue": bought * rng.gamma(2.0, 50.0, 10_000), "visits": 1 + rng.poisson(1.0, 10_000)}
    )


def test_users_are_those_of_the_textbook(past):
    """The size for a proportion is 2 (z_a + z_b)^2 variance / effect^2 per arm, both arms together."""
    (row,) = plan(past, [Proportion("converted")], effect_rel=0.1, users_per_day=1_000).to_dicts()
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    textbook = 2 * 2 * z**2 * 0.2 * 0.8 / 0.02**2
    assert row["value"] == pytest.approx(0.2)
    assert row["effect_abs"] == pytest.approx(0.02)
    assert row["users"] == pytest.approx(textbook, rel=1e-3)
    assert row["days"] == math.ceil(row["users"] / 1_000)


def test_half_the_effect_needs_four_times_the_users(past):
    """Users grow with the square of what is to be found."""
    whole, half = (
        plan(past, [Mean("revenue")], effect_rel=effect, users_per_day=10)["users"][0] for effect in (0.1, 0.05)
    )
    assert half / whole == pytest.approx(4, rel=0.01)


def test_uneven_arms_need_more(past):
    """A small treatment share costs users."""
    even, uneven = (
        plan(past, [Mean("revenue")], effect_rel=0.1, users_per_day=10, treatment_share=share)["users"][0]
        for share in (0.5, 0.1)
    )
    assert uneven / even == pytest.approx(0.25 / 0.09, rel=0.01)


def test_a_ratio_and_what_does_not_vary(past):
    """A ratio is planned by its own variance; a metric that is always 0 cannot be planned."""
    found = plan(
        past.with_columns(nothing=pl.lit(0)), [Ratio("revenue", "visits"), Mean("nothing")], effect_rel=0.1,
        users_per_day=100,
    )  # fmt: skip
    assert found["users"][0] > 0
    assert found.row(1) == ("nothing", None, None, 0.1, None, None)


@pytest.mark.parametrize("wrong", [{"effect_rel": 0}, {"treatment_share": 1.0}, {"users_per_day": 0}])
def test_impossible_plans_are_refused(past, wrong):
    """No effect, no arm or no users cannot be planned for."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        plan(past, [Mean("revenue")], **({"effect_rel": 0.1, "users_per_day": 10} | wrong))
