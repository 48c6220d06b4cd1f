from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.derive.funnel import Exclusion, Funnel, attempts, funnel, histogram, trend
from pipelines.tables import TABLES, TableError
from tests.pipelines.derive import funnel_oracle as oracle

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def frame(rows: list[tuple[Any, float, str]], **more: list[Any]) -> pl.DataFrame:
    """Touches from (unit, hours after the start, step)."""
    units, hours, steps = zip(*rows, strict=True) if rows else ((), (), ())
    schema = [("unit", pl.String()), ("at", pl.Datetime("us", "UTC")), ("step", pl.String())]
    columns = {"unit": units, "at": [START + HOUR * hour for hour in hours], "step": steps}
    return pl.DataFrame(columns, schema=schema).with_columns(pl.Series(name, values) for name, values in more.items())


def one(*touches: tuple[float, str]) -> pl.DataFrame:
    """Touches of one unit."""
    return frame([("u", hour, step) for hour, step in touches])


def converted(touches: pl.DataFrame, steps: str, **options: Any) -> list[int]:
    """How many units reach each step."""
    return funnel(touches, steps=list(steps), **options)["converted"].to_list()


def times(touches: pl.DataFrame, steps: str, **options: Any) -> list[float | None]:
    """The hour at which each step of the only attempt was filled."""
    found = attempts(touches, Funnel(list(steps), **options))
    assert found.height == 1
    row = found.row(0, named=True)
    filled = [row[f"at_{k}"] for k in range(len(steps))]
    return [None if at is None else (at - START) / HOUR for at in filled]


touch = st.tuples(st.integers(0, 6), st.sampled_from("ABCX"))
steps_of = st.lists(st.sampled_from("ABC"), min_size=1, max_size=4)


@st.composite
def definitions(draw: Any) -> Any:
    """Steps, window in hours, order, exclusions and optional steps that do not contradict one another."""
    steps = draw(steps_of)
    order = draw(st.sampled_from(["ordered", "ordered", "strict", "unordered"]))
    window = draw(st.one_of(st.none(), st.integers(0, 6)))
    inner = range(1, 1 if order == "unordered" else len(steps))
    optional = draw(st.lists(st.sampled_from(inner), unique=True, max_size=2)) if inner else []
    bounds = [index for index in range(len(steps)) if index not in optional]
    spans = [(i, j) for i in bounds for j in bounds if i < j]
    exclude = []
    if spans:
        for start, stop in draw(st.lists(st.sampled_from(spans), max_size=2)):
            name = draw(st.sampled_from("XXAB"))
            if name not in steps[start + 1 : stop]:
                exclude.append((name, start, stop))
    return steps, window, order, exclude, optional


def counted(touches: list[tuple[int, str]], definition: Any, count: Any) -> list[dict[int, int]]:
    """What ``attempts`` finds for one unit: the hour of each filled step, attempt by attempt."""
    steps, window, order, exclude, optional = definition
    exclusions = [Exclusion(*each) for each in exclude]
    funnel_of = Funnel(steps, None if window is None else HOUR * window, order, exclusions, optional, count)
    return [
        {k: (row[f"at_{k}"] - START) // HOUR for k in range(len(steps)) if row[f"at_{k}"] is not None}
        for row in attempts(one(*touches), funnel_of).iter_rows(named=True)
    ]


@settings(max_examples=400)
@given(st.lists(touch, max_size=6), definitions())
def test_the_attempt_that_counts_is_the_definitions(touches: list[tuple[int, str]], definition: Any) -> None:
    """The search finds what trying every assignment finds: depth, removal by exclusions, and every step's time."""
    expected = oracle.outcome(touches, *definition)
    assert counted(touches, definition, "uniques") == ([] if expected is None else [expected])


@settings(max_examples=200)
@given(st.lists(touch, max_size=7), definitions())
def test_totals_count_every_attempt_once(touches: list[tuple[int, str]], definition: Any) -> None:
    """With totals the attempts follow one another without sharing a touch, as trying every assignment finds them."""
    assert counted(touches, definition, "totals") == oracle.outcomes(touches, *definition)


many_touches = st.lists(st.tuples(st.sampled_from("uvw"), st.integers(0, 60), st.sampled_from("ABCX")), max_size=25)


@settings(max_examples=100)
@given(many_touches, definitions(), st.sampled_from(["uniques", "totals"]))
def test_counts_add_up(touches: list[Any], definition: Any, count: Any) -> None:
    """Each step is entered by whoever converted the one before, no rate is above 1, and days add up to the whole."""
    steps, window, order, exclude, optional = definition
    defined = Funnel(
        steps, None if window is None else HOUR * window, order, [Exclusion(*e) for e in exclude], optional, count
    )
    rows = funnel(
        frame(touches), defined.steps, defined.window, defined.order, defined.exclude, defined.optional, count=count
    )
    converted = rows["converted"].to_list()
    assert rows["entered"].to_list() == [converted[0], *converted[:-1]]
    assert converted == sorted(converted, reverse=True)
    assert rows.filter((pl.col("rate") > 1) | (pl.col("step_rate") > 1)).height == 0
    days = trend(frame(touches), defined).group_by("step_index").agg(pl.col("converted", "skipped").sum())
    if rows["converted"][0]:
        assert days.sort("step_index").to_dicts() == rows.select("step_index", "converted", "skipped").to_dicts()


def test_one_row_per_step() -> None:
    """Three shoppers, of whom two add and one buys: counts, rates and times from step to step."""
    touches = frame(
        [("a", 0, "A"), ("a", 1, "B"), ("a", 4, "C"), ("b", 0, "A"), ("b", 3, "B"), ("c", 2, "A")],
    )
    assert funnel(touches, steps=["A", "B", "C"]).to_dict(as_series=False) == {
        "step_index": [0, 1, 2],
        "step": ["A", "B", "C"],
        "entered": [3, 3, 2],
        "converted": [3, 2, 1],
        "skipped": [0, 0, 0],
        "rate": [1.0, pytest.approx(2 / 3), pytest.approx(1 / 3)],
        "step_rate": [1.0, pytest.approx(2 / 3), 0.5],
        "mean_s": [None, 7200.0, 10800.0],
        "median_s": [None, 7200.0, 10800.0],
        "p90_s": [None, pytest.approx(3600 + 0.9 * 7200), 10800.0],
        "mature": [None, None, None],
    }


def test_the_columns_are_those_of_the_tables() -> None:
    """What ``funnel`` and ``trend`` give are the columns of funnel_daily, in order and type."""
    schema = trend(one((0, "A")), Funnel(["A"]), as_of=START).schema
    assert schema == TABLES["funnel_daily"].schema


def test_a_retry_takes_the_latest_first_step() -> None:
    """In A A B the second A counts, and in A B A the A that has a B after it."""
    assert times(one((0, "A"), (2, "A"), (3, "B")), "AB") == [2, 3]
    assert times(one((0, "A"), (2, "B"), (3, "A")), "AB") == [0, 2]


def test_the_window_is_inclusive() -> None:
    """A touch exactly a window after the first counts, one microsecond later does not."""
    late = one((0, "A"), (24 + 1e-6 / 3600, "B"))
    assert converted(one((0, "A"), (24, "B")), "AB", window=24 * HOUR) == [1, 1]
    assert converted(late, "AB", window=24 * HOUR) == [1, 0]


def test_the_window_is_anchored_on_the_first_step() -> None:
    """Each step may be a day after the one before and still be too late after the first."""
    assert converted(one((0, "A"), (20, "B"), (40, "C")), "ABC", window=24 * HOUR) == [1, 1, 0]


def test_equal_times_count_in_step_order() -> None:
    """Touches of one moment count as if they had come in the order of the steps, however their rows lie."""
    assert converted(one((0, "C"), (0, "B"), (0, "A")), "ABC") == [1, 1, 1]
    assert converted(one((0, "C"), (0, "B"), (0, "A")), "ABC", order="strict") == [1, 1, 1]


def test_one_touch_fills_one_step() -> None:
    """A step listed twice needs two touches."""
    assert converted(one((0, "A"), (1, "B")), "AAB") == [1, 0, 0]
    assert converted(one((0, "A"), (0, "A"), (1, "B")), "AAB") == [1, 1, 1]


def test_strict_is_reset_by_any_other_touch() -> None:
    """Strict steps follow directly; a touch that is no step lies between A and B and resets."""
    assert converted(one((0, "A"), (1, "X"), (2, "B")), "AB", order="strict") == [1, 0]
    assert converted(one((0, "A"), (1, "X"), (2, "A"), (3, "B")), "AB", order="strict") == [1, 1]


def test_unordered_takes_most_steps_of_one_window() -> None:
    """Unordered steps may come in any order, but inside one window."""
    assert converted(one((0, "C"), (1, "A"), (9, "B")), "ABC", order="unordered", window=2 * HOUR) == [1, 1, 0]


def test_an_optional_step_may_be_passed_over() -> None:
    """Who passes over an optional step is counted there as converted and told apart as skipped."""
    rows = funnel(one((0, "A"), (1, "C")), steps=["A", "B", "C"], optional=["B"])
    assert rows.select("converted", "skipped").rows() == [(1, 0), (1, 1), (1, 0)]


def test_an_exclusion_removes_the_unit_everywhere() -> None:
    """A unit whose only deepest attempt has X between A and B is in no step's count."""
    excluded = [Exclusion("X", "A", "B")]
    assert converted(one((0, "A"), (1, "X"), (2, "B")), "AB", exclude=excluded) == [0, 0]
    assert converted(one((0, "A"), (1, "X"), (2, "A"), (3, "B")), "AB", exclude=excluded) == [1, 1]


def test_an_exclusion_before_an_unreached_step_removes_the_unit_inside_the_window() -> None:
    """X after A without a B removes the unit, unless it comes after the window."""
    excluded = [Exclusion("X", 0, 1)]
    assert converted(one((0, "A"), (2, "X")), "AB", exclude=excluded, window=2 * HOUR) == [0, 0]
    assert converted(one((0, "A"), (3, "X")), "AB", exclude=excluded, window=2 * HOUR) == [1, 0]


def test_a_breakdown_is_the_value_at_first_touch() -> None:
    """A unit counts under the value it came with, whatever it has later."""
    touches = frame([("a", 5, "B"), ("a", 0, "A"), ("b", 1, "A"), ("c", 0, "A")], source=["mail", "ads", "ads", None])
    rows = funnel(touches, steps=["A", "B"], breakdown="source")
    assert rows.select("source", "step", "converted").rows() == [
        ("ads", "A", 2),
        ("ads", "B", 1),
        (None, "A", 1),
        (None, "B", 0),
    ]


def test_maturity_needs_every_window_to_be_over() -> None:
    """Mature once the window of the last first step is over, which is at its last moment."""
    touches = one((0, "A"), (1, "B"), (5, "A"))
    over = START + HOUR * 5 + timedelta(days=7)
    just_before = over - timedelta(microseconds=1)
    assert funnel(touches, steps=["A", "B"], as_of=just_before)["mature"].to_list() == [False, False]
    assert funnel(touches, steps=["A", "B"], as_of=over)["mature"].to_list() == [True, True]


def test_an_unlimited_window_is_never_over() -> None:
    """Without a window nothing is final."""
    assert funnel(one((0, "A")), steps=["A"], window=None, as_of=START + HOUR)["mature"].to_list() == [False]


def test_touches_after_as_of_are_not_known() -> None:
    """As of a moment only what happened up to it counts, that moment included."""
    touches = one((0, "A"), (2, "B"))
    assert converted(touches, "AB", as_of=START + HOUR) == [1, 0]
    assert converted(touches, "AB", as_of=START + 2 * HOUR) == [1, 1]


def test_days_are_those_of_the_time_zone() -> None:
    """An attempt at 23:30 UTC is on the next day in Berlin."""
    touches = one((23.5, "A"))
    assert trend(touches, Funnel(["A"]))["date"].to_list() == [START.date()]
    assert trend(touches, Funnel(["A"]), time_zone="Europe/Berlin")["date"].to_list() == [START.date() + timedelta(1)]


def test_no_units_make_rows_of_zeros() -> None:
    """Without touches every step has a row of zeros and no rate; with a breakdown there is no value to show."""
    rows = funnel(frame([]), steps=["A", "B"], as_of=START)
    assert rows.select("entered", "converted", "rate", "step_rate", "mature").rows() == 2 * [(0, 0, None, None, True)]
    empty = frame([]).with_columns(source=pl.lit("ads"))
    assert funnel(empty, steps=["A"], breakdown="source").height == 0


def test_time_classes_add_up() -> None:
    """A time on an edge falls into the class that begins there, and the counts add up to the conversions."""
    touches = frame([("a", 0, "A"), ("a", 1, "B"), ("b", 0, "A"), ("b", 0.5, "B"), ("c", 0, "A")])
    found = attempts(touches, Funnel(["A", "B"]))
    rows = histogram(found, 0, 1, edges_s=[0, 3600, 7200])
    assert rows.select("from_s", "to_s", "converted", "share").rows() == [
        (0.0, 3600.0, 1, 0.5),
        (3600.0, 7200.0, 1, 0.5),
        (7200.0, float("inf"), 0, 0.0),
    ]


@pytest.mark.parametrize("form", [pl.DataFrame.lazy, pl.DataFrame.to_arrow])
def test_any_frame_will_do(form: Any) -> None:
    """A LazyFrame and an Arrow table give what the DataFrame gives."""
    touches = frame([("a", 0, "A"), ("b", 1, "B"), ("a", 1, "B")])
    assert funnel(form(touches), steps=["A", "B"]).equals(funnel(touches, steps=["A", "B"]))


def test_any_unit_will_do() -> None:
    """Units may be numbers or 16-byte ids, and times may lack a zone, which is UTC."""
    touches = frame([("a", 0, "A"), ("b", 1, "B"), ("a", 1, "B")])
    numbers = touches.with_columns(pl.col("unit").replace_strict({"a": 7, "b": -1}))
    raw = touches.with_columns(pl.col("unit").cast(pl.Binary), pl.col("at").dt.replace_time_zone(None))
    assert converted(numbers, "AB") == converted(raw, "AB") == [1, 1]


@pytest.mark.parametrize("column", ["unit", "at", "step"])
def test_a_touch_without_unit_time_or_step_is_refused(column: str) -> None:
    """A touch that lacks one of its three columns is named by row and column."""
    broken = frame([("a", 0, "A"), ("b", 1, "B")]).with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(pl.col(column)).alias(column)
    )
    with pytest.raises(TableError, match=f"row 1: {column} is missing"):
        funnel(broken, steps=["A"])


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"steps": []}, "at least one name"),
        ({"steps": "AB"}, "at least one name"),
        ({"steps": ["A"], "order": "random"}, "order is 'random'"),
        ({"steps": ["A"], "window": -HOUR}, "must not be negative"),
        ({"steps": ["A", "B"], "optional": ["A"]}, "first step may not be one"),
        ({"steps": ["A", "B"], "optional": ["B"], "order": "unordered"}, "nor any of an unordered funnel"),
        ({"steps": ["A", "B", "A"], "exclude": [Exclusion("X", "A", "B")]}, "names 2 of the steps"),
        ({"steps": ["A", "B"], "exclude": [Exclusion("X", "B", "A")]}, "from a step to a later one"),
        ({"steps": ["A", "B", "C"], "exclude": [Exclusion("B", "A", "C")]}, "lies between the two"),
        ({"steps": ["A", "B"], "optional": ["Z"]}, "step 'Z' names 0 of the steps"),
    ],
)
def test_contradictions_are_refused(definition: dict[str, Any], told: str) -> None:
    """A definition that contradicts itself is refused with what is wrong."""
    with pytest.raises(ValueError, match=told):
        Funnel(**definition)


def test_an_as_of_without_zone_is_refused() -> None:
    """A moment without a time zone is no moment."""
    with pytest.raises(ValueError, match="has no time zone"):
        funnel(one((0, "A")), steps=["A"], as_of=datetime(2026, 1, 1))
