import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.derive.experiments import assign, share_of, split, srm


@pytest.mark.parametrize(
    ("counts", "weights", "p_value"),
    [
        ({"a": 821_588, "b": 815_482}, {"a": 0.5, "b": 0.5}, 1.82e-6),
        ({"a": 1_000, "b": 1_000}, {"a": 0.5, "b": 0.5}, 1.0),
        ({"a": 1_000, "b": 1_150}, {"a": 1, "b": 1}, 0.0012165),
        ({"a": 500, "b": 600, "c": 400}, {"a": 1, "b": 1, "c": 1}, 2.0611536e-9),
        ({"a": 800, "b": 200}, {"a": 0.8, "b": 0.2}, 1.0),
    ],
)
def test_known_splits(counts, weights, p_value):
    """The first case is the example of Kohavi, Tang and Xu (2020, ch. 21); the rest are chi-squares by hand."""
    assert srm(counts, weights) == pytest.approx(p_value, rel=2e-3)


def test_it_is_pearsons_chi_square():
    """With k arms the p-value is scipy's chi-square with k - 1 degrees of freedom."""
    counts, weights = {"a": 410, "b": 520, "c": 70}, {"a": 4, "b": 5, "c": 1}
    expected = {arm: 1_000 * weight / 10 for arm, weight in weights.items()}
    statistic = sum((counts[arm] - expected[arm]) ** 2 / expected[arm] for arm in counts)
    assert srm(counts, weights) == pytest.approx(stats.chi2.sf(statistic, 2))


def test_an_arm_missing_from_counts_is_ignored_and_an_explicit_zero_counts():
    """Nothing is said of an arm that was not counted; an arm that was counted as 0 is an alarm."""
    weights = {"a": 1, "b": 1, "c": 1}
    assert srm({"a": 100, "b": 100}, weights) == pytest.approx(1.0)
    assert srm({"a": 100, "b": 100, "c": 0}, weights) < 0.001


def test_an_arm_without_weight_does_not_count():
    """Users of an arm with weight 0, or none, are no mismatch of the others."""
    assert srm({"a": 100, "b": 100, "x": 999}, {"a": 1, "b": 1, "x": 0}) == pytest.approx(1.0)
    assert srm({"a": 100, "b": 100, "x": 999}, {"a": 1, "b": 1}) == pytest.approx(1.0)


@pytest.mark.parametrize("counts", [{}, {"a": 5}, {"a": 0, "b": 0}])
def test_too_little_to_tell_is_nan(counts):
    """With one arm or no users there is no p-value."""
    assert math.isnan(srm(counts, {"a": 1, "b": 1}))


def test_negative_counts_are_refused():
    """No arm has fewer than 0 users."""
    with pytest.raises(ValueError, match="must not be negative"):
        srm({"a": -1, "b": 1}, {"a": 1, "b": 1})


def test_a_split_names_every_planned_arm():
    """Each planned arm stands with its share, what was expected, what came, and the alarm."""
    found = split({"a": 700}, {"a": 3, "b": 1, "x": 0}, {"a": 2})
    assert found.rows() == [
        ("a", 0.75, 525.0, 700, 2, found["p_value"][0], True),
        ("b", 0.25, 175.0, 0, 0, found["p_value"][0], True),
    ]
    assert found["p_value"][0] < 1e-9


def test_shares_are_what_the_hash_says():
    """A user's share is the first 8 bytes of SHA-256 of salt:user, so another program finds the same."""
    assert share_of("u1", "checkout") == int("51203679c433cabb", 16) / 2**64


@given(st.text(), st.text())
def test_a_share_is_below_one(user, salt):
    """Every share lies in [0, 1), also of odd ids."""
    assert 0 <= share_of(user, salt) < 1


def test_assignment_follows_the_weights_and_the_user_alone():
    """A user gets the same variant in any company; shares are close to the weights; variants of weight 0 get none."""
    users = [f"u{number}" for number in range(20_000)]
    weights = {"control": 2, "treatment": 1, "off": 0}
    found = assign(users, weights, "salt")
    counts = Counter(found)
    assert assign(users[::-1], weights, "salt") == found[::-1]
    assert set(counts) == {"control", "treatment"}
    assert srm(counts, weights) > 0.001


def test_salts_are_independent():
    """Who is treated in one experiment is no more likely treated in another."""
    users = [f"u{number}" for number in range(20_000)]
    both = Counter(zip(*(assign(users, {"c": 1, "t": 1}, salt) for salt in ("one", "two")), strict=True))
    assert stats.chi2_contingency([[both["c", "c"], both["c", "t"]], [both["t", "c"], both["t", "t"]]]).pvalue > 0.001


def test_assignment_needs_a_weight():
    """Without any weight above 0 nobody can be assigned."""
    with pytest.raises(ValueError, match="one must be above 0"):
        assign(["u"], {"a": 0}, "salt")
