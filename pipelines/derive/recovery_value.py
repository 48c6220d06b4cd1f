"""How likely an open episode is still to be checked out: rates of past episodes, shrunk where there were few.

An episode that has been open for some hours is compared with the past mature episodes that were then still open, in
its cell of stage, value band and hours. A cell of n episodes of which r were recovered gets

    p = (r + m * p_parent) / (n + m),    m = 40

which is the mean of a beta posterior whose prior is the parent cell with the weight of m episodes (empirical Bayes
shrinkage, Casella 1985). Parents: (stage, hours), then (hours), then all; all of them start from 1 in 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

WEIGHT = 40
HOUR_EDGES = (0.0, 1.0, 4.0, 12.0, 24.0, 48.0, 96.0)
VALUE_BANDS = 4
UNKNOWN = 0.5
S_PER_H = 3_600
LEVELS = ((), ("hours",), ("stage", "hours"), ("stage", "band", "hours"))


@dataclass(frozen=True, slots=True)
class Chances:
    """What past episodes say: the edges of value bands per currency, and p by cell, level by level, coarse first."""

    bands: pl.DataFrame
    levels: tuple[pl.DataFrame, ...]

    def of(self, episodes: pl.DataFrame) -> pl.Series:
        """The chance of each open episode, given its currency, value_cents, stage and open_s (since it opened)."""
        rows = _banded(episodes, self.bands).with_columns(hours=_hours(pl.col("open_s")))
        for depth, level in enumerate(self.levels):
            rows = _joined(rows, level.rename({"p": f"p{depth}"}), LEVELS[depth])
        finest_first = [f"p{depth}" for depth in reversed(range(len(self.levels)))]
        return rows.select(recover_p=pl.coalesce(finest_first)).to_series()


def learn(past: pl.DataFrame) -> Chances:
    """The chances that episodes of the table abandonment_episodes show; those that are not mature teach nothing."""
    mature = past.filter("mature")
    bands = _bands(mature)
    ended = pl.min_horizontal("resumed_at", "recovered_at") - pl.col("abandoned_at")
    seen = _banded(mature, bands).select(
        "stage",
        "band",
        recovered=(pl.col("outcome") == "recovered").cast(pl.Float64),
        ended_s=ended.dt.total_seconds().cast(pl.Float64).fill_null(float("inf")),
    )
    at_risk = pl.concat(
        seen.filter(pl.col("ended_s") > _landmark_s(place)).with_columns(hours=pl.lit(place, pl.Int32))
        for place in range(len(HOUR_EDGES))
    )
    levels = [pl.DataFrame({"p": [UNKNOWN]})]
    for depth, keys in enumerate(LEVELS):
        levels.append(_shrunk(at_risk, keys, levels[-1], LEVELS[max(depth - 1, 0)]))
    return Chances(bands, tuple(levels[1:]))


def _shrunk(at_risk: pl.DataFrame, keys: tuple[str, ...], parent: pl.DataFrame, above: tuple[str, ...]) -> pl.DataFrame:
    count, sum_ = pl.len().alias("n"), pl.col("recovered").sum().alias("r")
    cells = at_risk.group_by(keys).agg(count, sum_) if keys else at_risk.select(count, sum_)
    p = (pl.col("r") + WEIGHT * pl.col("p")) / (pl.col("n") + WEIGHT)
    return _joined(cells, parent, above).select(*keys, p=p)


def _joined(rows: pl.DataFrame, level: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    if not keys:
        return rows.join(level, how="cross", maintain_order="left")
    return rows.join(level, on=keys, how="left", maintain_order="left")


def _landmark_s(place: int) -> float:
    """The moment by which the episodes of a class of hours are compared: its middle; of the last, a day into it."""
    edges = (*HOUR_EDGES, HOUR_EDGES[-1] + 48)
    return (edges[place] + edges[place + 1]) / 2 * S_PER_H


def _hours(open_s: pl.Expr) -> pl.Expr:
    return pl.sum_horizontal((open_s >= edge * S_PER_H).cast(pl.Int32) for edge in HOUR_EDGES[1:])


def _bands(mature: pl.DataFrame) -> pl.DataFrame:
    """The lower edges of the upper value bands of each currency: its quartiles."""
    quartiles = [pl.col("value_cents").quantile(k / VALUE_BANDS).alias(f"edge_{k}") for k in range(1, VALUE_BANDS)]
    return mature.drop_nulls("value_cents").group_by("currency").agg(quartiles)


def _banded(episodes: pl.DataFrame, bands: pl.DataFrame) -> pl.DataFrame:
    above = [(pl.col("value_cents") >= pl.col(f"edge_{k}")).cast(pl.Int32) for k in range(1, VALUE_BANDS)]
    return episodes.join(bands, on="currency", how="left", maintain_order="left").with_columns(
        band=pl.when(pl.col("edge_1").is_null()).then(-1).otherwise(pl.sum_horizontal(above))
    )
