from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.derive.experiments import ExperimentError, Guardrail, declared

LEAST = """
[[experiment]]
key = "button"
control = "a"
variants = { a = 1, b = 1 }
primary = "conversion"
"""


def test_the_least_declaration():
    """Key, control, variants and the primary metric are enough; the rest has its defaults."""
    (found,) = declared(LEAST)
    assert (found.key, found.control, found.variants) == ("button", "a", {"a": 1, "b": 1})
    assert (found.window, found.exposures, found.unit) == (timedelta(days=7), "file", "user")


def test_a_full_declaration():
    """Every field is taken."""
    (found,) = declared(
        LEAST
        + """
unit = "user"
start = 2026-01-05T00:00:00Z
end = 2026-02-05T00:00:00+01:00
secondary = ["revenue_per_user"]
guardrails = [{ metric = "removals_per_cart", worse = "higher", margin = 0.1 }]
funnel = ["step_add", "conversion"]
window_days = 3
exposures = "hash"
salt = "s"
alpha = 0.1
tuning = 2000
"""
    )
    assert found.start == datetime(2026, 1, 5, tzinfo=UTC)
    assert found.end == datetime(2026, 2, 4, 23, tzinfo=UTC)
    assert found.window == timedelta(days=3)
    assert found.guardrails == (Guardrail("removals_per_cart", "higher", 0.1),)
    assert found.roles == {
        "conversion": "primary",
        "revenue_per_user": "secondary",
        "removals_per_cart": "guardrail",
        "step_add": "funnel",
    }
    assert [metric.name for metric in found.metrics] == list(found.roles)


@pytest.mark.parametrize(
    ("line", "field", "value", "rule"),
    [
        ("window_days = -1", "window_days", -1, "a number of days above 0"),
        ("start = 2026-01-05", "start", None, "a time with a zone"),
        ("start = 2026-01-05T00:00:00", "start", None, "a time with a zone"),
        ('secondary = ["profit"]', "secondary", ["profit"], "a list of conversion"),
        ('exposures = "guess"', "exposures", "guess", "one of file, metadata, hash"),
        ('exposures = "hash"', "start", None, "given where exposures are by hash"),
        ("alpha = 0.7", "alpha", 0.7, "between 0 and 0.5"),
        ("guardrails = [{ metric = 'conversion', worse = 'bigger', margin = 0.1 }]", "guardrails", None, "a list of"),
        ("colour = 'red'", "colour", "red", "absent: there is no such field"),
        ('unit = "cart"', "unit", "cart", "one of user"),
    ],
)
def test_a_broken_field_is_named(line, field, value, rule):
    """The error names the experiment's key, the field, its value and the rule."""
    with pytest.raises(ExperimentError, match="experiment button: ") as caught:
        declared(LEAST + line)
    (problem,) = caught.value.problems["button"]
    assert problem.field == field
    assert problem.rule.startswith(rule)
    if value is not None:
        assert problem.value == value


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('key = "button"', "", "key"),
        ('control = "a"', 'control = "c"', "control"),
        ("{ a = 1, b = 1 }", "{ a = 1, b = 0 }", "variants"),
        ("{ a = 1, b = 1 }", "{ a = 1, b = -1, c = 1 }", "variants"),
        ('"conversion"', '"profit"', "primary"),
    ],
)
def test_what_is_needed_must_be_right(old, new, field):
    """Key, control, variants and primary are checked; all broken rules are told at once."""
    with pytest.raises(ExperimentError) as caught:
        declared(LEAST.replace(old, new))
    assert [problem.field for found in caught.value.problems.values() for problem in found] == [field]


def test_an_end_before_the_start_is_refused():
    """An experiment ends after it starts."""
    with pytest.raises(ExperimentError, match=r"end is .* but must be after start"):
        declared(LEAST + "start = 2026-01-05T00:00:00Z\nend = 2026-01-05T00:00:00Z\n")


def test_a_key_names_one_experiment():
    """Two experiments of one key are refused."""
    with pytest.raises(ExperimentError, match="unlike every other"):
        declared(LEAST + LEAST)


def test_every_broken_experiment_is_told():
    """One error tells of all experiments that break a rule."""
    with pytest.raises(ExperimentError) as caught:
        declared(LEAST + "alpha = 9\n" + LEAST.replace("button", "other") + "unit = 'x'\n")
    assert set(caught.value.problems) == {"button", "other"}


@pytest.mark.parametrize("text", ["[[experiment", 'title = "x"'])
def test_what_is_no_declaration_is_refused(text):
    """Broken TOML and anything but [[experiment]] is refused."""
    with pytest.raises(ExperimentError, match=r"experiment \(file\)"):
        declared(text)


def test_no_experiments_are_none():
    """An empty document declares nothing."""
    assert declared("") == []


def test_the_shops_own_file_is_sound():
    """data/experiments.toml declares the two experiments of the simulated shop."""
    text = (Path(__file__).parents[4] / "data" / "experiments.toml").read_text(encoding="utf-8")
    assert [experiment.key for experiment in declared(text)] == ["checkout_button", "aa_check"]
