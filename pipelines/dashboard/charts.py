"""The charts of the report and the dashboard, each a function of one table's rows and a width in pixels.

Marks whose window is not over are drawn pale or hollow, so that a day that may still change looks like one.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from pipelines.dashboard import words
from pipelines.dashboard.theme import Palette

STEP_HEIGHT = 52
NARROW = 480
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
OUTCOMES = ["recovered", "resumed", "lost", "immature"]
OUTCOME_NAMES = ["bought after all", "came back only", "lost", "not decided yet"]
COUNTED = [alt.Tooltip("outcome:N", title="Outcome"), alt.Tooltip("sum(number):Q", title="Silences", format=",")]

alt.data_transformers.disable_max_rows()


def funnel_steps(steps: pl.DataFrame, palette: Palette, width: int) -> Any:
    """Bars of how many got to each step; what was lost since the step before stands behind in pale red."""
    told = steps.sort("step_index").with_columns(
        name=pl.col("step").map_elements(words.words, pl.String),
        text=pl.struct("converted", "rate").map_elements(
            lambda row: f"{words.count(row['converted'])}  ·  {words.share(row['rate'])}", pl.String
        ),
        lost=pl.when(pl.col("step_index") > 0).then(
            pl.col("step_rate").map_elements(lambda rate: f"{words.share(1 - rate)} leave here", pl.String)
        ),
    )
    tip = [alt.Tooltip("name:N", title="Step"), alt.Tooltip("text:N", title="Got here")]
    base = alt.Chart(told).encode(y=alt.Y("name:N", sort=None, title=None, axis=None), tooltip=tip)
    scale = alt.Scale(domainMin=0, domainMax=max(*told["entered"], 1), nice=False)
    across = alt.X("converted:Q", scale=scale, axis=None)
    bar = base.mark_bar(height=20, cornerRadiusEnd=3, color=palette.good, yOffset=8).encode(x=across)
    gone = base.mark_bar(height=20, cornerRadiusEnd=3, color=palette.lost, opacity=0.28, yOffset=8).encode(
        x=across, x2="entered:Q"
    )
    right = alt.value(alt.ExprRef("width"))
    label: dict[str, Any] = {"baseline": "bottom", "yOffset": -6}
    named = base.mark_text(align="left", color=palette.ink, fontWeight="bold", fontSize=13, **label).encode(
        x=alt.value(0), text="name:N"
    )
    counted = base.mark_text(align="right", color=palette.ink, fontSize=13, **label).encode(x=right, text="text:N")
    dropped = (
        base.transform_filter("datum.lost != null")
        .mark_text(align="right", dx=-6, yOffset=8, color=palette.lost, fontSize=12, fontWeight="bold")
        .encode(x=right, text="lost:N")
    )
    return alt.layer(gone, bar, named, counted, dropped).properties(width=width, height=STEP_HEIGHT * told.height)


def daily_rates(daily: pl.DataFrame, palette: Palette, width: int) -> Any:
    """The share of each day's attempts that got to each later step; days whose window is open are hollow and dashed."""
    later = daily.filter(pl.col("step_index") > 0).sort("step_index", "date")
    told = later.with_columns(name=pl.col("step").map_elements(words.words, pl.String))
    return _settling(told, [palette.quiet, palette.fair, palette.good], palette, width)


def cohort_rates(cohorts: pl.DataFrame, palette: Palette, width: int) -> Any:
    """Of the carts begun each day, the shares left at least once and checked out; unsettled days are hollow."""
    names = {"abandonment_rate": "Left at least once", "checkout_rate": "Checked out"}
    long = cohorts.unpivot(list(names), index=["date", "mature"], variable_name="name", value_name="rate")
    told = long.with_columns(pl.col("name").replace(names)).sort("name", "date", descending=[True, False])
    return _settling(told, [palette.lost, palette.good], palette, width)


def _settling(told: pl.DataFrame, colours: list[str], palette: Palette, width: int) -> Any:
    """Lines of rates by day and name (columns date, name, rate, mature), dashed where they may still change."""
    settled, pending = told.filter("mature"), told.filter(~pl.col("mature"))
    names = told["name"].unique(maintain_order=True).to_list()
    colour = alt.Color(
        "name:N",
        scale=alt.Scale(domain=names, range=colours[-len(names) :]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=3),
    )
    axes: dict[str, Any] = {
        "x": alt.X("date:T", title=None, axis=_days()),
        "y": alt.Y("rate:Q", title=None, axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domainMin=0)),
        "color": colour,
        "tooltip": [
            alt.Tooltip("date:T", title="Day", format="%-d %b %Y"),
            alt.Tooltip("name:N", title="Share"),
            alt.Tooltip("rate:Q", title="Of the day's", format=".1%"),
        ],
    }
    layers = [alt.Chart(settled).mark_line(strokeWidth=2.2).encode(**axes)]
    if pending.height:
        joined = pl.concat([settled.filter(pl.col("date") == settled["date"].max()), pending])
        layers += [
            alt.Chart(joined).mark_line(strokeWidth=1.6, strokeDash=[3, 4], opacity=0.75).encode(**axes),
            alt.Chart(pending).mark_point(fill=palette.paper, size=34, strokeWidth=1.5).encode(**axes),
        ]
    return alt.layer(*layers).properties(width=width, height=200)


def _days() -> alt.Axis:
    return alt.Axis(format="%-d %b", tickCount=by_width(4, 8), grid=False)


def by_width(narrow: int, wide: int) -> Any:
    """A number that the drawing itself chooses by its width, which a page in a browser may change."""
    return alt.ExprRef(f"width < {NARROW} ? {narrow} : {wide}")


def week(hourly: pl.DataFrame, palette: Palette, width: int) -> Any:
    """The hours of a week, the darker the more carts went silent in it."""
    cells = hourly.with_columns(
        day=pl.col("weekday").replace_strict(range(1, 8), WEEKDAYS, return_dtype=pl.String, default=None)
    )
    chart = alt.Chart(cells).mark_rect(color=palette.lost, stroke=palette.paper, strokeWidth=1)
    return chart.encode(
        x=alt.X(
            "hour:O",
            title=None,
            scale=alt.Scale(domain=list(range(24))),
            axis=alt.Axis(
                values=[0, 6, 12, 18], labelExpr="datum.value + ':00'", labelAngle=0, ticks=False, domain=False
            ),
        ),
        y=alt.Y("day:O", sort=WEEKDAYS, title=None, axis=alt.Axis(ticks=False, domain=False)),
        opacity=alt.Opacity("sum(episodes):Q", scale=alt.Scale(range=[0.06, 1]), legend=None),
        tooltip=[
            alt.Tooltip("day:O", title="Day"),
            alt.Tooltip("hour:O", title="From hour"),
            alt.Tooltip("sum(episodes):Q", title="Silences", format=","),
        ],
    ).properties(width=width, height=7 * 24)


def outcomes_by_day(daily: pl.DataFrame, palette: Palette, width: int) -> Any:
    """Episodes by the day they opened, stacked by what became of them; undecided ones are pale."""
    return (
        _outcomes(daily, palette)
        .encode(
            x=alt.X("yearmonthdate(date):T", title=None, axis=_days()),
            y=alt.Y("sum(number):Q", title=None, axis=alt.Axis(tickCount=4)),
            tooltip=[alt.Tooltip("yearmonthdate(date):T", title="Day", format="%-d %b %Y"), *COUNTED],
        )
        .properties(width=width, height=190)
    )


def outcomes_by_stage(daily: pl.DataFrame, palette: Palette, width: int) -> Any:
    """What became of carts left in the cart and of those left in the checkout, as shares of each."""
    named = daily.with_columns(
        stage=pl.col("stage").replace({"cart": "Left in the cart", "checkout": "Left in the checkout"})
    )
    return (
        _outcomes(named, palette)
        .encode(
            x=alt.X("sum(number):Q", stack="normalize", title=None, axis=alt.Axis(format="%", tickCount=4, grid=False)),
            y=alt.Y("stage:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelColor=palette.ink)),
            tooltip=[alt.Tooltip("stage:N", title="Stage"), *COUNTED],
        )
        .properties(width=width, height=84)
    )


def effects(results: pl.DataFrame, palette: Palette, width: int) -> Any:
    """The relative effect of each metric with its interval; what excludes no effect is in full colour."""
    shown = results.filter(pl.col("effect_rel").is_not_null()).with_columns(
        name=pl.col("metric").map_elements(words.words, pl.String),
        clear=(pl.col("rel_low") > 0) | (pl.col("rel_high") < 0),
        text=pl.col("effect_rel").map_elements(words.change, pl.String),
    )
    tone = alt.condition("datum.clear", alt.value(palette.good), alt.value(palette.muted))
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False, labelColor=palette.ink))
    tip = [alt.Tooltip("name:N", title="Metric"), alt.Tooltip("text:N", title="Effect")]
    tip += [
        alt.Tooltip(f"{name}:Q", title=title, format="+.1%")
        for name, title in (("rel_low", "From"), ("rel_high", "To"))
    ]
    base = alt.Chart(shown).encode(y=y, color=tone, tooltip=tip)
    axis = alt.Axis(format="+%", tickCount=by_width(4, 7))
    whisker = base.mark_rule(strokeWidth=2.4, strokeCap="round").encode(
        x=alt.X("rel_low:Q", title="relative effect with 95 % interval", axis=axis), x2="rel_high:Q"
    )
    dot = base.mark_point(filled=True, size=80, opacity=1).encode(x="effect_rel:Q")
    value = base.mark_text(dy=-11, fontSize=11).encode(x="effect_rel:Q", text="text:N")
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(color=palette.ink, strokeWidth=1).encode(x="x:Q")
    return alt.layer(zero, whisker, dot, value).properties(width=width, height=max(1, shown.height) * 38)


def _outcomes(daily: pl.DataFrame, palette: Palette) -> Any:
    long = daily.unpivot(OUTCOMES, index=["date", "stage"], variable_name="outcome", value_name="number").with_columns(
        order=pl.col("outcome").replace_strict(OUTCOMES, [0, 1, 2, 3], return_dtype=pl.Int32),
        outcome=pl.col("outcome").replace(OUTCOMES, OUTCOME_NAMES),
    )
    colours = [palette.good, palette.fair, palette.lost, palette.quiet]
    return (
        alt.Chart(long)
        .mark_bar()
        .encode(
            color=alt.Color(
                "outcome:N",
                scale=alt.Scale(domain=OUTCOME_NAMES, range=colours),
                legend=alt.Legend(columns=by_width(2, 4)),
            ),
            order=alt.Order("order:Q"),
        )
    )
