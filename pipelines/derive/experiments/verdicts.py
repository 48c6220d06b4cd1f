"""What a row of results says, in plain words that never say more than the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.derive.experiments.declared import Guardrail

FEW_USERS = 100
PERCENT = 100
CENTS = 100
SMALL_PERCENT = 10
SMALL_P = 0.001


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else bears on a verdict: maturity, the p-value of an alarming split, alpha, a guardrail, the unit."""

    mature: bool
    alarm_p: float | None = None
    alpha: float = 0.05
    guardrail: Guardrail | None = None
    unit: str = ""


def verdict(row: Mapping[str, Any], circumstances: Circumstances) -> str:
    """One row of ``compare`` in plain words.

    It claims an effect only where the corrected p-value is below alpha, and none of what it cannot: no difference
    shown is never called no difference, an immature result is called so, and a split that went wrong voids all.
    """
    if circumstances.alarm_p is not None:
        return (
            f"Do not use: users were not split as planned (p = {_rough(circumstances.alarm_p)}), "
            "so the arms cannot be compared."
        )
    if row["p_value"] is None:
        return f"Nothing can be said about {row['metric']}: too few users, or no differences between them."
    told = _guarded(row, circumstances) if circumstances.guardrail is not None else _effect(row, circumstances)
    if min(row["control_users"], row["treatment_users"]) < FEW_USERS:
        told += f" Fewer than {FEW_USERS} users in an arm: the interval is rough."
    if circumstances.mature:
        return told
    return f"{told} Not final: some users' time to act is not over.{_early(row, circumstances)}"


def _effect(row: Mapping[str, Any], circumstances: Circumstances) -> str:
    before, after = (_value(row[name], circumstances.unit) for name in ("control_value", "treatment_value"))
    values = f"{before} in control, {after} in {row['arm']}"
    if _shown(row, circumstances.alpha):
        direction = "higher" if row["effect_abs"] > 0 else "lower"
        return (
            f"{row['metric']} was {direction}: {values}; {_interval(row, circumstances)}; "
            f"p = {_rough(row['p_corrected'])} after correction."
        )
    return (
        f"No difference shown in {row['metric']}: {values}; {_interval(row, circumstances)}."
        f"{_uncorrected(row, circumstances.alpha)}{_blind(row)}"
    )


def _shown(row: Mapping[str, Any], alpha: float) -> bool:
    return row["p_corrected"] is not None and row["p_corrected"] < alpha


def _early(row: Mapping[str, Any], circumstances: Circumstances) -> str:
    """That an effect found early would not stand for somebody who looks every day, where it would not."""
    always_p = row["always_p"]
    if circumstances.guardrail is not None or not _shown(row, circumstances.alpha) or always_p is None:
        return ""
    if always_p < circumstances.alpha:
        return ""
    return f" Whoever looks again and again cannot tell it from chance yet (p = {_rough(always_p)} at every look)."


def _uncorrected(row: Mapping[str, Any], alpha: float) -> str:
    if row["p_value"] < alpha and row["p_corrected"] is not None:
        return f" Alone it would pass (p = {_rough(row['p_value'])}), but not among so many comparisons."
    return ""


def _blind(row: Mapping[str, Any]) -> str:
    if row["detectable_rel"] is None:
        return ""
    return f" An effect smaller than {_percent(row['detectable_rel'])} would often be missed with so many users."


def _guarded(row: Mapping[str, Any], circumstances: Circumstances) -> str:
    """Non-inferiority: the side of the interval towards worse must stay within the margin."""
    guardrail = circumstances.guardrail
    if guardrail is None or row["rel_low"] is None:
        return f"{row['metric']} cannot be judged against its margin: it is not above 0 in both arms."
    low, high = row["rel_low"], row["rel_high"]
    worst, best = (high, low) if guardrail.worse == "higher" else (-low, -high)
    margin = _percent(guardrail.margin)
    if worst < guardrail.margin:
        held = f"Guardrail held: {row['metric']} is not {guardrail.worse} by {margin} or more"
    elif best > guardrail.margin:
        held = f"Guardrail broken: {row['metric']} is {guardrail.worse} by more than {margin}"
    else:
        held = f"Guardrail undecided: {row['metric']} may or may not be {guardrail.worse} by {margin}"
    return f"{held}; {_relative(row, circumstances)}."


def _interval(row: Mapping[str, Any], circumstances: Circumstances) -> str:
    """The relative effect with its interval; the difference where there is none, or where only one of both has 0."""
    if row["rel_low"] is None or _sides(row, "rel") != _sides(row, "abs"):
        low, high = (_difference(row[name], circumstances.unit) for name in ("abs_low", "abs_high"))
        return (
            f"difference {_difference(row['effect_abs'], circumstances.unit)} ({_level(circumstances)} {low} to {high})"
        )
    return _relative(row, circumstances)


def _relative(row: Mapping[str, Any], circumstances: Circumstances) -> str:
    low, high = (_percent(row[name], signed=True) for name in ("rel_low", "rel_high"))
    return f"{_percent(row['effect_rel'], signed=True)} ({_level(circumstances)} {low} to {high})"


def _level(circumstances: Circumstances) -> str:
    return f"{PERCENT * (1 - circumstances.alpha):g} % interval"


def _sides(row: Mapping[str, Any], kind: str) -> tuple[bool, bool]:
    return row[f"{kind}_low"] > 0, row[f"{kind}_high"] < 0


def _value(value: float, unit: str) -> str:
    if unit == "cents":
        return f"{value / CENTS:.2f}"
    return f"{PERCENT * value:.3g} %" if unit == "share" else f"{value:.4g}"


def _difference(value: float, unit: str) -> str:
    return f"{value / CENTS:+.2f}" if unit == "cents" else f"{value:+.3g}"


def _percent(value: float, *, signed: bool = False) -> str:
    number = PERCENT * value
    digits = 1 if abs(number) < SMALL_PERCENT else 0
    return f"{number:{'+' if signed else ''}.{digits}f} %"


def _rough(p_value: float) -> str:
    return "less than 0.001" if p_value < SMALL_P else f"{p_value:.2g}"
