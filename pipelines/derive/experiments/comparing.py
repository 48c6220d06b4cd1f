"""Compare the arms of an experiment: effects with intervals, p-values, and what looking often does to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from tea_tasting.aggr import Aggregates

from pipelines.derive.experiments.correcting import corrected
from pipelines.derive.experiments.estimating import Estimate, estimated, value_column
from pipelines.derive.experiments.metrics import Mean, Metric, Proportion, Ratio
from pipelines.derive.experiments.sequential import TUNING, always_valid
from pipelines.derive.experiments.summing import Array, sums
from pipelines.derive.frames import Frame, collected
from pipelines.tables import TableError

RAW, CUPED = "raw", "CUPED"
Covariates = Mapping[str, str | Sequence[str]]
Arms = Mapping[Any, Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class Sample:
    """The arms of one experiment as sums, and the columns that a metric is computed from."""

    arms: Mapping[Any, Aggregates]
    control: Any

    @property
    def treatments(self) -> list[Any]:
        """The arms other than control, ordered by their text."""
        return sorted((arm for arm in self.arms if arm != self.control), key=str)


def compare(  # noqa: PLR0913 - callers name each
    users: Frame,
    *,
    variant: str,
    control: Any,
    metrics: Sequence[Metric],
    covariates: Covariates | None = None,
    alpha: float = 0.05,
    correction: Literal["holm", "none"] = "holm",
    tuning: float = TUNING,
    power: float | None = 0.8,
) -> pl.DataFrame:
    """Every treatment arm against control on every metric.

    ``users`` has one row per unit; ``variant`` names the column of its arm and ``control`` is the control's value.
    ``covariates`` maps a metric's name to a column known before the exposure (for a ratio also the names of its two
    columns to one each): such a metric has a second row, adjusted by it (CUPED; Deng et al., WSDM 2013).
    Rows stand in the order of metrics, then arms, raw before CUPED. Columns: metric, arm, adjusted (raw or CUPED),
    control_value, treatment_value, effect_abs (treatment less control), abs_low, abs_high, effect_rel (treatment over
    control less 1), rel_low, rel_high, p_value (two-sided, of the absolute difference), p_corrected (Holm over metrics
    and arms; a metric counts once, so raw and CUPED rows are corrected each among their kind), control_users,
    treatment_users, se_abs, always_low, always_high, always_p (valid at every look, see ``always_valid``),
    detectable_abs, detectable_rel (effect found with probability ``power`` in a sample of this size; null where power
    is None), capped_at.
    What is undefined is null: everything but sizes without variance or with fewer than two users in an arm, relative
    figures where a mean is not above 0.
    Means: Welch's t test. Proportions: normal test with unpooled variance, so that test and interval agree.
    Ratios: delta method (Deng et al., KDD 2018). Relative intervals: on the log scale.
    Without users there are no rows. Raises TableError for a missing column, ValueError for a control that no user has,
    a missing value, a proportion that is not 0 or 1, or two metrics of one name.
    """
    _check(metrics, alpha, correction)
    paired = {metric.name: _covariate(metric, covariates or {}) for metric in metrics}
    frame = _numbers(users, variant, metrics, paired)
    arms = _arms(frame, variant)
    if arms and control not in arms:
        raise ValueError(f"control is {control!r}, but the arms in column {variant} are {sorted(map(str, arms))}")
    rows = _rows(arms, control, metrics, paired, Terms(alpha, tuning, power))
    schema: dict[str, Any] = {"metric": pl.String, "arm": frame.schema[variant], "adjusted": pl.String, **_FIGURES}
    return corrected(pl.DataFrame(rows, schema=schema, orient="row"), correction)


def compare_arms(
    arms: Arms, *, control: str, metrics: Sequence[Metric], alpha: float = 0.05, tuning: float = TUNING
) -> pl.DataFrame:
    """The raw rows of ``compare``, from one array of numbers per arm and column, which are taken to be sound.

    Without power: detectable_abs and detectable_rel are null.
    """
    paired: dict[str, tuple[str, ...]] = {metric.name: () for metric in metrics}
    rows = _rows(arms, control, metrics, paired, Terms(alpha, tuning, None))
    schema: dict[str, Any] = {"metric": pl.String, "arm": pl.String, "adjusted": pl.String, **_FIGURES}
    return corrected(pl.DataFrame(rows, schema=schema, orient="row"), "holm")


def _rows(
    arms: Arms, control: Any, metrics: Sequence[Metric], paired: Mapping[str, tuple[str, ...]], terms: Terms
) -> list[dict[str, Any]]:
    whole, caps = _capped(arms, metrics)
    groups = [(*_value_columns(metric), *paired[metric.name]) for metric in metrics]
    sample = Sample({arm: sums(values, groups) for arm, values in whole.items()}, control)
    return [
        _row(metric, arm, sample, columns, terms) | {"capped_at": caps.get(metric.name)}
        for metric in metrics
        for arm in sample.treatments
        for columns in ([(), paired[metric.name]] if paired[metric.name] else [()])
    ]


_FIGURES = {
    **dict.fromkeys(("control_value", "treatment_value", "effect_abs", "abs_low", "abs_high"), pl.Float64),
    **dict.fromkeys(("effect_rel", "rel_low", "rel_high", "p_value", "p_corrected"), pl.Float64),
    **dict.fromkeys(("control_users", "treatment_users"), pl.Int64),
    **dict.fromkeys(("se_abs", "always_low", "always_high", "always_p"), pl.Float64),
    **dict.fromkeys(("detectable_abs", "detectable_rel", "capped_at"), pl.Float64),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """How sure one wants to be: of no false alarm, of finding an effect, and when to look hardest."""

    alpha: float
    tuning: float
    power: float | None


def _row(metric: Metric, arm: Any, sample: Sample, covariates: tuple[str, ...], terms: Terms) -> dict[str, Any]:
    control, treatment = sample.arms[sample.control], sample.arms[arm]
    found = estimated(metric, covariates, control, treatment, terms.alpha, terms.power)
    users = control.count() + treatment.count()
    effect, error = (math.nan if each is None else each for each in (found.effect_abs, found.se_abs))
    low, high, p_value = always_valid(effect, error, users, terms.alpha, terms.tuning)
    told = found.se_abs is not None
    return {
        "metric": metric.name,
        "arm": arm,
        "adjusted": CUPED if covariates else RAW,
        **_figures(found),
        "control_users": control.count(),
        "treatment_users": treatment.count(),
        "always_low": low if told else None,
        "always_high": high if told else None,
        "always_p": p_value if told else None,
    }


def _figures(found: Estimate) -> dict[str, float | None]:
    return {name: getattr(found, name) for name in Estimate.__dataclass_fields__}


def _check(metrics: Sequence[Metric], alpha: float, correction: str) -> None:
    names = [metric.name for metric in metrics]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"two metrics are called {repeated[0]!r}: give one another name")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, but must be between 0 and 1")
    if correction not in ("holm", "none"):
        raise ValueError(f"correction is {correction!r}, but must be 'holm' or 'none'")


def _covariate(metric: Metric, covariates: Covariates) -> tuple[str, ...]:
    """The covariate columns of a metric: one, for a ratio two, or none."""
    told = covariates.get(metric.name)
    if told is None and isinstance(metric, Ratio):
        both = [covariates.get(column) for column in metric.columns]
        told = None if None in both else [str(column) for column in both]
    if told is None and not isinstance(metric, Ratio):
        told = covariates.get(metric.column)
    if told is None:
        return ()
    return (told,) if isinstance(told, str) else tuple(told)


def _numbers(
    users: Frame, variant: str, metrics: Sequence[Metric], paired: Mapping[str, tuple[str, ...]]
) -> pl.DataFrame:
    """The needed columns as floats, checked."""
    needed = list(dict.fromkeys(column for metric in metrics for column in (*metric.columns, *paired[metric.name])))
    frame = collected(users, list(dict.fromkeys((variant, *needed))))
    for column in needed:
        if not (frame.schema[column].is_numeric() or frame.schema[column] == pl.Boolean):
            raise TableError(f"column {column} is {frame.schema[column]}, but must hold numbers")
    frame = frame.with_columns(pl.col(needed).cast(pl.Float64)) if needed else frame
    for column in (variant, *needed):
        missing = frame[column].null_count() + _unusable(frame[column])
        if missing:
            raise ValueError(
                f"column {column} is missing or no finite number in {missing} of {frame.height} rows: "
                "a user who did nothing has 0, and one without an arm does not belong in"
            )
    _check_proportions(frame, metrics)
    return frame


def _unusable(values: pl.Series) -> int:
    return int((~values.drop_nulls().is_finite()).sum()) if values.dtype == pl.Float64 else 0


def _check_proportions(frame: pl.DataFrame, metrics: Iterable[Metric]) -> None:
    for metric in metrics:
        if isinstance(metric, Proportion):
            wrong = frame.filter(~pl.col(metric.column).is_in([0.0, 1.0]))
            if wrong.height:
                raise ValueError(f"column {metric.column} is {wrong[metric.column][0]}, but a proportion's is 0 or 1")


def _arms(frame: pl.DataFrame, variant: str) -> Arms:
    """The numbers of each arm, an array per column."""
    parts = frame.partition_by(variant, as_dict=True, include_key=False)
    return {arm: {name: part[name].to_numpy() for name in part.columns} for (arm,), part in parts.items()}


def _capped(arms: Arms, metrics: Iterable[Metric]) -> tuple[Arms, dict[str, float]]:
    """The arms with the columns to be capped beside those they come from, and where each was capped."""
    caps: dict[str, float] = {}
    told = {arm: dict(values) for arm, values in arms.items()}
    for metric in metrics:
        if isinstance(metric, Mean) and metric.cap_quantile is not None:
            positive = [values[metric.column][values[metric.column] > 0] for values in arms.values()]
            sizes = sum(map(len, positive))
            if sizes:
                whole = np.concatenate(positive)
                caps[metric.name] = float(np.quantile(whole, metric.cap_quantile, method="higher"))
            for values in told.values():
                values[value_column(metric)] = np.minimum(values[metric.column], caps.get(metric.name, np.inf))
    return told, caps


def _value_columns(metric: Metric) -> tuple[str, ...]:
    return metric.columns if isinstance(metric, Ratio) else (value_column(metric),)
