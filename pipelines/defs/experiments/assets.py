"""Experiments: the split first, as nothing may be concluded from a wrong one; then the effects, whole and by day."""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from cart_core import rules
from pipelines.defs.deriving import Derived, table, tables
from pipelines.defs.shop import Shop, Terms
from pipelines.derive import experiments
from pipelines.derive.experiments import Experiment
from pipelines.tables import TABLES

GROUP = "experiments"
ACT_COLUMNS = ("cart_id", "user_id", "timestamp", "type", "total_cents")
EXPOSURE_COLUMNS = ("user_id", "timestamp", "metadata")


@table("experiment_srm", group=GROUP, deps=["events"])
def experiment_srm(shop: Shop, _terms: Terms, as_of: datetime) -> pl.DataFrame:
    """The users of every arm of every declared experiment against the planned shares."""
    schema = TABLES["experiment_srm"].schema
    found = [TABLES["experiment_srm"].empty()]
    for experiment, exposures in _exposed(shop):
        end = min(each for each in (experiment.end, as_of) if each is not None)
        exposed = experiments.first_exposures(
            exposures, experiment.key, experiment.variants, start=experiment.start, end=end
        )
        arms = experiments.split(exposed.counts, experiment.variants, exposed.multiple)
        found.append(arms.with_columns(experiment=pl.lit(experiment.key)).select(schema.names()))
    return pl.concat(found, how="vertical_relaxed").select(pl.col(name).cast(kind) for name, kind in schema.items())


@tables("experiment_results", "experiment_daily", group=GROUP, deps=["experiment_srm", "abandonment_episodes"])
def experiment_effects(shop: Shop, terms: Terms, as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
    """The effect of every arm on every metric of every declared experiment, as it stands and as it stood each day."""
    done = acts(shop)
    found = [
        experiments.analyse(experiment, exposures, done, as_of=as_of, time_zone=terms.time_zone)
        for experiment, exposures in _exposed(shop)
    ]
    names = ("experiment_results", "experiment_daily")
    results, daily = (TABLES[name].empty() for name in names)
    return {
        names[0]: pl.concat([results, *(each.results for each in found)]),
        names[1]: pl.concat([daily, *(each.daily for each in found)]),
    }


def acts(shop: Shop) -> pl.DataFrame:
    """What users did that experiments measure, from events, views and episodes."""
    episodes = shop.table("abandonment_episodes").select("cart_id", "abandoned_at")
    with shop.events() as store:
        found = [experiments.acts(events, episodes=episodes) for events in store.batches(ACT_COLUMNS)]
        none = store.scan(until=0, columns=ACT_COLUMNS)
        found.append(experiments.acts(none, views=shop.views().select("user_id", "at")))
    return pl.concat(found)


def _exposed(shop: Shop) -> Iterator[tuple[Experiment, pl.DataFrame]]:
    """Each declared experiment with its exposures, wherever they come from."""
    for experiment in experiments.declared(shop.experiments()):
        if experiment.exposures == "metadata":
            with shop.events() as store:
                rows = store.scan(columns=EXPOSURE_COLUMNS)
                yield experiment, experiments.exposures_from_metadata(rows, experiment.key)
        elif experiment.exposures == "hash":
            start = experiment.start or rules.EPOCH
            drawn = experiments.exposures_by_hash(
                acts(shop), experiment.key, experiment.variants, start, experiment.salt or None
            )
            yield experiment, drawn
        else:
            yield experiment, shop.given("exposures")
