"""One declared experiment from exposures and acts to results, day by day and with a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.derive.columns import places_of
from pipelines.derive.experiments.acts import Acted
from pipelines.derive.experiments.comparing import Covariates, compare, compare_arms
from pipelines.derive.experiments.correcting import corrected
from pipelines.derive.experiments.declared import Experiment
from pipelines.derive.experiments.exposing import USERS, Exposed, first_exposures
from pipelines.derive.experiments.metrics import COVARIATES, Metric
from pipelines.derive.experiments.splitting import split
from pipelines.derive.experiments.tallying import Watched, arms_by_moment, metrics_of, together
from pipelines.derive.experiments.verdicts import Circumstances, verdict
from pipelines.derive.frames import Frame, collected
from pipelines.tables import TABLES

RESULTS = TABLES["experiment_results"].schema
DAILY = TABLES["experiment_daily"].schema
SRM = TABLES["experiment_srm"].schema
ALL = "all"


@dataclass(frozen=True, slots=True)
class Analysis:
    """An experiment as of one moment: the tables experiment_results, experiment_daily and experiment_srm.

    ``users`` is the frame behind them, one row per user with what they did (see ``unit_metrics``).
    """

    users: pl.DataFrame
    results: pl.DataFrame
    daily: pl.DataFrame
    srm: pl.DataFrame


def analyse(
    experiment: Experiment,
    exposures: Frame,
    acts: pl.DataFrame,
    *,
    as_of: datetime,
    time_zone: str = "UTC",
    segments: Frame | None = None,
) -> Analysis:
    """Everything about one experiment as of a moment.

    ``exposures`` is a frame of the table exposures, ``acts`` that of ``acts``. ``segments`` has user_id and one column
    per property to split by (known before the exposure); every property is corrected as a family of its own. Results
    stand by segment, then role, metric, arm; days in ``time_zone``. While no user of control
    is exposed all tables are empty but srm.
    Raises as ``first_exposures`` and ``compare``.
    """
    exposed = exposed_by(experiment, exposures, as_of)
    done = together(Tallier([(experiment, exposed)], as_of=as_of, time_zone=time_zone)(Acted.of(acts)))
    return analysed(experiment, exposed, done, as_of=as_of, time_zone=time_zone, segments=segments)


def exposed_by(experiment: Experiment, exposures: Frame, as_of: datetime) -> Exposed:
    """Who was exposed to an experiment by a moment. Raises as ``first_exposures``."""
    after = as_of + timedelta(microseconds=1)
    end = after if experiment.end is None else min(experiment.end, after)
    return first_exposures(exposures, experiment.key, experiment.variants, start=experiment.start, end=end)


class Tallier:
    """What ``analysed`` needs of any part of the acts, for some experiments: ``tallies`` by day, the last by ``as_of``.

    A part's users are looked up by their ids once, however many experiments there are, and then go by numbers.
    """

    def __init__(self, given: Sequence[tuple[Experiment, Exposed]], *, as_of: datetime, time_zone: str = "UTC") -> None:
        exposed = pl.concat([USERS.to_frame(), *(each.users for _, each in given)])
        self._users = exposed["user_id"].unique()
        self._watched = [
            Watched.over(
                each.users,
                places_of(each.users["user_id"].to_arrow(), self._users),
                len(self._users),
                _moments(each.users, as_of, time_zone),
                experiment.window,
            )
            for experiment, each in given
        ]

    def __call__(self, acts: Acted) -> list[pl.DataFrame]:
        """The tallies of a part of the acts, for each experiment."""
        user = places_of(acts.users, self._users)[acts.user]
        return [watched.tallies(user, acts) for watched in self._watched]


def analysed(
    experiment: Experiment,
    exposed: Exposed,
    done: pl.DataFrame,
    *,
    as_of: datetime,
    time_zone: str = "UTC",
    segments: Frame | None = None,
) -> Analysis:
    """``analyse`` from what a ``Tallier`` counted, brought ``together``."""
    users = metrics_of(done, exposed.users, window=experiment.window, as_of=as_of)
    arms = split(exposed.counts, experiment.variants, exposed.multiple)
    compared = users if experiment.control in users["variant"].to_list() else users.clear()
    told = [_compared(experiment, compared).with_columns(segment=pl.lit(ALL))]
    told += _by_property(experiment, users, segments)
    return Analysis(
        users=users,
        results=_results(experiment, users, pl.concat(told), arms),
        daily=_daily(experiment, exposed.users, done, as_of, time_zone),
        srm=arms.select(experiment=pl.lit(experiment.key), **{name: pl.col(name) for name in arms.columns}).cast(SRM),
    )


def compare_segments(
    users: Frame,
    segment: str,
    *,
    variant: str,
    control: Any,
    metrics: Sequence[Metric],
    covariates: Covariates | None = None,
    alpha: float = 0.05,
    tuning: float = 5000,
) -> pl.DataFrame:
    """``compare`` within each value of a column, corrected over all of them together.

    As ``compare``, with a first column segment, ``column=value``, in order of the values; null is ``(none)``. Segments
    without users in control are left out. A segment's effect is no proof that segments differ from each other.
    """
    frame = users.collect() if isinstance(users, pl.LazyFrame) else users
    parts = []
    for value in frame[segment].unique().sort(nulls_last=True).to_list():
        inside = frame.filter(pl.col(segment).eq_missing(pl.lit(value, frame.schema[segment])))
        if control in inside[variant].to_list():
            found = compare(
                inside, variant=variant, control=control, metrics=metrics, covariates=covariates, alpha=alpha,
                correction="none", tuning=tuning,
            )  # fmt: skip
            name = "(none)" if value is None else value
            parts.append(found.select(pl.lit(f"{segment}={name}").alias("segment"), pl.all()))
    return corrected(pl.concat(parts), "holm") if parts else pl.DataFrame()


def _compared(experiment: Experiment, users: pl.DataFrame) -> pl.DataFrame:
    return compare(
        users,
        variant="variant",
        control=experiment.control,
        metrics=experiment.metrics,
        covariates=COVARIATES,
        alpha=experiment.alpha,
        tuning=experiment.tuning,
    )


def _by_property(experiment: Experiment, users: pl.DataFrame, segments: Frame | None) -> list[pl.DataFrame]:
    if segments is None:
        return []
    names = [name for name in segments.collect_schema().names() if name != "user_id"]
    known = users.join(collected(segments, ["user_id", *names]), on="user_id", how="left")
    parts = [
        compare_segments(
            known,
            name,
            variant="variant",
            control=experiment.control,
            metrics=experiment.metrics,
            covariates=COVARIATES,
            alpha=experiment.alpha,
            tuning=experiment.tuning,
        )
        for name in names
    ]
    return [part.select(*part.columns[1:], "segment") for part in parts if part.height]


def _results(experiment: Experiment, users: pl.DataFrame, told: pl.DataFrame, arms: pl.DataFrame) -> pl.DataFrame:
    roles = experiment.roles
    mature = bool(users["mature"].all())
    alarm_p = arms["p_value"][0] if arms["alarm"].any() else None
    guardrails = {guardrail.metric: guardrail for guardrail in experiment.guardrails}
    around = {
        metric.name: Circumstances(mature, alarm_p, experiment.alpha, guardrails.get(metric.name), metric.unit)
        for metric in experiment.metrics
    }
    words = [verdict(row, around[row["metric"]]) for row in told.iter_rows(named=True)]
    return told.with_columns(
        experiment=pl.lit(experiment.key),
        role=pl.col("metric").replace_strict(roles, return_dtype=pl.String),
        verdict=pl.Series(words, dtype=pl.String),
        mature=pl.lit(mature),
    ).select(RESULTS.names()).cast(RESULTS)  # fmt: skip


def _daily(
    experiment: Experiment, users: pl.DataFrame, done: pl.DataFrame, as_of: datetime, time_zone: str
) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=DAILY)]
    days = dict(_days(users, as_of, time_zone))
    columns = dict.fromkeys(column for metric in experiment.metrics for column in metric.columns)
    for day, arms in zip(days, arms_by_moment(done, users, list(days.values()), columns), strict=True):
        if experiment.control in arms:
            found = compare_arms(
                arms,
                control=experiment.control,
                metrics=experiment.metrics,
                alpha=experiment.alpha,
                tuning=experiment.tuning,
            )
            told = found.with_columns(experiment=pl.lit(experiment.key), date=pl.lit(day))
            parts.append(told.select(DAILY.names()).cast(DAILY))
    return pl.concat(parts)


def _moments(users: pl.DataFrame, as_of: datetime, time_zone: str) -> list[datetime]:
    """The ends of all days, and ``as_of`` where it is none."""
    ends = [moment for _, moment in _days(users, as_of, time_zone)]
    return ends if ends and ends[-1] >= as_of else [*ends, as_of]


def _days(users: pl.DataFrame, as_of: datetime, time_zone: str) -> Iterator[tuple[Any, datetime]]:
    """Each day since the first exposure with its last microsecond, the last day cut at ``as_of``."""
    if users.is_empty():
        return
    zone = ZoneInfo(time_zone)
    first: datetime = users["exposed_at"].min()  # type: ignore[assignment]
    day = first.astimezone(zone).date()
    while datetime.combine(day, time(), zone) < as_of:
        midnight = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
        yield day, min(midnight - timedelta(microseconds=1), as_of)
        day += timedelta(days=1)
