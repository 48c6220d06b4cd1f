"""Experiments: what each says in words, its effects, the band that may be looked at every day, and its split."""

from __future__ import annotations

import polars as pl

from pipelines.dashboard import charts, detail_charts, detail_listings, layout, listings, page, sections, words
from pipelines.dashboard.definitions import DETAILS, SECTIONS
from pipelines.dashboard.layout import Drawing
from pipelines.dashboard.setting import Setting


def show(setting: Setting) -> None:
    """One experiment and arm: verdict, split, effects, guardrails, raw beside CUPED, and day by day."""
    source = setting.source
    results = source.rows("experiment_results").filter(pl.col("segment") == "all")
    layout.head(
        "Experiments", "What each variant did, and how sure that is.", f"As of {words.moment(source.as_of)}"
    )  # fmt: skip
    if results.is_empty():
        layout.empty(
            "No experiment has results yet: none is declared, or nobody has been exposed.",
            "cart --store STORE refresh --table experiment_results",
        )
        return
    with layout.filters():
        names = results["experiment"].unique(maintain_order=True).to_list()
        experiment = layout.one_of("Experiment", names, "experiment")
        mine = results.filter(pl.col("experiment") == experiment)
        arm = layout.one_of("Arm", mine["arm"].unique(maintain_order=True).to_list(), "arm")
    mine = mine.filter(pl.col("arm") == arm)
    _verdict(setting, experiment, mine)
    _effects(setting, experiment, arm, mine)
    _guardrails(mine)
    _adjusted(setting, mine)
    _band(setting, experiment, arm)


def _verdict(setting: Setting, experiment: str, mine: pl.DataFrame) -> None:
    arms = setting.source.rows("experiment_srm").filter(pl.col("experiment") == experiment)
    with layout.card("verdict", words.words(experiment), detail_listings.maturity(mine)):
        layout.html(sections.verdicts(mine, arms))
        if arms.height:
            told = page.part("Was it split as planned?", f"<p>{page.text(detail_listings.split_told(arms))}</p>")
            layout.listing("split", told + listings.arms(arms), arms, DETAILS["srm"])


def _effects(setting: Setting, experiment: str, arm: str, mine: pl.DataFrame) -> None:
    best = sections.best(mine).filter(pl.col("effect_rel").is_not_null())
    label = sections.effects_label(experiment, arm, best)
    with layout.card("effects", "Effects", "Relative to control, with 95 % intervals; grey ones may be nothing."):
        layout.chart(
            setting,
            Drawing("effects", best, charts.effects, label, SECTIONS["experiments"], "experiment_results"),
        )


def _guardrails(mine: pl.DataFrame) -> None:
    guards = sections.best(mine.filter(pl.col("role") == "guardrail"))
    if guards.is_empty():
        return
    with layout.card("guardrails", "Guardrails", "What must not get worse by more than its margin."):
        layout.listing("guardrails", detail_listings.guardrails(guards), guards, DETAILS["guardrails"])


def _adjusted(setting: Setting, mine: pl.DataFrame) -> None:
    both = mine.filter(pl.col("metric").is_in(mine.filter(pl.col("adjusted") == "CUPED")["metric"].implode()))
    with layout.card(
        "adjusted", "Raw beside CUPED", "CUPED takes out what shoppers already did before they were exposed."
    ):
        if both.height:
            named = both.with_columns(pl.format("{} ({})", pl.col("metric"), pl.col("adjusted")).alias("metric"))
            label = "Relative effect of each metric, raw and adjusted"
            layout.chart(
                setting,
                Drawing("raw-beside-cuped", named, charts.effects, label, DETAILS["cuped"], "experiment_results"),
            )
        layout.listing("all-effects", detail_listings.effects(mine), mine, SECTIONS["experiments"])


def _band(setting: Setting, experiment: str, arm: str) -> None:
    daily = setting.source.rows("experiment_daily").filter(
        (pl.col("experiment") == experiment) & (pl.col("arm") == arm) & pl.col("effect_abs").is_not_null()
    )
    if daily.is_empty():
        return
    with layout.card("band", "Day by day, safe to look at", detail_listings.band_lead(daily)):
        metrics = {words.words(metric): metric for metric in daily["metric"].unique(maintain_order=True)}
        metric = metrics[layout.one_of("Metric", list(metrics), "metric")]
        chosen = daily.filter(pl.col("metric") == metric)
        label = f"Difference in {metric} between {arm} and control at the end of each day, with two bands"
        layout.chart(
            setting, Drawing("effect-by-day", chosen, detail_charts.band, label, DETAILS["band"], "experiment_daily")
        )
