import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.derive.experiments import always_valid


@pytest.mark.parametrize(
    ("estimate", "se", "n", "tuning", "low", "high"),
    [
        (0.50336, 0.33341, 6_461, 1_000, -0.55844, 1.56516),
        (0.50386, 0.03386, 6_461, 5_000, 0.40098, 0.60675),
        (0.53061, 0.33368, 6_500, 1_000, -0.53230, 1.59353),
        (0.56256, 0.03354, 6_550, 5_000, 0.46064, 0.66448),
    ],
)
def test_published_intervals(estimate, se, n, tuning, low, high):
    """The intervals are those that the test suites of GrowthBook (two) and PostHog (two) publish."""
    found = always_valid(estimate, se, n, tuning=tuning)
    assert found[:2] == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("estimate", "se", "n", "tuning"), [(0.50336, 0.33341, 6_461, 1_000), (0.0, 1.0, 10, 5_000)])
def test_weak_evidence_has_p_of_one(estimate, se, n, tuning):
    """The p-value is never above 1, and is 1 where the data speak for no effect, as published for the first case."""
    assert always_valid(estimate, se, n, tuning=tuning)[2] == 1.0


@given(st.floats(-10, 10), st.floats(0.01, 10), st.integers(2, 10**7), st.floats(0.001, 0.5), st.floats(10, 10**6))
def test_interval_and_p_value_agree(estimate, se, n, alpha, tuning):
    """The interval leaves 0 out exactly where p is below alpha."""
    low, high, p_value = always_valid(estimate, se, n, alpha, tuning)
    assert low < estimate < high
    if not math.isclose(p_value, alpha, rel_tol=1e-9):
        assert (p_value < alpha) == (not low <= 0 <= high)


def test_it_is_narrowest_near_the_tuning():
    """For one and the same amount of information, the interval is narrower the nearer n is to the tuning."""
    widths = {
        tuning: np.ptp(always_valid(1.0, 0.1, 5_000, tuning=tuning)[:2]) for tuning in (50, 2_500, 5_000, 500_000)
    }
    assert min(widths, key=lambda tuning: widths[tuning]) == 5_000
    assert widths[50] > widths[2_500]


def test_arrays_are_taken_element_by_element():
    """Arrays give arrays, with the same numbers as one by one."""
    estimates, errors, sizes = np.array([0.1, -0.2, 0.0]), np.array([0.05, 0.1, 0.2]), np.array([100, 1_000, 10])
    low, high, p_value = always_valid(estimates, errors, sizes)
    for place in range(3):
        assert always_valid(estimates[place], errors[place], sizes[place]) == pytest.approx(
            (low[place], high[place], p_value[place])
        )


@pytest.mark.parametrize(
    ("estimate", "se", "n"), [(1.0, 0.0, 100), (math.nan, 1.0, 100), (1.0, math.nan, 5), (1.0, 1.0, 0)]
)
def test_nothing_is_claimed_without_an_error(estimate, se, n):
    """Without a standard error or users the interval is the whole line and p is 1."""
    assert always_valid(estimate, se, n) == (-math.inf, math.inf, 1.0)


@pytest.mark.parametrize("terms", [{"alpha": 0}, {"alpha": 1}, {"tuning": 0}])
def test_impossible_terms_are_refused(terms):
    """Alpha lies between 0 and 1, and a tuning above 0."""
    with pytest.raises(ValueError, match=next(iter(terms))):
        always_valid(1.0, 1.0, 10, **terms)


def test_peeking_at_every_user_raises_false_alarms_in_5_of_100_streams_at_most():
    """Of streams without an effect, looked at after each of 3 000 users, at most 5 % are ever called significant."""
    rng = np.random.default_rng(20260101)
    sizes = np.arange(1, 3_001)
    streams = rng.standard_normal((2_000, sizes.size)).cumsum(axis=1) / sizes
    errors = 1 / np.sqrt(sizes)
    ever = (always_valid(streams, errors, sizes)[2] < 0.05).any(axis=1).mean()
    naive = (np.abs(streams) > 1.96 * errors).any(axis=1).mean()
    assert ever <= 0.05
    assert naive > 0.5
