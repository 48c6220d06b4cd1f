"""Intervals and p-values that stay valid however often one looks."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Numbers: TypeAlias = float | np.ndarray[Any, np.dtype[Any]]

TUNING = 5000


def always_valid(
    estimate: Numbers, se: Numbers, n: Numbers, alpha: float = 0.05, tuning: float = TUNING
) -> tuple[Any, Any, Any]:
    """The confidence sequence around an estimate, and its p-value, as (low, high, p).

    ``se`` is the standard error of ``estimate`` and ``n`` the units behind it, both arms together. The chance that
    the truth ever lies outside, at any of endlessly many looks, is at most ``alpha``; ``tuning`` is the number of
    units at which the interval is narrowest, and must be chosen before the first look. The three are arrays where
    the arguments are. Where ``se`` is 0 or unknown or there are no units the interval says nothing and p is 1.
    Source: the two-sided normal-mixture boundary of Robbins (1970) and Howard et al. (2021, eq. 14), in the form of
    Waudby-Smith et al. (2023, arXiv 2103.06476v7, eq. 9 and 161), as GrowthBook and others use it.
    Raises ValueError for alpha outside (0, 1) or a tuning that is not positive.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, but must be between 0 and 1")
    if not tuning > 0:
        raise ValueError(f"tuning is {tuning}, but must be above 0")
    value, error, units = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (estimate, se, n)))
    told = np.isfinite(value) & np.isfinite(error) & (error > 0) & (units > 0)
    error, units = np.where(told, error, 1.0), np.where(told, units, 1.0)
    spread = units * _mixing(alpha, tuning)
    half = error * np.sqrt(2 * (spread + 1) / spread * (np.log(spread + 1) / 2 - np.log(alpha)))
    log_evidence = (np.where(told, value, 0.0) / error) ** 2 * spread / (2 * (spread + 1)) - np.log(spread + 1) / 2
    low = np.where(told, value - half, -np.inf)
    high = np.where(told, value + half, np.inf)
    return _plain(low), _plain(high), _plain(np.where(told, np.exp(-np.maximum(log_evidence, 0.0)), 1.0))


def _mixing(alpha: float, tuning: float) -> float:
    """The variance of the mixture that makes the interval narrowest at ``tuning`` units (eq. 161, squared)."""
    double = -2 * np.log(alpha)
    return float((double + np.log(double + 1)) / tuning)


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
