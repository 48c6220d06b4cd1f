"""Who gets which variant, and whether the arms came out as planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

import numpy as np
import polars as pl
from scipy import stats

ALARM_BELOW = 0.001
HASH_BYTES = 8


def srm(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """The p-value that arms of these sizes came from a split by these weights (sample ratio mismatch).

    Arms without a weight, or with weight 0, are not planned and do not count; arms missing from ``counts`` are
    ignored, while an explicit 0 counts. NaN where fewer than two arms or no users are left. Pearson's chi-square over
    k arms (scipy.stats.chisquare); below 0.001 is cause for alarm (Fabijan et al., KDD 2019).
    Raises ValueError for negative counts or weights.
    """
    if any(value < 0 for value in (*counts.values(), *weights.values())):
        raise ValueError(f"counts {dict(counts)} and weights {dict(weights)} must not be negative")
    arms = [arm for arm in counts if weights.get(arm, 0) > 0]
    observed = np.array([counts[arm] for arm in arms], dtype=np.float64)
    shares = np.array([weights[arm] for arm in arms], dtype=np.float64)
    if len(arms) <= 1 or observed.sum() == 0:
        return float("nan")
    return float(stats.chisquare(observed, observed.sum() * shares / shares.sum()).pvalue)


def split(
    counts: Mapping[str, int], weights: Mapping[str, float], multiple: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """Every planned arm against its share: arm, weight, expected, observed, multiple_users, p_value, alarm.

    ``multiple`` counts the users of an arm who were left out because they saw another arm too.
    """
    planned = {arm: weight / sum(weights.values()) for arm, weight in weights.items() if weight > 0}
    seen = {arm: counts.get(arm, 0) for arm in planned}
    p_value = srm(seen, planned)
    known = not np.isnan(p_value)
    rows = [
        {
            "arm": arm,
            "weight": weight,
            "expected": weight * sum(seen.values()),
            "observed": seen[arm],
            "multiple_users": (multiple or {}).get(arm, 0),
            "p_value": p_value if known else None,
            "alarm": known and p_value < ALARM_BELOW,
        }
        for arm, weight in planned.items()
    ]
    return pl.DataFrame(rows, schema=_SPLIT)


_SPLIT = {
    "arm": pl.String,
    "weight": pl.Float64,
    "expected": pl.Float64,
    "observed": pl.Int64,
    "multiple_users": pl.Int64,
    "p_value": pl.Float64,
    "alarm": pl.Boolean,
}


def share_of(user_id: str, salt: str) -> float:
    """A number from 0 to below 1 that belongs to a user and a salt: the same everywhere and for ever.

    The first 8 bytes of SHA-256 of ``salt:user_id``, as a fraction.
    """
    digest = sha256(f"{salt}:{user_id}".encode()).digest()
    return int.from_bytes(digest[:HASH_BYTES], "big") / float(2 ** (8 * HASH_BYTES))


def assign(user_ids: Iterable[str], weights: Mapping[str, float], salt: str) -> list[str]:
    """The variant of each user, by ``share_of`` and the weights in their order; one salt per experiment.

    Raises ValueError where no weight is above 0.
    """
    arms = [arm for arm, weight in weights.items() if weight > 0]
    if not arms:
        raise ValueError(f"weights are {dict(weights)}, but one must be above 0")
    edges = np.cumsum([weights[arm] for arm in arms])
    shares = np.array([share_of(user_id, salt) for user_id in user_ids])
    places = np.searchsorted(edges / edges[-1], shares, side="right")
    return [arms[place] for place in np.minimum(places, len(arms) - 1)]
