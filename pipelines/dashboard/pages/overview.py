"""Overview: how many carts, orders, how much money, how many are left and won back, and whether that is settled."""

from __future__ import annotations

import polars as pl

from pipelines.dashboard import charts, layout, links, sections, words
from pipelines.dashboard.definitions import FIGURES, SECTIONS
from pipelines.dashboard.layout import Drawing
from pipelines.dashboard.setting import Setting

REFRESH = "cart --store STORE refresh"


def show(setting: Setting) -> None:
    """The headline figures, and the days that they are made of."""
    source = setting.source
    layout.head("Overview", sections.lead(source), f"As of {words.moment(source.as_of)}")
    if not sections.headline(source):
        layout.empty("No table has been derived yet, so there is nothing to show.", REFRESH)
        return
    layout.html(sections.figures(source, _more if setting.explain is not None else None))
    with layout.filters():
        days = layout.chosen_days()
    _cohorts(setting, days)
    _outcomes(setting, days)


def _more(figure: str) -> str:
    return f'<p class="more">{links.anchor(links.explain("headline", figure), "Explain")}</p>'


def _cohorts(setting: Setting, days: int | None) -> None:
    cohorts = setting.source.one_definition("cart_cohorts")
    if cohorts.is_empty():
        return
    with layout.card("cohorts", "Carts by the day they began", _settled(cohorts)):
        chosen = layout.last_days(cohorts, days)
        meaning = (
            f"{FIGURES['abandonment_rate'].meaning} {FIGURES['checkout_rate'].meaning} Hollow points and dashed lines "
            "are days that are not settled: both shares can only rise."
        )
        label = f"Share of each day's carts left at least once, and checked out, {sections.days(chosen)}"
        layout.chart(
            setting,
            Drawing("carts-by-day", chosen, charts.cohort_rates, label, meaning, "cart_cohorts"),
        )


def _outcomes(setting: Setting, days: int | None) -> None:
    daily = setting.source.one_definition("abandonment_daily")
    if daily.is_empty():
        return
    with layout.card("outcomes", "What became of silent carts", sections.decided(setting.source)):
        chosen = layout.last_days(daily, days)
        label = f"Silences by the day they began, by what became of them, {sections.days(chosen)}; undecided ones pale"
        layout.chart(
            setting,
            Drawing(
                "outcomes-by-day", chosen, charts.outcomes_by_day, label, SECTIONS["abandonment"], "abandonment_daily"
            ),
        )


def _settled(cohorts: pl.DataFrame) -> str:
    pending = cohorts.filter(~pl.col("mature")).height
    if not pending:
        return "Every day is settled."
    return f"The last {words.count(pending)} of {words.count(cohorts.height)} days may still rise."
