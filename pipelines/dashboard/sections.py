"""The sections of the report, each from one or two tables; a section whose tables were never derived is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.dashboard import charts, listings, page, words
from pipelines.dashboard.definitions import FIGURES, REASONS, SECTIONS, Figure
from pipelines.dashboard.source import Source

EXCLUDED = "excluded_"
LEAST_DAYS = 2
SHOWN_FIGURES = (
    "carts",
    "orders",
    "checkout_rate",
    "abandonment_rate",
    "recovery_rate",
    "open_value",
    "eligible",
    "expected_value",
)


def headline(source: Source) -> dict[str, dict[str, Any]]:
    """The headline figures by name; none where they were never derived."""
    return {row["figure"]: row for row in source.rows("headline").iter_rows(named=True)}


def figures(source: Source) -> str:
    """The few figures that the page opens with."""
    found = headline(source)
    tiles = [_figure(FIGURES[name], found[name]) for name in SHOWN_FIGURES if name in found]
    return f'<section class="figures" aria-label="Headline figures">{"".join(tiles)}</section>' if tiles else ""


def funnel(source: Source) -> str:
    """How far shoppers get, and where they are lost."""
    steps = source.rows("funnel_steps").filter(
        (pl.col("funnel") == "user") & (pl.col("breakdown") == "all") & (pl.col("entered").max() > 0)
    )
    if steps.is_empty():
        return ""
    rows = steps.sort("step_index").to_dicts()
    label = "Funnel. " + "; ".join(
        f"{words.words(row['step'])}: {words.count(row['converted'])}, {words.share(row['rate'])} of all"
        for row in rows
    )
    drawn = page.chart(lambda palette, width: charts.funnel_steps(steps, palette, width), "funnel", label)
    body = drawn + f"<details><summary>The same as a table</summary>{listings.steps(steps)}</details>"
    return page.section("funnel", _funnel_title(rows), _funnel_lead(rows), body, SECTIONS["funnel"])


def trend(source: Source) -> str:
    """How far each day's attempts got."""
    daily = source.rows("funnel_daily")
    if daily["date"].n_unique() < LEAST_DAYS:
        return ""
    label = f"Share of each day's attempts that reached each step, {_days(daily)}; days whose window is open are hollow"
    body = page.chart(lambda palette, width: charts.daily_rates(daily, palette, width), "trend", label)
    pending = daily.filter(~pl.col("mature"))["date"].n_unique()
    lead = f"The last {pending} days may still rise: their windows are open." if pending else "All days are settled."
    return page.section("trend", "Day by day", lead, body, SECTIONS["trend"])


def abandonment(source: Source) -> str:
    """When carts go silent, where, and what becomes of them."""
    daily, hourly = source.one_definition("abandonment_daily"), source.one_definition("abandonment_hourly")
    if daily.is_empty():
        return ""
    by_day = page.chart(
        lambda palette, width: charts.outcomes_by_day(daily, palette, width),
        "outcomes",
        f"Carts that went silent per day by what became of them, {_days(daily)}; undecided ones are pale",
    )
    by_hour = page.chart(
        lambda palette, width: charts.week(hourly, palette, width),
        "week",
        "Hours of the week in which carts went silent; darker is more",
        width=page.HALF_PX,
    )
    by_stage = page.chart(
        lambda palette, width: charts.outcomes_by_stage(daily, palette, width),
        "stages",
        "What became of carts left in the cart and of those left in the checkout",
        width=page.HALF_PX,
    )
    halves = page.side_by_side(
        page.part("At which hour (darker is more)", by_hour), page.part("Where they were left", by_stage)
    )
    rate = headline(source).get("recovery_rate", {})
    lead = ""
    if rate.get("value") is not None:
        decided = words.count(rate["whole"])
        lead = f"Of {decided} silences that are decided, {words.share(rate['value'])} ended in a checkout."
    return page.section("abandonment", "When carts go silent", lead, by_day + halves, SECTIONS["abandonment"])


def recovery(source: Source) -> str:
    """Whom to write to, about what, and who is left alone for which reason."""
    found, candidates = headline(source), source.rows("recovery_candidates")
    if "eligible" not in found:
        return ""
    eligible = found["eligible"]["value"]
    body = listings.candidates(candidates) if eligible else page.empty("Nobody may be written to at the moment.")
    excluded = [
        (words.words(reason), words.count(row["value"]), REASONS.get(reason, ""))
        for name, row in found.items()
        if name.startswith(EXCLUDED) and (reason := name.removeprefix(EXCLUDED))
    ]
    if excluded:
        table = listings.counts(excluded, ("Left alone because", "Carts"), name="Why carts are left alone")
        body += f"<details open><summary>Who is left alone, and why</summary>{table}</details>"
    lead = (
        f"{words.count(eligible)} of {words.count(found['open_episodes']['value'])} silent carts may be written about; "
        "these promise most."
    )
    return page.section("recovery", "Whom to write to", lead, body, SECTIONS["recovery"])


def coupons(source: Source) -> str:
    """What shoppers take out of their carts after a coupon has left."""
    effects = source.rows("coupon_effects")
    if effects.is_empty():
        return ""
    expired = sum(effects.filter(pl.col("reason") == "expired")["removals"].to_list())
    lead = f"Coupons expired in {words.count(expired)} carts; what shoppers took out afterwards, against two baselines."
    return page.section("coupons", "When a coupon ends", lead, listings.coupons(effects), SECTIONS["coupons"])


def experiments(source: Source) -> str:
    """What each experiment says in words, the effects with their intervals, and whether the split can be trusted."""
    results = source.rows("experiment_results").filter(pl.col("segment") == "all")
    parts = [
        _experiment(name, results.filter(pl.col("experiment") == name), source.rows("experiment_srm"))
        for name in results["experiment"].unique(maintain_order=True)
    ]
    return page.section("experiments", "Experiments", "", "".join(parts), SECTIONS["experiments"]) if parts else ""


def freshness(source: Source) -> str:
    """Which tables there are, how many rows they have, and how much of the history they have seen."""
    rows = source.freshness()
    body = f"<details><summary>All {len(rows)} tables</summary>{listings.freshness(rows)}</details>"
    newest = max((row["position"] for row in rows if row["position"] is not None), default=None)
    lead = f"Derived from {words.count(newest)} events, as of {words.moment(source.as_of)}."
    return page.section("freshness", "How fresh this is", lead, body, SECTIONS["freshness"])


def _figure(told: Figure, row: Mapping[str, Any]) -> str:
    of = f"{words.count(row['part'])} of {words.count(row['whole'])}" if row["unit"] == "ratio" else ""
    return page.figure(told.title, _written(row), of, told.meaning)


def _written(row: Mapping[str, Any]) -> str:
    if row["unit"] == "cents":
        return words.large_money(row["value"], row["currency"])
    return words.share(row["value"]) if row["unit"] == "ratio" else words.count(row["value"])


def _funnel_title(rows: list[dict[str, Any]]) -> str:
    return f"{words.share(rows[-1]['rate'])} of shoppers get from {rows[0]['step']} to {rows[-1]['step']}"


def _funnel_lead(rows: list[dict[str, Any]]) -> str:
    at = min(range(1, len(rows)), key=lambda place: rows[place]["step_rate"] or 1)
    rate = rows[at]["step_rate"]
    if rate is None:
        return ""
    lost = words.share(1 - rate)
    return f"The steepest drop is from {rows[at - 1]['step']} to {rows[at]['step']}: {lost} do not take that step."


def _experiment(name: str, results: pl.DataFrame, split: pl.DataFrame) -> str:
    arms = split.filter(pl.col("experiment") == name)
    alarm = bool(arms["alarm"].fill_null(value=False).any())
    deciding = _best(results.filter(pl.col("role") == "primary"))["verdict"].unique(maintain_order=True)
    told = "".join(f'<p class="verdict{" alarm" if alarm else ""}">{page.text(verdict)}</p>' for verdict in deciding)
    body = told + "".join(_arm(name, arm, results) for arm in results["arm"].unique(maintain_order=True))
    return page.part(words.words(name), body + (listings.arms(arms) if arms.height else ""))


def _best(results: pl.DataFrame) -> pl.DataFrame:
    """One row per arm and metric: CUPED where there is one, else the raw effect."""
    placed = results.with_row_index("place").sort(pl.col("adjusted") != "CUPED", maintain_order=True)
    return placed.unique(["arm", "metric"], keep="first", maintain_order=True).sort("place").drop("place")


def _arm(experiment: str, arm: str, results: pl.DataFrame) -> str:
    best = _best(results.filter((pl.col("arm") == arm) & pl.col("effect_rel").is_not_null()))
    if best.is_empty():
        return page.empty(f"Arm {arm} has no effect to show yet.")
    label = f"Relative effect of {arm} in {experiment}: " + "; ".join(
        f"{words.words(row['metric'])} {words.change(row['effect_rel'])}" for row in best.iter_rows(named=True)
    )
    name = f"effects-{page.slug(experiment)}-{page.slug(arm)}"
    return page.chart(lambda palette, width: charts.effects(best, palette, width), name, label)


def _days(frame: pl.DataFrame) -> str:
    return f"{words.day(frame['date'].min())} to {words.day(frame['date'].max())}"  # type: ignore[arg-type]
