"""Counts, means, variances and covariances of one arm, added up in the order of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from tea_tasting.aggr import Aggregates

Array = np.ndarray[Any, np.dtype[Any]]


def sums(values: Mapping[str, Array], groups: Iterable[Sequence[str]]) -> Aggregates:
    """What tea-tasting needs to know of some users' values, floats; covariances within each group of columns.

    A polars ``group_by`` adds up in the order in which its threads finish, so its last digits differ from run to run.
    With fewer than two users variances and covariances are 0.
    """
    groups = [sorted(set(group)) for group in groups]
    means = {name: float(values[name].mean()) if len(values[name]) else 0.0 for group in groups for name in group}
    from_mean = {name: values[name] - mean for name, mean in means.items()}
    users = len(next(iter(values.values()))) if values else 0
    degrees = max(users - 1, 1)
    return Aggregates(
        count_=users,
        mean_=means,
        var_={name: float((column * column).sum()) / degrees for name, column in from_mean.items()},
        cov_={
            (left, right): float((from_mean[left] * from_mean[right]).sum()) / degrees
            for group in groups
            for left, right in combinations(group, 2)
        },
    )
