import pytest

from pipelines.derive.experiments import Guardrail
from pipelines.derive.experiments.verdicts import Circumstances, verdict

FINAL = Circumstances(mature=True, unit="share")
ROW = {
    "metric": "conversion",
    "arm": "treatment",
    "control_value": 0.12,
    "treatment_value": 0.132,
    "effect_abs": 0.012,
    "abs_low": 0.004,
    "abs_high": 0.02,
    "effect_rel": 0.1,
    "rel_low": 0.03,
    "rel_high": 0.17,
    "p_value": 0.004,
    "p_corrected": 0.012,
    "control_users": 5_000,
    "treatment_users": 5_000,
    "detectable_rel": 0.12,
    "always_p": 0.01,
}


def test_a_proved_effect_is_told_with_its_interval():
    """Direction, values, interval and corrected p-value, and nothing else."""
    assert verdict(ROW, FINAL) == (
        "conversion was higher: 12 % in control, 13.2 % in treatment; +10 % (95 % interval +3.0 % to +17 %); "
        "p = 0.012 after correction."
    )


def test_what_is_not_shown_is_not_called_equal():
    """Without a corrected p-value below alpha no difference is claimed, nor its absence, and blindness is admitted."""
    told = verdict(ROW | {"p_value": 0.2, "p_corrected": 0.6, "abs_low": -0.006, "rel_low": -0.05}, FINAL)
    assert told == (
        "No difference shown in conversion: 12 % in control, 13.2 % in treatment; +10 % "
        "(95 % interval -5.0 % to +17 %). An effect smaller than 12 % would often be missed with so many users."
    )


def test_what_the_correction_takes_away_is_said():
    """A p-value that passes alone but not corrected is no effect, and the verdict says why."""
    assert "Alone it would pass (p = 0.02), but not among so many comparisons." in verdict(
        ROW | {"p_value": 0.02, "p_corrected": 0.3}, FINAL
    )


def test_a_wrong_split_voids_everything():
    """With an alarming split nothing about the metric is said, however small its p-value."""
    told = verdict(ROW, Circumstances(mature=True, alarm_p=1e-6))
    assert told.startswith("Do not use: users were not split as planned (p = less than 0.001)")
    assert "conversion" not in told


def test_an_immature_result_says_so():
    """While a user's window is open the verdict ends with it."""
    assert verdict(ROW, Circumstances(mature=False)).endswith("Not final: some users' time to act is not over.")


@pytest.mark.parametrize(
    ("changed", "mature", "warned"),
    [
        ({"always_p": 0.3}, False, True),
        ({"always_p": 0.3}, True, False),
        ({"always_p": 0.01}, False, False),
        ({"always_p": 0.3, "p_corrected": 0.2}, False, False),
    ],
)
def test_an_early_effect_that_looking_often_could_have_made_is_called_so(changed, mature, warned):
    """While users' windows are open an effect that is not valid at every look is not told without saying so."""
    told = verdict(ROW | changed, Circumstances(mature=mature))
    assert ("cannot tell it from chance yet (p = 0.3 at every look)" in told) == warned


def test_the_interval_shown_never_contradicts_what_is_claimed():
    """Where the relative interval has 0 in it and the difference's has not, the difference is shown, in its unit."""
    row = ROW | {"metric": "revenue_per_user", "rel_low": -0.001, "effect_abs": 317, "abs_low": 4, "abs_high": 630}
    told = verdict(row, Circumstances(mature=True, unit="cents"))
    assert "difference +3.17 (95 % interval +0.04 to +6.30)" in told


def test_nothing_known_is_nothing_said():
    """Without a p-value there is nothing to say."""
    assert verdict(ROW | {"p_value": None, "p_corrected": None}, FINAL).startswith(
        "Nothing can be said about conversion"
    )


def test_few_users_are_mentioned():
    """Below 100 users in an arm the interval is called rough."""
    assert "Fewer than 100 users in an arm" in verdict(ROW | {"control_users": 60}, FINAL)


def test_money_is_told_in_whole_currency():
    """Cents are shown as units with two decimals."""
    row = ROW | {"metric": "revenue_per_user", "control_value": 4_385.2, "treatment_value": 4_702.0}
    assert "43.85 in control, 47.02 in treatment" in verdict(row, Circumstances(mature=True, unit="cents"))


def test_without_relative_figures_the_difference_is_told():
    """Where control is not above 0 the absolute interval stands in."""
    row = ROW | {"effect_rel": None, "rel_low": None, "rel_high": None, "detectable_rel": None}
    assert "difference +0.012 (95 % interval +0.004 to +0.02)" in verdict(row, FINAL)


@pytest.mark.parametrize(
    ("worse", "low", "high", "words"),
    [
        ("higher", -0.02, 0.04, "Guardrail held: conversion is not higher by 5.0 % or more"),
        ("higher", 0.06, 0.2, "Guardrail broken: conversion is higher by more than 5.0 %"),
        ("higher", 0.01, 0.07, "Guardrail undecided: conversion may or may not be higher by 5.0 %"),
        ("lower", -0.04, 0.1, "Guardrail held: conversion is not lower by 5.0 % or more"),
        ("lower", -0.2, -0.06, "Guardrail broken: conversion is lower by more than 5.0 %"),
        ("lower", -0.07, 0.1, "Guardrail undecided: conversion may or may not be lower by 5.0 %"),
        ("higher", -0.1, 0.05, "Guardrail undecided"),
    ],
)
def test_a_guardrail_holds_only_where_the_interval_stays_within_its_margin(worse, low, high, words):
    """Non-inferiority is judged by the interval's side towards worse, strictly."""
    circumstances = Circumstances(mature=True, guardrail=Guardrail("conversion", worse, 0.05))
    assert verdict(ROW | {"rel_low": low, "rel_high": high}, circumstances).startswith(words)


def test_a_guardrail_without_relative_figures_cannot_be_judged():
    """A relative margin needs a control above 0."""
    circumstances = Circumstances(mature=True, guardrail=Guardrail("conversion", "higher", 0.05))
    assert "cannot be judged" in verdict(ROW | {"rel_low": None, "rel_high": None}, circumstances)
