"""Abandonment and recovery: when and where carts go silent, whom to write to, who is left alone, what it brings."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import streamlit as st

from pipelines import files
from pipelines.dashboard import charts, detail_listings, layout, page, sections, words
from pipelines.dashboard.definitions import DETAILS, SECTIONS
from pipelines.dashboard.layout import Drawing
from pipelines.dashboard.setting import Setting

STAGES = {"Anywhere": None, "In the cart": "cart", "In the checkout": "checkout"}
EVERYONE, MAY_WRITE = "Everyone", "May be written to"
LISTED_ROWS = 20


def show(setting: Setting) -> None:
    """Silences by day, hour and stage, the candidates with every reason, and the lift against the holdout."""
    source = setting.source
    layout.head(
        "Abandonment and recovery",
        "When carts go silent, what becomes of them, and whom to write to.",
        f"As of {words.moment(source.as_of)}",
    )
    if "abandonment_daily" not in source.counts:
        layout.empty("No silence has been derived yet.", "cart --store STORE refresh")
        return
    if source.rows("abandonment_daily").is_empty():
        layout.empty("No cart has gone silent yet.")
        return
    _silences(setting)
    _candidates(setting)
    _lift(setting)


def _silences(setting: Setting) -> None:
    with layout.filters():
        idle_s = _definition(setting)
        stage = STAGES[layout.one_of("Left", list(STAGES), "left")]
        days = layout.chosen_days()
    daily, hourly = (_rows(setting, name, idle_s, stage) for name in ("abandonment_daily", "abandonment_hourly"))
    daily = layout.last_days(daily, days)
    meaning = SECTIONS["abandonment"]
    with layout.card("outcomes", "What became of silent carts", sections.decided(setting.source)):
        label = f"Silences by the day they began, by what became of them, {sections.days(daily)}; undecided ones pale"
        layout.chart(
            setting, Drawing("outcomes-by-day", daily, charts.outcomes_by_day, label, meaning, "abandonment_daily")
        )
    hours, stages = st.columns(2, gap="medium")
    with hours, layout.card("hours", "At which hour", "Darker is more; over all days."):
        label = "Hours of the week in which carts went silent; darker is more"
        layout.chart(setting, Drawing("hours", hourly, charts.week, label, meaning, "abandonment_hourly"))
    with stages, layout.card("stages", "Where they were left", "Shares of each stage."):
        label = "What became of carts left in the cart and of those left in the checkout"
        layout.chart(setting, Drawing("stages", daily, charts.outcomes_by_stage, label, meaning, "abandonment_daily"))


def _definition(setting: Setting) -> int:
    """The silence after which a cart counts as abandoned: the shop's own first, then the others by length."""
    every = setting.source.rows("abandonment_daily")["idle_s"].unique().sort().to_list()
    own = setting.source.one_definition("abandonment_daily")["idle_s"].first()
    ordered = sorted(every, key=lambda each: (each != own, each))
    shown: dict[str, int] = {words.span(each): each for each in ordered}
    return shown[layout.one_of("Silent for at least", list(shown), "idle", width=180)]


def _rows(setting: Setting, name: str, idle_s: int, stage: str | None) -> pl.DataFrame:
    wanted = pl.col("idle_s") == idle_s
    return setting.source.rows(name).filter(wanted if stage is None else wanted & (pl.col("stage") == stage))


def _candidates(setting: Setting) -> None:
    if "eligible" not in sections.headline(setting.source):
        return
    with layout.card("candidates", "Whom to write to", sections.recovery_lead(setting.source)):
        reasons = {f"Left alone: {words.words(name).lower()}": name for name in sections.excluded(setting.source)}
        shown: dict[str, str | None] = {MAY_WRITE: "", EVERYONE: None, **reasons}
        listed = candidates(setting, shown[layout.one_of("Silent carts", list(shown), "who", width=300)])
        if listed.is_empty():
            layout.html(page.empty("There is no such cart at the moment."))
        else:
            layout.listing("candidates", detail_listings.candidates(listed), listed, SECTIONS["recovery"])
        if reasons:
            layout.html(page.part("Who is left alone, and why", sections.left_alone(setting.source)))


def candidates(setting: Setting, reason: str | None) -> pl.DataFrame:
    """The first candidates of a kind: eligible ones by rank for "", all by expected value for None, else by reason.

    Only the columns that decide are read of every row; what lies in a cart only of those that are listed.
    """
    scanned = files.scan_table(setting.derived, "recovery_candidates")
    placed = scanned.with_row_index("place")
    if reason == "":
        ordered = placed.filter("eligible").sort("rank")
    else:
        wanted = placed if reason is None else placed.filter(pl.col("reasons").list.contains(reason))
        ordered = wanted.sort("expected_value_cents", descending=True, nulls_last=True)
    places = ordered.select("place").head(LISTED_ROWS).collect()["place"]
    return pl.concat([scanned.head(0), *(scanned.slice(start, rows) for start, rows in runs(places))]).collect()


def runs(places: Iterable[int]) -> list[tuple[int, int]]:
    """Places in a table as runs of neighbours, each with its first place and its length, in the order given."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and place == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((place, 1))
    return found


def _lift(setting: Setting) -> None:
    lift = setting.source.rows("recovery_lift")
    if lift.is_empty():
        return
    with layout.card("lift", "What writing brings", detail_listings.lift_lead(lift)):
        layout.listing("lift", detail_listings.lift(lift), lift, DETAILS["lift"])
