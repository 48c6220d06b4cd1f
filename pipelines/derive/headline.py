"""The few figures that a page opens with, each from the table that defines it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipelines.tables.headline import HEADLINE


@dataclass(frozen=True, slots=True)
class Sources:
    """The derived tables that headline figures are taken from, all as of one moment."""

    carts: pl.DataFrame
    cohorts: pl.DataFrame
    daily: pl.DataFrame
    candidates: pl.DataFrame


def headline(sources: Sources, *, idle_s: int) -> pl.DataFrame:
    """Counts, sums and rates of the whole shop under one definition of silence, a row each, in reading order.

    Rates count only what is mature: cohorts and episodes whose window is over. Sums of money are those of the
    currency that most carts have; carts in others are counted but not summed. Columns as ``TABLES["headline"]``.
    """
    carts, candidates = sources.carts, sources.candidates
    cohorts = sources.cohorts.filter(pl.col("idle_s") == idle_s)
    daily = sources.daily.filter(pl.col("idle_s") == idle_s)
    settled = cohorts.filter("mature")
    currency = main_currency(carts)
    in_currency = pl.col("currency") == pl.lit(currency, pl.String)
    orders = carts.filter(pl.col("status") == "checked_out")
    open_now = candidates.filter(in_currency)
    eligible = open_now.filter("eligible")
    rows = [
        _count("carts", _sum(cohorts, "carts")),
        _count("orders", orders.height),
        _cents("revenue", _sum(orders.filter(in_currency), "charged_total_cents"), currency),
        _ratio("checkout_rate", _sum(settled, "checked_out"), _sum(settled, "carts")),
        _ratio("abandonment_rate", _sum(settled, "abandoned"), _sum(settled, "carts")),
        _ratio("recovery_rate", _sum(daily, "recovered"), _sum(daily, "mature")),
        _count("open_episodes", candidates.height),
        _cents("open_value", _sum(open_now, "value_cents"), currency),
        _count("eligible", _sum(candidates, "eligible")),
        _cents("eligible_value", _sum(eligible, "value_cents"), currency),
        _cents("expected_value", _sum(eligible, "expected_value_cents"), currency),
        *_excluded(candidates),
    ]
    return pl.DataFrame(rows, schema=HEADLINE.schema, orient="row", strict=False)


def main_currency(carts: pl.DataFrame) -> str | None:
    """The currency that most carts have; of equals the first by name; None where no cart has one."""
    counted = carts.drop_nulls("currency").group_by("currency").len()
    names = counted.sort(["len", "currency"], descending=[True, False])["currency"]
    return names[0] if len(names) else None


Row = tuple[str, str, float | None, float | None, float | None, str | None]


def _sum(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].sum())


def _count(figure: str, value: float) -> Row:
    return figure, "count", value, None, None, None


def _cents(figure: str, value: float, currency: str | None) -> Row:
    return figure, "cents", value, None, None, currency


def _ratio(figure: str, part: float, whole: float) -> Row:
    return figure, "ratio", part / whole if whole else None, part, whole, None


def _excluded(candidates: pl.DataFrame) -> list[Row]:
    counted = candidates.select(pl.col("reasons").explode(empty_as_null=False)).group_by("reasons").len()
    ordered = counted.sort(["len", "reasons"], descending=[True, False])
    return [_count(f"excluded_{reason}", number) for reason, number in ordered.iter_rows()]
