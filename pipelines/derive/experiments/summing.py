"""Counts, means, variances and covariances of one arm, added up in the order of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import polars as pl
from tea_tasting.aggr import Aggregates


def sums(users: pl.DataFrame, groups: Iterable[Sequence[str]]) -> Aggregates:
    """What tea-tasting needs to know of some users; covariances within each group of columns.

    A polars ``group_by`` adds up in the order in which its threads finish, so its last digits differ from run to run.
    With fewer than two users variances and covariances are 0.
    """
    groups = [sorted(set(group)) for group in groups]
    values = {name: users[name].to_numpy().astype(np.float64) for group in groups for name in group}
    from_mean = {name: column - (column.mean() if len(column) else 0.0) for name, column in values.items()}
    degrees = max(users.height - 1, 1)
    return Aggregates(
        count_=users.height,
        mean_={name: float(column.mean()) if len(column) else 0.0 for name, column in values.items()},
        var_={name: float((column * column).sum()) / degrees for name, column in from_mean.items()},
        cov_={
            (left, right): float((from_mean[left] * from_mean[right]).sum()) / degrees
            for group in groups
            for left, right in combinations(group, 2)
        },
    )
