import numpy as np
import polars as pl
import pytest

from pipelines.derive.experiments import Experiment, Mean, Metric, Proportion, analyse, compare
from tests.truth.worlds import EVEN, SEEDS, WHOLE, likely, share, world

METRICS: list[Metric] = [Proportion("converted"), Mean("revenue_cents")]
pytestmark = pytest.mark.timeout(3_000)
COVARIATES = {"converted": "converted_before", "revenue_cents": "revenue_before_cents"}


@pytest.fixture(scope="module")
def trials():
    """Each seed's rows of ``compare`` for both experiments, beside the true effects."""
    told = []
    for seed in SEEDS:
        shop = world(seed)
        for experiment in ("checkout_button", "aa_check"):
            found = compare(
                shop.users(experiment),
                variant="variant",
                control="control",
                metrics=METRICS,
                covariates=COVARIATES,
                power=None,
            )
            tested = experiment == "checkout_button"
            truth = {"converted": shop.conversion * tested, "revenue_cents": shop.revenue_cents * tested}
            told.append(
                found.with_columns(
                    experiment=pl.lit(experiment),
                    truth=pl.col("metric").replace_strict(truth, return_dtype=pl.Float64),
                )
            )
    return pl.concat(told)


@pytest.mark.slow
@pytest.mark.parametrize("adjusted", ["raw", "CUPED"])
@pytest.mark.parametrize("metric", ["converted", "revenue_cents"])
@pytest.mark.parametrize("experiment", ["checkout_button", "aa_check"])
def test_95_of_100_intervals_hold_the_truth(trials, experiment, metric, adjusted):
    """The share of shops whose 95 % interval holds the true effect is 95 %, within binomial error."""
    rows = trials.filter(experiment=experiment, metric=metric, adjusted=adjusted)
    held = (rows["abs_low"] <= rows["truth"]) & (rows["truth"] <= rows["abs_high"])
    low, high = likely(0.95, rows.height)
    assert low <= share(held) <= high


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["converted", "revenue_cents"])
def test_5_of_100_shops_without_an_effect_raise_an_alarm(trials, metric):
    """At one look, 5 % of A/A tests are significant, within binomial error."""
    rows = trials.filter(experiment="aa_check", metric=metric, adjusted="raw")
    low, high = likely(0.05, rows.height)
    assert low <= share(rows["p_value"] < 0.05) <= high


@pytest.mark.slow
def test_the_correction_keeps_any_false_alarm_at_5_of_100(trials):
    """Among two metrics, one corrected false alarm or more comes in at most 5 % of shops, within binomial error."""
    rows = trials.filter(experiment="aa_check", adjusted="raw")
    any_alarm = rows["p_corrected"].to_numpy().reshape(-1, 2).min(axis=1) < 0.05
    assert share(any_alarm) <= likely(0.05, len(any_alarm))[1]


@pytest.mark.slow
def test_estimates_are_unbiased(trials):
    """On average the estimated effect is the true one, within four standard errors of that average."""
    for metric in ("converted", "revenue_cents"):
        for adjusted in ("raw", "CUPED"):
            rows = trials.filter(experiment="checkout_button", metric=metric, adjusted=adjusted)
            errors = (rows["effect_abs"] - rows["truth"]).to_numpy()
            assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(len(errors)), (metric, adjusted)


def test_cuped_narrows_the_interval_by_the_theoretical_factor():
    """The adjusted standard error is sqrt(1 - r^2) of the raw one, r the correlation with what was known before."""
    users = world(1, carts=16_000, days=24).users("aa_check")
    found = compare(users, variant="variant", control="control", metrics=METRICS, covariates=COVARIATES, power=None)
    for metric, before in COVARIATES.items():
        correlation = users.select(pl.corr(pl.col(metric).cast(float), pl.col(before).cast(float))).item()
        raw, adjusted = found.filter(metric=metric).sort("adjusted", descending=True)["se_abs"]
        assert correlation > 0.15
        assert adjusted / raw == pytest.approx(np.sqrt(1 - correlation**2), rel=0.01)


@pytest.mark.slow
def test_looking_every_day_raises_false_alarms_in_5_of_100_shops_at_most():
    """With daily looks at A/A tests, always-valid p-values are ever below 5 % in no more than 5 % of shops."""
    null = Experiment(key="aa_check", control="control", variants=EVEN, primary="conversion")
    ever, naive = [], []
    for seed in SEEDS if WHOLE else SEEDS[:12]:
        shop = world(seed)
        daily = analyse(null, shop.exposures, shop.acts, as_of=shop.shop.end).daily
        ever.append((daily["always_p"] < 0.05).any())
        naive.append(((daily["abs_low"] > 0) | (daily["abs_high"] < 0)).any())
    assert share(ever) <= 0.05
    if WHOLE:
        assert share(naive) > likely(0.05, len(naive))[1]
