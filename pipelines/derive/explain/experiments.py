"""Experiments, taken apart into the users of their arms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.derive.experiments import Experiment, first_exposures
from pipelines.derive.explain.evidence import Evidence, Row, parts, together
from pipelines.tables.contract import ids_as_text


def result(row: Row, evidence: Evidence) -> pl.DataFrame:
    """An effect rests on the users of its arm and of control, each standing on its first event since the exposure."""
    return _arms(row, evidence, evidence.as_of)


def day(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A day's effect rests on the users exposed by the end of that day."""
    zone = ZoneInfo(evidence.time_zone)
    midnight = datetime.combine(row["date"] + timedelta(days=1), datetime.min.time(), zone)
    return _arms(row, evidence, min(midnight.astimezone(UTC) - timedelta(microseconds=1), evidence.as_of))


def split(row: Row, evidence: Evidence) -> pl.DataFrame:
    """An arm's users, and those left out because they saw a second arm."""
    experiment, exposures = evidence.experiment(row["experiment"])
    exposed = first_exposures(
        exposures, experiment.key, experiment.variants, start=experiment.start, end=_end(experiment, evidence.as_of)
    )
    mine = exposed.users.filter(pl.col("variant") == row["arm"])
    left_out = _left_out(experiment, exposures, evidence.as_of, row["arm"])
    zero = pl.lit(0)
    return together(
        parts(_first_events(mine, evidence), "user", observed=pl.lit(1), multiple_users=zero),
        parts(left_out.with_columns(at=pl.col("exposed_at")), "left out", observed=zero, multiple_users=pl.lit(1)),
    )


def _arms(row: Row, evidence: Evidence, until: datetime) -> pl.DataFrame:
    experiment, exposures = evidence.experiment(row["experiment"])
    exposed = first_exposures(
        exposures, experiment.key, experiment.variants, start=experiment.start, end=_end(experiment, evidence.as_of)
    )
    arms = pl.col("variant").is_in([experiment.control, row["arm"]])
    users = exposed.users.filter(arms, pl.col("exposed_at") <= until)
    counts = {
        "control_users": (pl.col("variant") == experiment.control).cast(pl.Int64),
        "treatment_users": (pl.col("variant") == row["arm"]).cast(pl.Int64),
    }
    return parts(_first_events(users, evidence), "user", **counts)


def _first_events(users: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Each user with the first event from the exposure on, if there is any."""
    events = evidence.all_events().select("cart_id", "user_id", "version", "timestamp")
    after = events.join(users.lazy(), on="user_id").filter(pl.col("timestamp") >= pl.col("exposed_at")).collect()
    acted = ids_as_text(after).sort("timestamp", "cart_id", "version")
    first = acted.group_by("user_id").agg(pl.col("cart_id", "version").first())
    return users.join(first, on="user_id", how="left").with_columns(at=pl.col("exposed_at"))


def _left_out(experiment: Experiment, exposures: pl.DataFrame, as_of: datetime, arm: str) -> pl.DataFrame:
    planned = [variant for variant, weight in experiment.variants.items() if weight > 0]
    shown = exposures.filter(
        pl.col("experiment") == experiment.key,
        pl.col("exposed_at") < _end(experiment, as_of),
        pl.lit(value=True) if experiment.start is None else pl.col("exposed_at") >= experiment.start,
    ).drop_nulls("user_id")
    first = shown.group_by("user_id").agg(
        pl.col("exposed_at").min(),
        variant=pl.col("variant").sort_by("exposed_at", "variant").first(),
        seen=pl.col("variant").n_unique(),
        planned=pl.col("variant").is_in(planned).all(),
    )
    return first.filter(pl.col("seen") > 1, pl.col("planned"), pl.col("variant") == arm)


def _end(experiment: Experiment, as_of: datetime) -> datetime:
    after = as_of + timedelta(microseconds=1)
    return after if experiment.end is None else min(experiment.end, after)


TRACERS = {"experiment_results": result, "experiment_daily": day, "experiment_srm": split}
