"""Experiments as a shop declares them in experiments.toml, checked field by field."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cart_core.errors import CartError, Problem
from pipelines.derive.experiments.metrics import CATALOG, Metric

UNITS = ("user",)
SOURCES = ("file", "metadata", "hash")
DIRECTIONS = ("higher", "lower")
LEAST_VARIANTS = 2


class ExperimentError(CartError, ValueError):
    """A declaration breaks rules; ``problems`` maps each experiment's key to what is wrong with it."""

    def __init__(self, problems: Mapping[str, list[Problem]]) -> None:
        self.problems = dict(problems)
        told = "; ".join(f"experiment {key}: {each}" for key, found in problems.items() for each in found)
        super().__init__(told)


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that must not get worse: ``worse`` says in which direction that is, ``margin`` how much is borne.

    ``margin`` is relative to control: 0.05 bears 5 %.
    """

    metric: str
    worse: str
    margin: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """One declared experiment.

    ``variants`` maps each to its weight; ``window`` is how long after the exposure a user's acts count, None for
    without end. Exposures come from the exposures ``file``, from events' ``metadata``, or by ``hash``.
    """

    key: str
    control: str
    variants: Mapping[str, float]
    primary: str
    secondary: tuple[str, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    funnel: tuple[str, ...] = ()
    unit: str = "user"
    start: datetime | None = None
    end: datetime | None = None
    window: timedelta | None = timedelta(days=7)
    exposures: str = "file"
    salt: str = ""
    alpha: float = 0.05
    tuning: float = 5000.0

    @property
    def roles(self) -> dict[str, str]:
        """Every metric of the experiment with its role, the most important role first."""
        roles = {self.primary: "primary"}
        for role, names in (
            ("secondary", self.secondary),
            ("guardrail", tuple(guardrail.metric for guardrail in self.guardrails)),
            ("funnel", self.funnel),
        ):
            for name in names:
                roles.setdefault(name, role)
        return roles

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of ``roles``, in that order."""
        return [CATALOG[name] for name in self.roles]


def declared(text: str) -> list[Experiment]:
    """The experiments of a TOML document of ``[[experiment]]`` tables, in its order.

    Raises ExperimentError with every broken rule, naming the experiment's key, the field, its value and the rule.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError({"(file)": [Problem("document", str(error), "TOML")]}) from error
    tables = document.pop("experiment", [])
    problems = {"(file)": [Problem(name, value, "absent: only [[experiment]]") for name, value in document.items()]}
    found: list[Experiment] = []
    for place, table in enumerate(tables, 1):
        key = table.get("key") if isinstance(table.get("key"), str) else f"number {place}"
        broken = _problems(table)
        if key in [each.key for each in found]:
            broken.append(Problem("key", key, "unlike every other experiment's"))
        problems[str(key)] = problems.get(str(key), []) + broken
        if not broken:
            found.append(_experiment(table))
    problems = {key: broken for key, broken in problems.items() if broken}
    if problems:
        raise ExperimentError(problems)
    return found


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field may hold, in words and as a test."""

    wording: str
    allows: Callable[[Any], bool]
    required: bool = field(default=False)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_weights(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_is_number(weight) and weight >= 0 for weight in value.values())
        and sum(weight > 0 for weight in value.values()) >= LEAST_VARIANTS
    )


def _is_metrics(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name in CATALOG for name in value)


def _is_guardrails(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and set(each) == {"metric", "worse", "margin"}
        and each["metric"] in CATALOG
        and each["worse"] in DIRECTIONS
        and _is_number(each["margin"])
        and 0 < each["margin"] < 1
        for each in value
    )


def _is_moment(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


_KNOWN = ", ".join(CATALOG)
_MOMENT = Rule("a time with a zone, such as 2026-01-31T09:30:00Z", _is_moment)
_RULES = {
    "key": Rule("a word", _is_word, required=True),
    "unit": Rule(f"one of {', '.join(UNITS)}", lambda value: value in UNITS),
    "control": Rule("one of the variants", _is_word, required=True),
    "variants": Rule("a table of variants with weights, two of them above 0", _is_weights, required=True),
    "start": _MOMENT,
    "end": _MOMENT,
    "primary": Rule(f"one of {_KNOWN}", lambda value: isinstance(value, str) and value in CATALOG, required=True),
    "secondary": Rule(f"a list of {_KNOWN}", _is_metrics),
    "funnel": Rule(f"a list of {_KNOWN}", _is_metrics),
    "guardrails": Rule(
        "a list of {metric, worse = higher or lower, margin between 0 and 1}, metric one of " + _KNOWN, _is_guardrails
    ),
    "window_days": Rule("a number of days above 0", lambda value: _is_number(value) and value > 0),
    "exposures": Rule(f"one of {', '.join(SOURCES)}", lambda value: value in SOURCES),
    "salt": Rule("a word", _is_word),
    "alpha": Rule("between 0 and 0.5", lambda value: _is_number(value) and 0 < value < 0.5),  # noqa: PLR2004
    "tuning": Rule("a number of users above 0", lambda value: _is_number(value) and value > 0),
}


def _problems(table: dict[str, Any]) -> list[Problem]:
    unknown = {name: value for name, value in table.items() if name not in _RULES}
    broken = [Problem(name, value, "absent: there is no such field") for name, value in unknown.items()]
    for name, rule in _RULES.items():
        value = table.get(name)
        if (value is None and rule.required) or (value is not None and not rule.allows(value)):
            broken.append(Problem(name, value, rule.wording))
    return broken or _cross_problems(table)


def _cross_problems(table: dict[str, Any]) -> list[Problem]:
    broken = []
    if not table["variants"].get(table["control"], 0) > 0:
        broken.append(Problem("control", table["control"], f"a variant of weight above 0: {sorted(table['variants'])}"))
    start, end = table.get("start"), table.get("end")
    if start is not None and end is not None and end <= start:
        broken.append(Problem("end", str(end), f"after start, which is {start}"))
    if table.get("exposures") == "hash" and start is None:
        broken.append(Problem("start", None, "given where exposures are by hash"))
    return broken


def _experiment(table: dict[str, Any]) -> Experiment:
    told: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    told["guardrails"] = tuple(Guardrail(**each) for each in table.get("guardrails", ()))
    if "window_days" in told:
        told["window"] = timedelta(days=told.pop("window_days"))
    return Experiment(**told)
