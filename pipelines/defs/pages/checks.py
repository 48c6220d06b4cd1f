"""What must hold before figures are shown."""

from __future__ import annotations

import re

import polars as pl

from pipelines.defs.checking import invariant
from pipelines.defs.shop import Shop

ROUNDING = 1e-12
MAIL_BYTES = 1_000_000
LOADS = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//""")


@invariant("headline")
def rates_are_their_parts(shop: Shop) -> pl.DataFrame:
    """Every rate is its part over its whole, and lies within 0 and 1."""
    rates = shop.table("headline").filter(pl.col("unit") == "ratio", pl.col("whole") > 0)
    off = (pl.col("value") - pl.col("part") / pl.col("whole")).abs() > ROUNDING
    return rates.filter(off | ~pl.col("value").is_between(0, 1))


@invariant("headline")
def figures_are_of_one_moment(shop: Shop) -> pl.DataFrame:
    """The tables behind the headline are as of one moment."""
    names = ("cart_cohorts", "abandonment_daily", "recovery_candidates", "headline")
    told = pl.DataFrame({"table": names, "as_of": [shop.notes(name).get("as_of") for name in names]})
    return told.filter(pl.col("as_of").n_unique() > 1)


@invariant("weekly_report")
def reports_fit_a_mail(shop: Shop) -> pl.DataFrame:
    """Every weekly report is below a megabyte and loads nothing from anywhere."""
    found = sorted((shop.folder / "reports").glob("*.html"))
    told = pl.DataFrame(
        [(path.name, path.stat().st_size, len(LOADS.findall(path.read_text("utf-8")))) for path in found],
        schema={"file": pl.String, "size_bytes": pl.Int64, "loads": pl.Int64},
        orient="row",
    )
    return told.filter((pl.col("size_bytes") >= MAIL_BYTES) | (pl.col("loads") > 0))
