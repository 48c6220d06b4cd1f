"""Funnel: how far shoppers get, where they are lost, how long they take, by day and by group."""

from __future__ import annotations

import polars as pl
import streamlit as st

from pipelines.dashboard import charts, detail_charts, layout, listings, sections, words
from pipelines.dashboard.definitions import DETAILS, SECTIONS
from pipelines.dashboard.layout import Drawing
from pipelines.dashboard.setting import Setting

FUNNELS = {"Shoppers, from the first view": "user", "Carts, from the first item": "cart"}
EVERYBODY = "Everybody"
ALL = "all"


def show(setting: Setting) -> None:
    """One funnel, for everybody or one group, with its times, its days and its groups."""
    steps = setting.source.rows("funnel_steps")
    layout.head("Funnel", "How far shoppers get, where they are lost, and how long each step takes.", _eyebrow(setting))
    if steps.is_empty():
        layout.empty("The funnel has not been derived yet.", "cart --store STORE refresh")
        return
    with layout.filters():
        funnel = FUNNELS[layout.one_of("Counted", list(FUNNELS), "funnel", width=260)]
        found = steps.filter(pl.col("funnel") == funnel)
        names = [name for name in found["breakdown"].unique().sort() if name != ALL]
        breakdown = layout.one_of("Split by", [EVERYBODY, *map(words.words, names)], "by")
        chosen = found.filter(pl.col("breakdown") == _name(names, breakdown))
        group = _group(chosen, breakdown)
    _steps(setting, funnel, group)
    if breakdown != EVERYBODY:
        _groups(setting, chosen, breakdown)
    _times(setting, funnel, group)
    if funnel == "user":
        _trend(setting)


def _eyebrow(setting: Setting) -> str:
    return f"As of {words.moment(setting.source.as_of)}"


def _name(names: list[str], shown: str) -> str:
    return next((name for name in names if words.words(name) == shown), ALL)


def _group(chosen: pl.DataFrame, breakdown: str) -> pl.DataFrame:
    """The rows of one group, which the visitor may choose where there are several."""
    values = chosen.sort("breakdown_value")["breakdown_value"].unique(maintain_order=True).to_list()
    if breakdown == EVERYBODY or not values:
        return chosen
    shown = {words.group(breakdown, value): value for value in values}
    return chosen.filter(pl.col("breakdown_value") == shown[layout.one_of("Group", list(shown), "group")])


def _steps(setting: Setting, funnel: str, group: pl.DataFrame) -> None:
    rows = group.sort("step_index").to_dicts()
    if not rows or not rows[0]["entered"]:
        layout.empty("Nobody has entered this funnel yet.")
        return
    with layout.card(
        "steps", sections.funnel_title(rows, "carts" if funnel == "cart" else "shoppers"), sections.funnel_lead(rows)
    ):
        last = rows[-1]
        key = f"{funnel},{last['breakdown']},{last['breakdown_value']},{last['step_index']}"
        label = sections.funnel_label(rows)
        layout.chart(
            setting,
            Drawing("funnel", group, charts.funnel_steps, label, SECTIONS["funnel"], "funnel_steps", key),
        )
        with st.expander("The same as a table, with times"):
            layout.html(listings.steps(group))


def _groups(setting: Setting, chosen: pl.DataFrame, breakdown: str) -> None:
    named = chosen.sort("breakdown_value", "step_index").with_columns(
        pl.col("breakdown_value").map_elements(lambda value: words.group(breakdown, value), pl.String)
    )
    label = f"Share of each group that reached each step, by {breakdown}"
    with layout.card(
        "groups", f"Side by side: {breakdown.lower()}", "Each dot is the share of the group that got there."
    ):
        layout.chart(
            setting,
            Drawing("funnel-groups", named, detail_charts.groups, label, DETAILS["groups"], "funnel_steps"),
        )


def _times(setting: Setting, funnel: str, group: pl.DataFrame) -> None:
    times = setting.source.rows("funnel_times").filter((pl.col("funnel") == funnel) & (pl.col("converted") > 0))
    if times.is_empty():
        return
    names = dict(group.sort("step_index").select("step_index", "step").iter_rows())
    pairs = times.select("from_step", "to_step").unique().sort("from_step", "to_step").iter_rows()
    shown = {f"{words.words(names[start])} to {names[end]}": (start, end) for start, end in pairs if end in names}
    with layout.card("times", "Time to convert", "How long those who went on took, over everybody."):
        start, end = shown[layout.one_of("Between", list(shown), "between")]
        chosen = times.filter((pl.col("from_step") == start) & (pl.col("to_step") == end))
        label = "Share of those who converted, by the time they took"
        layout.chart(
            setting,
            Drawing("time-to-convert", chosen, detail_charts.step_times, label, DETAILS["times"], "funnel_times"),
        )


def _trend(setting: Setting) -> None:
    daily = setting.source.rows("funnel_daily")
    if daily["date"].n_unique() < sections.LEAST_DAYS:
        return
    with layout.card("trend", "Day by day", sections.trend_lead(daily)):
        chosen = layout.last_days(daily, layout.chosen_days())
        label = f"Share of each day's attempts that reached each step, {sections.days(chosen)}"
        layout.chart(
            setting,
            Drawing("funnel-by-day", chosen, charts.daily_rates, label, SECTIONS["trend"], "funnel_daily"),
        )
