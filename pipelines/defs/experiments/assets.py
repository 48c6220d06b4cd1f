"""Experiments: the split first, as nothing may be concluded from a wrong one; then the effects, whole and by day."""

from datetime import datetime

import polars as pl

from pipelines.defs.deriving import Derived, table, tables
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import experiments
from pipelines.tables import TABLES

GROUP = "experiments"


@table("experiment_srm", group=GROUP, deps=["events"])
def experiment_srm(shop: Shop, _terms: Terms, as_of: datetime) -> pl.DataFrame:
    """The users of every arm of every declared experiment against the planned shares."""
    schema = TABLES["experiment_srm"].schema
    found = [TABLES["experiment_srm"].empty()]
    for experiment, exposures in shop.exposed():
        exposed = experiments.exposed_by(experiment, exposures, as_of)
        arms = experiments.split(exposed.counts, experiment.variants, exposed.multiple)
        found.append(arms.with_columns(experiment=pl.lit(experiment.key)).select(schema.names()))
    return pl.concat(found, how="vertical_relaxed").select(pl.col(name).cast(kind) for name, kind in schema.items())


@tables("experiment_results", "experiment_daily", group=GROUP, deps=["experiment_srm", "abandonment_episodes"])
def experiment_effects(shop: Shop, terms: Terms, as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """The effect of every arm on every metric of every declared experiment, as it stands and as it stood each day."""
    given = [(each, experiments.exposed_by(each, exposures, as_of)) for each, exposures in shop.exposed()]
    parts = shop.each_acts(experiments.Tallier(given, as_of=as_of, time_zone=terms.time_zone)) if given else []
    found = [
        experiments.analysed(*each, experiments.together(done), as_of=as_of, time_zone=terms.time_zone)
        for each, done in zip(given, zip(*parts, strict=True), strict=True)
    ]
    names = ("experiment_results", "experiment_daily")
    results, daily = (TABLES[name].empty() for name in names)
    return {
        names[0]: pl.concat([results, *(each.results for each in found)]),
        names[1]: pl.concat([daily, *(each.daily for each in found)]),
    }
