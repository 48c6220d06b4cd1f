"""Who was exposed to which variant first, and who must be left out because they saw two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from pipelines.derive.columns import texts
from pipelines.derive.experiments.acts import NEVER, Acted
from pipelines.derive.experiments.splitting import assign
from pipelines.derive.frames import Frame, collected, moment_column, moment_us
from pipelines.tables import INPUTS
from pipelines.tables.contract import MOMENT

EXPOSURES = INPUTS["exposures"].schema
METADATA_KEY = "experiment."
USERS = pl.Schema({name: EXPOSURES[name] for name in ("user_id", "variant", "exposed_at")})


@dataclass(frozen=True, slots=True)
class Exposed:
    """The users of one experiment.

    ``users`` has one row per user: user_id, variant, exposed_at (the first exposure); ordered by user_id. Left out
    and counted are ``multiple``, users who saw a second planned variant, by the variant they saw first, and
    ``unplanned``, users who saw a variant that is not planned, whatever else they saw.
    """

    users: pl.DataFrame
    multiple: Mapping[str, int]
    unplanned: int

    @property
    def counts(self) -> dict[str, int]:
        """Users per variant that are left in."""
        return dict(self.users.group_by("variant").len().sort("variant").iter_rows())


def first_exposures(
    exposures: Frame,
    experiment: str,
    variants: Mapping[str, float],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Exposed:
    """The first exposure of each user of one experiment, from ``start`` on and before ``end``.

    ``exposures`` has the columns user_id, experiment, variant, exposed_at, in any order, repeated or not; ``variants``
    maps the planned variants to their weights, of which those of weight 0 are not planned. Users without an id are
    skipped. Raises TableError for a missing column.
    """
    shown = moment_column(collected(exposures, EXPOSURES.names()), "exposed_at").filter(
        pl.col("experiment") == experiment, pl.col("user_id").is_not_null()
    )
    if start is not None:
        shown = shown.filter(pl.col("exposed_at") >= start)
    if end is not None:
        shown = shown.filter(pl.col("exposed_at") < end)
    planned = [variant for variant, weight in variants.items() if weight > 0]
    in_order = shown.sort("exposed_at", "variant").with_columns(unplanned=~pl.col("variant").is_in(planned))
    first = in_order.group_by("user_id").agg(
        pl.col("variant", "exposed_at").first(),
        several=pl.col("variant").min() != pl.col("variant").max(),
        unplanned=pl.col("unplanned").any(),
    )
    kept = first.filter(~pl.col("several"), ~pl.col("unplanned"))
    mixed = first.filter("several", ~pl.col("unplanned"))
    return Exposed(
        users=kept.select(USERS.names()).cast(USERS).sort("user_id"),
        multiple=dict(mixed.group_by("variant").len().sort("variant").iter_rows()),
        unplanned=int(first["unplanned"].sum()),
    )


def exposures_from_metadata(events: Frame, experiment: str) -> pl.DataFrame:
    """Exposures that events carry in their metadata, ``experiment.<key>`` = variant; the table exposures.

    Raises TableError for a missing column.
    """
    columns = ["user_id", "timestamp", "metadata"]
    rows = collected(events, columns).filter(pl.col("metadata").is_not_null())
    if rows.schema["metadata"] != pl.Map(pl.String, pl.String):
        rows = rows.with_columns(pl.col("metadata").cast(pl.Map(pl.String, pl.String)))
    told = rows.select(
        "user_id",
        experiment=pl.lit(experiment),
        variant=pl.col("metadata").map.get(METADATA_KEY + experiment),
        exposed_at="timestamp",
    )
    return told.drop_nulls(["user_id", "variant"]).cast(EXPOSURES).sort("exposed_at", "user_id")


def first_acts(acts: Acted, start: datetime) -> pl.DataFrame:
    """The first act of each user from ``start`` on: user_id and at."""
    since = acts.at >= moment_us(start)
    first = np.full(len(acts.users), NEVER)
    np.minimum.at(first, acts.user[since], acts.at[since])
    acted = np.flatnonzero(first < NEVER)
    return pl.DataFrame({"user_id": texts(acts.users).gather(acted), "at": pl.Series(first[acted]).cast(MOMENT)})


def exposures_by_hash(
    acts: pl.DataFrame, experiment: str, variants: Mapping[str, float], start: datetime, salt: str | None = None
) -> pl.DataFrame:
    """Exposures of every user who did anything from ``start`` on: the first act, and the variant by hash.

    For shops whose own code draws the variant by ``assign`` with the same salt (the experiment's key where none is
    given) and shows it from then on. Returns the table exposures, ordered by user_id.
    """
    since = acts.filter(pl.col("at") >= start)
    first = since.group_by("user_id").agg(exposed_at=pl.col("at").min()).sort("user_id")
    variant = pl.Series(assign(first["user_id"], variants, salt or experiment), dtype=pl.String)
    told = first.select("user_id", experiment=pl.lit(experiment), variant=variant, exposed_at="exposed_at")
    return told.cast(EXPOSURES)
