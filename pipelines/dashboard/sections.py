"""The sections of the report, each from one or two tables; a section whose tables were never derived is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    "revenue",
    "checkout_rate",
    "abandonment_rate",
    "recovery_rate",
    "open_value",
    "expected_value",
)


def headline(source: Source) -> dict[str, dict[str, Any]]:
    """The headline figures by name; none where they were never derived."""
    return {row["figure"]: row for row in source.rows("headline").iter_rows(named=True)}


def lead(source: Source) -> str:
    """The state of the shop in two sentences."""
    found = headline(source)
    if not found:
        return "Nothing has been derived yet."
    lying = found["open_value"]
    return (
        f"{words.count(found['carts']['value'])} carts led to {words.count(found['orders']['value'])} orders. "
        f"{words.count(found['open_episodes']['value'])} carts are silent now; "
        f"{words.large_money(lying['value'], lying['currency'])} lies in them."
    )


def figures(source: Source, more: Callable[[str], str] | None = None) -> str:
    """The few figures that the page opens with; ``more`` gives what else stands below a figure of that name."""
    found = headline(source)
    tiles = [_figure(FIGURES[name], found[name], more(name) if more else "") for name in SHOWN_FIGURES if name in found]
    return f'<section class="figures" aria-label="Headline figures">{"".join(tiles)}</section>' if tiles else ""


def funnel(source: Source) -> str:
    """How far shoppers get, and where they are lost."""
    steps = source.rows("funnel_steps").filter(
        (pl.col("funnel") == "user") & (pl.col("breakdown") == "all") & (pl.col("entered").max() > 0)
    )
    if steps.is_empty():
        return ""
    rows = steps.sort("step_index").to_dicts()
    drawn = page.chart(lambda palette, width: charts.funnel_steps(steps, palette, width), "funnel", funnel_label(rows))
    body = drawn + f"<details><summary>The same as a table</summary>{listings.steps(steps)}</details>"
    return page.section("funnel", funnel_title(rows), funnel_lead(rows), body, SECTIONS["funnel"])


def trend(source: Source) -> str:
    """How far each day's attempts got."""
    daily = source.rows("funnel_daily")
    if daily["date"].n_unique() < LEAST_DAYS:
        return ""
    label = f"Share of each day's attempts that reached each step, {days(daily)}; days whose window is open are hollow"
    body = page.chart(lambda palette, width: charts.daily_rates(daily, palette, width), "trend", label)
    return page.section("trend", "Day by day", trend_lead(daily), body, SECTIONS["trend"])


def trend_lead(daily: pl.DataFrame) -> str:
    """How many of the days may still change."""
    pending = daily.filter(~pl.col("mature"))["date"].n_unique()
    return f"The last {pending} days may still rise: their windows are open." if pending else "All days are settled."


def abandonment(source: Source) -> str:
    """When carts go silent, where, and what becomes of them."""
    daily, hourly = source.one_definition("abandonment_daily"), source.one_definition("abandonment_hourly")
    if daily.is_empty():
        return ""
    by_day = page.chart(
        lambda palette, width: charts.outcomes_by_day(daily, palette, width),
        "outcomes",
        f"Carts that went silent per day by what became of them, {days(daily)}; undecided ones are pale",
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
    return page.section(
        "abandonment", "When carts go silent", decided(source), by_day + halves, SECTIONS["abandonment"]
    )


def decided(source: Source) -> str:
    """How many silences are decided, and what share of them ended in a checkout; nothing where none is."""
    rate = headline(source).get("recovery_rate", {})
    if rate.get("value") is None:
        return ""
    return (
        f"Of {words.count(rate['whole'])} silences that are decided, {words.share(rate['value'])} ended in a checkout."
    )


def recovery(source: Source) -> str:
    """Whom to write to, about what, and who is left alone for which reason."""
    found, candidates = headline(source), source.rows("recovery_candidates")
    if "eligible" not in found:
        return ""
    eligible = found["eligible"]["value"]
    body = listings.candidates(candidates) if eligible else page.empty("Nobody may be written to at the moment.")
    table = left_alone(source)
    if table:
        body += f"<details open><summary>Who is left alone, and why</summary>{table}</details>"
    return page.section("recovery", "Whom to write to", recovery_lead(source), body, SECTIONS["recovery"])


def excluded(source: Source) -> dict[str, float]:
    """The reasons for which silent carts are left alone, each with how many; most frequent first."""
    found = headline(source)
    return {name.removeprefix(EXCLUDED): row["value"] for name, row in found.items() if name.startswith(EXCLUDED)}


def left_alone(source: Source) -> str:
    """The same as a table, with what each reason means; nothing where none is left alone."""
    told = [
        (words.words(name), words.count(number), REASONS.get(name, "")) for name, number in excluded(source).items()
    ]
    return listings.counts(told, ("Left alone because", "Carts"), name="Why carts are left alone") if told else ""


def recovery_lead(source: Source) -> str:
    """How many of the silent carts may be written about."""
    found = headline(source)
    eligible, silent = (words.count(found[name]["value"]) for name in ("eligible", "open_episodes"))
    return f"{eligible} of {silent} silent carts may be written about; these promise most."


def coupons(source: Source) -> str:
    """What shoppers take out of their carts after a coupon has left."""
    effects = source.rows("coupon_effects")
    if effects.is_empty():
        return ""
    body = listings.coupons(effects)
    return page.section("coupons", "When a coupon ends", coupons_lead(effects), body, SECTIONS["coupons"])


def coupons_lead(effects: pl.DataFrame) -> str:
    """In how many carts a coupon expired."""
    expired = sum(effects.filter(pl.col("reason") == "expired")["removals"].to_list())
    return f"Coupons expired in {words.count(expired)} carts; what shoppers took out afterwards, against two baselines."


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


def _figure(told: Figure, row: Mapping[str, Any], more: str) -> str:
    of = f"{words.count(row['part'])} of {words.count(row['whole'])}" if row["unit"] == "ratio" else ""
    return page.figure(told.title, _written(row), of, told.meaning, more)


def _written(row: Mapping[str, Any]) -> str:
    if row["unit"] == "cents":
        return words.large_money(row["value"], row["currency"])
    return words.share(row["value"]) if row["unit"] == "ratio" else words.count(row["value"])


def funnel_title(rows: list[dict[str, Any]], who: str = "shoppers") -> str:
    """What share gets from the first step to the last, given the steps in order."""
    return f"{words.share(rows[-1]['rate'])} of {who} get from {rows[0]['step']} to {rows[-1]['step']}"


def funnel_lead(rows: list[dict[str, Any]]) -> str:
    """Which step loses the largest share of those who came to it."""
    at = min(range(1, len(rows)), key=lambda place: rows[place]["step_rate"] or 1)
    rate = rows[at]["step_rate"]
    if rate is None:
        return ""
    lost = words.share(1 - rate)
    return f"The steepest drop is from {rows[at - 1]['step']} to {rows[at]['step']}: {lost} do not take that step."


def funnel_label(rows: list[dict[str, Any]]) -> str:
    """The drawing of a funnel, read out."""
    return "Funnel. " + "; ".join(
        f"{words.words(row['step'])}: {words.count(row['converted'])}, {words.share(row['rate'])} of all"
        for row in rows
    )


def _experiment(name: str, results: pl.DataFrame, split: pl.DataFrame) -> str:
    arms = split.filter(pl.col("experiment") == name)
    body = verdicts(results, arms)
    body += "".join(_arm(name, arm, results) for arm in results["arm"].unique(maintain_order=True))
    return page.part(words.words(name), body + (listings.arms(arms) if arms.height else ""))


def verdicts(results: pl.DataFrame, arms: pl.DataFrame) -> str:
    """What an experiment says of its primary metric, marked where its split went wrong."""
    alarm = bool(arms["alarm"].fill_null(value=False).any())
    deciding = best(results.filter(pl.col("role") == "primary"))["verdict"].unique(maintain_order=True)
    return "".join(f'<p class="verdict{" alarm" if alarm else ""}">{page.text(verdict)}</p>' for verdict in deciding)


def best(results: pl.DataFrame) -> pl.DataFrame:
    """One row per arm and metric: CUPED where there is one, else the raw effect."""
    placed = results.with_row_index("place").sort(pl.col("adjusted") != "CUPED", maintain_order=True)
    return placed.unique(["arm", "metric"], keep="first", maintain_order=True).sort("place").drop("place")


def _arm(experiment: str, arm: str, results: pl.DataFrame) -> str:
    shown = best(results.filter((pl.col("arm") == arm) & pl.col("effect_rel").is_not_null()))
    if shown.is_empty():
        return page.empty(f"Arm {arm} has no effect to show yet.")
    name = f"effects-{page.slug(experiment)}-{page.slug(arm)}"
    label = effects_label(experiment, arm, shown)
    return page.chart(lambda palette, width: charts.effects(shown, palette, width), name, label)


def effects_label(experiment: str, arm: str, shown: pl.DataFrame) -> str:
    """The drawing of effects, read out."""
    return f"Relative effect of {arm} in {experiment}: " + "; ".join(
        f"{words.words(row['metric'])} {words.change(row['effect_rel'])}" for row in shown.iter_rows(named=True)
    )


def days(frame: pl.DataFrame) -> str:
    """From which day to which a table with the column date goes, in words."""
    if frame.is_empty():
        return "no day"
    return f"{words.day(frame['date'].min())} to {words.day(frame['date'].max())}"  # type: ignore[arg-type]
