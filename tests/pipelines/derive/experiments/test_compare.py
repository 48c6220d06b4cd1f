import math
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipelines.derive.experiments import Mean, Proportion, Ratio, compare, compare_segments
from pipelines.tables import TableError

COLUMNS = [
    *("metric", "arm", "adjusted", "control_value", "treatment_value", "effect_abs", "abs_low", "abs_high"),
    *("effect_rel", "rel_low", "rel_high", "p_value", "p_corrected"),
]


def shop(users=4_000, seed=1, arms=("control", "treatment"), lift=0.2):
    """Users with revenue that what they spent before foretells, orders, sessions and a conversion."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(arms, users)
    before = rng.gamma(1.5, 20.0, users)
    orders = rng.poisson(0.4 * np.where(arm == arms[-1], 1 + lift, 1.0))
    return pl.DataFrame(
        {
            "variant": arm,
            "before": before,
            "revenue": orders * (before + rng.gamma(1.0, 10.0, users)),
            "orders": orders,
            "orders_before": rng.poisson(0.02 * before),
            "sessions": 1 + rng.poisson(1.0, users) + orders,
            "converted": orders > 0,
        }
    )


def only(frame, **wanted):
    """The one row of a frame with these values."""
    (row,) = frame.filter(**wanted).to_dicts()
    return row


def oracle(users, **metrics):
    """What tea-tasting itself says about the two arms."""
    told = users.with_columns(pl.col("converted").cast(pl.Int64))
    return tt.Experiment(metrics, variant="variant").analyze(told, "control")


def figures(row):
    """The figures of a row of ``compare`` that tea-tasting gives too."""
    names = ("control_value", "treatment_value", "effect_abs", "abs_low", "abs_high")
    return [row[name] for name in (*names, "effect_rel", "rel_low", "rel_high", "p_value")]


def expected(result):
    """The same figures as tea-tasting gives them."""
    return [
        *(result.control, result.treatment, result.effect_size),
        *(result.effect_size_ci_lower, result.effect_size_ci_upper, result.rel_effect_size),
        *(result.rel_effect_size_ci_lower, result.rel_effect_size_ci_upper, result.pvalue),
    ]


def test_columns_and_order_of_rows():
    """The promised columns come first; rows stand by metric, then arm, raw before CUPED."""
    found = compare(
        shop(arms=("control", "b", "a")),
        variant="variant",
        control="control",
        metrics=[Mean("revenue"), Proportion("converted")],
        covariates={"revenue": "before"},
    )
    assert found.columns[: len(COLUMNS)] == COLUMNS
    assert found.select("metric", "arm", "adjusted").rows() == [
        ("revenue", "a", "raw"),
        ("revenue", "a", "CUPED"),
        ("revenue", "b", "raw"),
        ("revenue", "b", "CUPED"),
        ("converted", "a", "raw"),
        ("converted", "b", "raw"),
    ]


@pytest.mark.parametrize(
    ("metric", "covariates", "adjusted", "theirs"),
    [
        (Mean("revenue"), {}, "raw", tt.Mean("revenue")),
        (Mean("revenue"), {"revenue": "before"}, "CUPED", tt.Mean("revenue", "before")),
        (Ratio("orders", "sessions"), {}, "raw", tt.RatioOfMeans("orders", "sessions")),
        (
            Ratio("revenue", "orders", "order value"),
            {"order value": ["before", "orders_before"]},
            "CUPED",
            tt.RatioOfMeans("revenue", "orders", "before", "orders_before"),
        ),
        (
            Proportion("converted"),
            {},
            "raw",
            tt.Proportion("converted", method="norm", correction=False, equal_var=False),
        ),
    ],
)
def test_figures_are_those_of_tea_tasting(metric, covariates, adjusted, theirs):
    """Values, effects, intervals and p-values are tea-tasting's."""
    users = shop()
    found = compare(users, variant="variant", control="control", metrics=[metric], covariates=covariates)
    row = only(found, adjusted=adjusted)
    assert figures(row) == pytest.approx(expected(oracle(users, m=theirs)["m"]), rel=1e-9)


def test_a_mean_is_compared_by_welchs_test():
    """The p-value and interval of a mean are scipy's for unequal variances."""
    users = shop()
    row = only(compare(users, variant="variant", control="control", metrics=[Mean("revenue")]))
    before, after = (users.filter(variant=arm)["revenue"].to_numpy() for arm in ("control", "treatment"))
    welch = stats.ttest_ind(after, before, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert row["p_value"] == pytest.approx(welch.pvalue, rel=1e-9)
    assert (row["abs_low"], row["abs_high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_a_proportions_test_and_interval_agree():
    """A proportion's interval leaves 0 out exactly where its p-value is below alpha."""
    for seed in range(40):
        users = shop(seed=seed, users=800)
        row = only(compare(users, variant="variant", control="control", metrics=[Proportion("converted")]))
        assert (row["p_value"] < 0.05) == (not row["abs_low"] <= 0 <= row["abs_high"])


def test_a_ratio_of_sums_is_no_mean_of_ratios():
    """A ratio is the sum of one column over the sum of another."""
    users = shop()
    row = only(compare(users, variant="variant", control="control", metrics=[Ratio("revenue", "orders")]))
    control = users.filter(variant="control")
    assert row["metric"] == "revenue/orders"
    assert row["control_value"] == pytest.approx(control["revenue"].sum() / control["orders"].sum())


def test_capping_uses_one_cap_for_all_arms():
    """A capped mean is the mean of values cut at the quantile of all positive values together, and names the cap."""
    users = shop()
    cap = users["revenue"].filter(users["revenue"] > 0).quantile(0.9, "higher")
    row = only(
        compare(users, variant="variant", control="control", metrics=[Mean("revenue", "capped", cap_quantile=0.9)])
    )
    cut = users.with_columns(pl.col("revenue").clip(upper_bound=cap))
    plain = only(compare(cut, variant="variant", control="control", metrics=[Mean("revenue")]))
    assert row["capped_at"] == cap
    assert figures(row) == pytest.approx(figures(plain))


def test_holm_corrects_across_metrics_and_arms():
    """Corrected p-values are Holm's over all metrics and arms: the k-th smallest times what is left, never falling."""
    found = compare(
        shop(arms=("control", "a", "b")),
        variant="variant",
        control="control",
        metrics=[Mean("revenue"), Proportion("converted"), Mean("orders")],
    )
    told = sorted(found["p_value"])
    steps = [min(1.0, p * (len(told) - rank)) for rank, p in enumerate(told)]
    assert sorted(found["p_corrected"]) == pytest.approx(list(np.maximum.accumulate(steps)))


def test_a_metric_counts_once_in_the_correction():
    """CUPED rows are corrected among the rows decided on; raw rows as if there were no CUPED."""
    users = shop()
    metrics = [Mean("revenue"), Mean("orders")]
    both = compare(users, variant="variant", control="control", metrics=metrics, covariates={"revenue": "before"})
    raw = compare(users, variant="variant", control="control", metrics=metrics)
    assert both.filter(adjusted="raw")["p_corrected"].to_list() == raw["p_corrected"].to_list()
    p_revenue = only(both, metric="revenue", adjusted="CUPED")["p_value"]
    p_orders = only(both, metric="orders", adjusted="raw")["p_value"]
    corrected = min(1.0, 2 * p_revenue) if p_revenue < p_orders else max(p_revenue, min(1.0, 2 * p_orders))
    assert only(both, metric="revenue", adjusted="CUPED")["p_corrected"] == pytest.approx(corrected)


def test_no_correction_where_none_is_asked_for():
    """With correction none the corrected p-value is the p-value."""
    found = compare(
        shop(), variant="variant", control="control", metrics=[Mean("revenue"), Mean("orders")], correction="none"
    )
    assert found["p_corrected"].to_list() == found["p_value"].to_list()


def test_the_detectable_effect_has_the_power_it_says():
    """An effect of the detectable size would be found with 80 % power by a normal test of this size."""
    row = only(compare(shop(), variant="variant", control="control", metrics=[Mean("revenue")]))
    needed = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * row["se_abs"]
    assert row["detectable_abs"] == pytest.approx(needed, rel=0.02)
    assert row["detectable_rel"] == pytest.approx(row["detectable_abs"] / row["control_value"])


@pytest.mark.parametrize("covariates", [{}, {"revenue": "before"}])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_detectable_effect_is_what_tea_tasting_solves_for(covariates, power):
    """Found without a search, it is the effect that tea-tasting's search ends at, adjusted or not."""
    users = shop()
    found = compare(
        users, variant="variant", control="control", metrics=[Mean("revenue")], covariates=covariates, power=power
    )
    sizes = users.group_by("variant").len().sort("variant")["len"].to_list()
    solver = tt.Mean(
        *("revenue", *covariates.values()), use_t=False, equal_var=False, power=power, ratio=sizes[1] / sizes[0]
    )
    (solved,) = solver.solve_power(users, "effect_size")
    assert found["detectable_abs"][-1] == pytest.approx(solved.effect_size, rel=2e-3 if power < 0.8 else 1e-5)


def test_the_interval_for_all_looks_is_wider():
    """The always-valid interval encloses the interval for one look."""
    row = only(compare(shop(), variant="variant", control="control", metrics=[Mean("revenue")]))
    assert row["always_low"] < row["abs_low"] < row["abs_high"] < row["always_high"]
    assert row["always_p"] > row["p_value"]


def test_arms_may_be_numbers():
    """Arms keep their own type, and control may be a number."""
    users = shop().with_columns(variant=(pl.col("variant") == "treatment").cast(pl.Int64))
    found = compare(users, variant="variant", control=0, metrics=[Mean("revenue")])
    assert found["arm"].to_list() == [1]


@pytest.mark.parametrize("form", [pl.DataFrame.lazy, pl.DataFrame.to_arrow])
def test_users_may_come_in_any_form(form):
    """A LazyFrame and an Arrow table give what a DataFrame gives."""
    users = shop()
    terms: dict[str, Any] = {"variant": "variant", "control": "control", "metrics": [Mean("revenue")]}
    assert compare(form(users), **terms).equals(compare(users, **terms))


def test_two_arms_alone_give_no_row_without_treatment():
    """Users of control alone make an empty frame of the same columns."""
    found = compare(shop().filter(variant="control"), variant="variant", control="control", metrics=[Mean("revenue")])
    assert found.is_empty()
    assert found.columns[: len(COLUMNS)] == COLUMNS


@pytest.mark.parametrize(
    ("control", "treatment", "known"),
    [([0, 0, 0], [0, 0, 0], 0.0), ([5, 5], [7, 7], 2.0), ([1, 2, 3], [4], 2.0)],
)
def test_what_cannot_be_known_is_null(control, treatment, known):
    """Without variance, or with one user in an arm, the values stand and everything about chance is null."""
    users = pl.DataFrame(
        {
            "variant": ["control"] * len(control) + ["treatment"] * len(treatment),
            "revenue": [float(value) for value in (*control, *treatment)],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = only(compare(users, variant="variant", control="control", metrics=[Mean("revenue")]))
    assert row["effect_abs"] == known
    unknown = ("abs_low", "abs_high", "rel_low", "rel_high", "p_value", "p_corrected", "always_p", "detectable_abs")
    assert [row[name] for name in unknown] == [None] * len(unknown)


def test_relative_figures_need_means_above_zero():
    """Where control's mean is not above 0 the absolute figures stand and the relative ones are null."""
    users = pl.DataFrame({"variant": ["control"] * 3 + ["t"] * 3, "gain": [-3.0, 1.0, 1.5, 2.0, 3.0, 4.5]})
    row = only(compare(users, variant="variant", control="control", metrics=[Mean("gain")]))
    assert row["p_value"] is not None
    assert [row[name] for name in ("effect_rel", "rel_low", "rel_high")] == [None] * 3


@settings(max_examples=40)
@given(
    st.lists(st.integers(-1_000, 1_000), min_size=2, max_size=30),
    st.lists(st.integers(-1_000, 1_000), min_size=2, max_size=30),
)
def test_any_two_samples_can_be_compared(control, treatment):
    """Whatever the values, the difference of the means is told, an interval is around it, and nothing is NaN."""
    users = pl.DataFrame(
        {
            "variant": ["control"] * len(control) + ["treatment"] * len(treatment),
            "value": [*control, *treatment],
        }
    )
    row = only(compare(users, variant="variant", control="control", metrics=[Mean("value")]))
    difference = math.fsum(treatment) / len(treatment) - math.fsum(control) / len(control)
    assert row["effect_abs"] == pytest.approx(difference, abs=1e-9)
    numbers = [value for value in row.values() if isinstance(value, float)]
    assert not any(math.isnan(value) for value in numbers)
    if row["abs_low"] is not None:
        assert row["abs_low"] <= row["effect_abs"] <= row["abs_high"]


def same_ratio(seed):
    """Users of two arms who each paid the same for every order."""
    orders = np.random.default_rng(seed).integers(1, 5, 40).astype(float)
    return pl.DataFrame({"variant": ["control", "treatment"] * 20, "orders": orders, "revenue": orders * (seed + 0.1)})


def analysable(users):
    """Whether no variance is so far below 0 that tea-tasting itself ends."""
    try:
        tt.Experiment(m=tt.RatioOfMeans("revenue", "orders", equal_var=False), variant="variant").analyze(users)
    except (OverflowError, ValueError) as error:
        return isinstance(error, OverflowError)
    return True


def test_a_ratio_that_is_the_same_for_everybody_shows_no_effect():
    """Where rounding takes a variance below 0, which ends tea-tasting's own analysis, nothing is claimed."""
    ended = 0
    for seed in range(60):
        users = same_ratio(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            ended += not analysable(users)
        row = only(compare(users, variant="variant", control="control", metrics=[Ratio("revenue", "orders")]))
        assert row["effect_rel"] == pytest.approx(0.0, abs=1e-12)
        assert row["p_value"] is None or row["p_value"] > 0.9
    assert ended > 0


def test_a_failure_of_the_statistics_is_not_taken_for_no_effect(monkeypatch):
    """An analysis that refuses its input ends the comparison with its reason."""

    def refuse(*_):
        raise ValueError("no such figure")

    monkeypatch.setattr(tt.RatioOfMeans, "analyze_aggregates", refuse)
    with pytest.raises(ValueError, match="no such figure"):
        compare(shop(users=40), variant="variant", control="control", metrics=[Mean("revenue")])


@pytest.mark.parametrize(
    ("change", "terms", "words"),
    [
        ({}, {"control": "c"}, "control is 'c', but the arms in column variant are"),
        ({}, {"metrics": [Mean("orders", "x"), Mean("revenue", "x")]}, "two metrics are called 'x'"),
        ({"revenue": pl.lit(None, pl.Float64)}, {}, "column revenue is missing or no finite number in 40 of 40 rows"),
        ({"revenue": pl.lit(math.nan)}, {}, "column revenue is missing or no finite number"),
        ({"variant": pl.lit(None, pl.String)}, {}, "column variant is missing"),
        ({"converted": pl.lit(2)}, {"metrics": [Proportion("converted")]}, "a proportion's is 0 or 1"),
        ({"revenue": pl.lit("much")}, {}, "column revenue is String, but must hold numbers"),
        ({}, {"metrics": [Mean("profit")]}, "columns missing"),
        ({}, {"alpha": 1.5}, "alpha is 1.5"),
        ({}, {"correction": "bonferoni"}, "correction is 'bonferoni'"),
    ],
)
def test_what_is_wrong_is_named(change, terms, words):
    """A wrong argument or column is refused with what it is and what it should be."""
    users = shop(users=40).with_columns(**change)
    told = {"variant": "variant", "control": "control", "metrics": [Mean("revenue")]} | terms
    with pytest.raises((ValueError, TableError), match=words):
        compare(users, **told)


def test_segments_are_corrected_over_all_of_them():
    """Each segment is compared within itself, and its p-values are corrected over every segment's."""
    users = shop().with_columns(device=pl.Series(["phone", "desk", None, "phone"] * 1_000))
    found = compare_segments(users, "device", variant="variant", control="control", metrics=[Mean("revenue")])
    assert found["segment"].to_list() == ["device=desk", "device=phone", "device=(none)"]
    phone = compare(users.filter(device="phone"), variant="variant", control="control", metrics=[Mean("revenue")])
    assert only(found, segment="device=phone")["p_value"] == only(phone)["p_value"]
    assert min(found["p_corrected"]) == pytest.approx(min(1.0, 3 * min(found["p_value"])))
