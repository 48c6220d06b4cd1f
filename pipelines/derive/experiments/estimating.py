"""One metric in two arms: the difference, how sure it is, and what a sample of this size could have found."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tea_tasting as tt
from scipy import special
from tea_tasting.aggr import Aggregates

from pipelines.derive.experiments.metrics import Mean, Metric, Proportion, Ratio

LEAST_USERS = 2
TWO_SIDED = "two-sided"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The figures of one row of ``compare``; None where undefined."""

    control_value: float | None = None
    treatment_value: float | None = None
    effect_abs: float | None = None
    abs_low: float | None = None
    abs_high: float | None = None
    effect_rel: float | None = None
    rel_low: float | None = None
    rel_high: float | None = None
    p_value: float | None = None
    se_abs: float | None = None
    detectable_abs: float | None = None
    detectable_rel: float | None = None


class RatioOfMeans(tt.RatioOfMeans):  # type: ignore[misc]  # tea-tasting is read without types
    """tea-tasting's, but a variance that is 0 stays so where rounding took it below."""

    def _metric_var(self, aggr: Aggregates, covariate_coef: float) -> float:
        variance: float = super()._metric_var(aggr, covariate_coef)
        return variance * (not variance < 0)


def estimated(
    metric: Metric,
    covariates: Sequence[str],
    control: Aggregates,
    treatment: Aggregates,
    alpha: float,
    power: float | None,
) -> Estimate:
    """The estimate of one metric, adjusted where there are covariates. The statistics are tea-tasting's."""
    if min(control.count(), treatment.count()) < LEAST_USERS:
        return _values_only(metric, control, treatment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        normal = _mean_of(metric, covariates, 1 - alpha, use_t=False)
        found = _analysed(_test_of(metric, covariates, alpha), control, treatment)
        found = found or _analysed(normal, control, treatment)
        se_abs = _standard_error(found, alpha) or _standard_error_of(normal, control, treatment, alpha)
        if not se_abs:
            return _values_only(metric, control, treatment)
        detectable = None if power is None else _detectable(normal, control, treatment, alpha, power)
    return _told(found, se_abs, detectable)


def _standard_error(found: Any, alpha: float) -> float | None:
    """The standard error behind a test's statistic, or else behind its interval; None where none above 0 is told."""
    statistic = getattr(found, "statistic", None)
    if statistic is None:
        return _half_width(found, alpha)
    return _positive(found.effect_size / statistic) if statistic else None


def _standard_error_of(normal: Any, control: Aggregates, treatment: Aggregates, alpha: float) -> float | None:
    """The standard error that a normal interval is made with; None where there is none above 0."""
    found = _analysed(normal, control, treatment)
    return None if found is None else _half_width(found, alpha)


def _half_width(found: Any, alpha: float) -> float | None:
    half = (found.effect_size_ci_upper - found.effect_size_ci_lower) / 2
    return _positive(half / float(special.ndtri(1 - alpha / 2)))


def _positive(value: float) -> float | None:
    return float(value) if math.isfinite(value) and value > 0 else None


def _told(found: Any, se_abs: float, detectable: float | None) -> Estimate:
    relative = found.control > 0 and found.treatment > 0
    return Estimate(
        control_value=_finite(found.control),
        treatment_value=_finite(found.treatment),
        effect_abs=_finite(found.effect_size),
        abs_low=_finite(found.effect_size_ci_lower),
        abs_high=_finite(found.effect_size_ci_upper),
        effect_rel=_finite(found.rel_effect_size) if found.control > 0 else None,
        rel_low=_finite(found.rel_effect_size_ci_lower) if relative else None,
        rel_high=_finite(found.rel_effect_size_ci_upper) if relative else None,
        p_value=_finite(found.pvalue),
        se_abs=se_abs,
        detectable_abs=detectable,
        detectable_rel=None if detectable is None or found.control <= 0 else float(detectable / found.control),
    )


def _values_only(metric: Metric, control: Aggregates, treatment: Aggregates) -> Estimate:
    before, after = _value(metric, control), _value(metric, treatment)
    if before is None or after is None:
        return Estimate(before, after)
    return Estimate(before, after, after - before, effect_rel=after / before - 1 if before > 0 else None)


def _value(metric: Metric, sums: Aggregates) -> float | None:
    if not sums.count():
        return None
    if isinstance(metric, Ratio):
        below = sums.mean(metric.denom)
        return _finite(sums.mean(metric.numer) / below) if below else None
    return _finite(sums.mean(value_column(metric)))


def _mean_of(metric: Metric, covariates: Sequence[str], level: float, **options: Any) -> Any:
    """The metric as tea-tasting's ratio of means, which a mean and a proportion are with a denominator of 1."""
    told = {"alternative": TWO_SIDED, "confidence_level": level, "equal_var": False, **options}
    if isinstance(metric, Ratio):
        return RatioOfMeans(metric.numer, metric.denom, *covariates, **told)
    return RatioOfMeans(value_column(metric), None, *covariates, **told)


def _test_of(metric: Metric, covariates: Sequence[str], alpha: float) -> Any:
    if isinstance(metric, Proportion) and not covariates:
        return tt.Proportion(
            metric.column,
            method="norm",
            alternative=TWO_SIDED,
            confidence_level=1 - alpha,
            correction=False,
            equal_var=False,
        )
    return _mean_of(metric, covariates, 1 - alpha, use_t=True)


def _analysed(analysis: Any, control: Aggregates, treatment: Aggregates) -> Any:
    """The analysis, or None where floats have none: a mean too near to 0."""
    try:
        return analysis.analyze_aggregates(control, treatment)
    except (OverflowError, ZeroDivisionError):
        return None


def _detectable(normal: Any, control: Aggregates, treatment: Aggregates, alpha: float, power: float) -> float | None:
    """The effect that a two-sided normal test of these sizes finds with probability ``power``.

    Both arms are taken to vary as all users together do. A normal test of all users against themselves tells how much
    that is; the other tail's share of the power, below a millionth at 80 %, is left out.
    """
    users = control + treatment
    error = _standard_error_of(normal, users, users, alpha)
    if error is None:
        return None
    variance = error * error * users.count() / 2
    scale = math.sqrt(variance / control.count() + variance / treatment.count())
    return _finite((special.ndtri(1 - alpha / 2) + special.ndtri(power)) * scale)


def value_column(metric: Mean | Proportion) -> str:
    """The column that holds the metric's values once they are capped."""
    if isinstance(metric, Mean) and metric.cap_quantile is not None:
        return f"{metric.column} capped at {metric.cap_quantile}"
    return metric.column


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
