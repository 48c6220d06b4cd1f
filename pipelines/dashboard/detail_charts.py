"""The charts that only the dashboard has room for: how long steps take, groups side by side, bands, coupons, prices."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from pipelines.dashboard import words
from pipelines.dashboard.charts import by_width
from pipelines.dashboard.theme import Palette

ROW_HEIGHT, LEAST_HEIGHT = 30, 60


def step_times(times: pl.DataFrame, palette: Palette, width: int) -> Any:
    """How many took how long from one step to another, a bar for each class of time."""
    told = times.sort("from_s").with_columns(
        span=pl.struct("from_s", "to_s").map_elements(lambda row: _span(row["from_s"], row["to_s"]), pl.String)
    )
    chart = alt.Chart(told).mark_bar(color=palette.good, cornerRadiusEnd=3)
    return chart.encode(
        y=alt.Y("span:N", sort=None, title=None, axis=_plain(palette)),
        x=alt.X("share:Q", title="of those who went on", axis=alt.Axis(format="%", tickCount=4)),
        tooltip=[
            alt.Tooltip("span:N", title="Took"),
            alt.Tooltip("converted:Q", title="Units", format=","),
            alt.Tooltip("share:Q", title="Share", format=".1%"),
        ],
    ).properties(width=width, height=max(LEAST_HEIGHT, ROW_HEIGHT * told.height))


def groups(steps: pl.DataFrame, palette: Palette, width: int) -> Any:
    """How far each group gets, groups in the order given: a dot for each later step at the share that reached it."""
    later = steps.filter(pl.col("step_index") > 0)
    told = later.with_columns(name=pl.col("step").map_elements(words.words, pl.String))
    names = told.sort("step_index")["name"].unique(maintain_order=True).to_list()
    base = alt.Chart(told).encode(y=alt.Y("breakdown_value:N", sort=None, title=None, axis=_plain(palette)))
    rule = base.mark_rule(color=palette.line, strokeWidth=2).encode(x="min(rate):Q", x2="max(rate):Q")
    colours = alt.Scale(domain=names, range=[palette.quiet, palette.fair, palette.good][-len(names) :])
    dot = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("rate:Q", title="of the group", axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domainMin=0)),
        color=alt.Color("name:N", scale=colours),
        tooltip=[
            alt.Tooltip("breakdown_value:N", title="Group"),
            alt.Tooltip("name:N", title="Step"),
            alt.Tooltip("converted:Q", title="Got here", format=","),
            alt.Tooltip("rate:Q", title="Share", format=".1%"),
        ],
    )
    height = max(LEAST_HEIGHT, ROW_HEIGHT * told["breakdown_value"].n_unique())
    return alt.layer(rule, dot).properties(width=width, height=height)


def band(daily: pl.DataFrame, palette: Palette, width: int) -> Any:
    """An effect day by day in two bands: the inner for one look at the end, the outer safe to look at every day."""
    axis = alt.Axis(format="%-d %b", tickCount=5, grid=False)
    told = daily.sort("date")
    base = alt.Chart(told).encode(x=alt.X("date:T", title=None, axis=axis))
    value = alt.Axis(tickCount=5)
    outer = base.mark_area(color=palette.quiet, opacity=0.35).encode(
        y=alt.Y("always_low:Q", title="arm less control", axis=value), y2="always_high:Q"
    )
    inner = base.mark_area(color=palette.good, opacity=0.25).encode(y="abs_low:Q", y2="abs_high:Q")
    tips = {"effect_abs": "Difference", "always_low": "Always-valid from", "always_high": "Always-valid to"}
    line = base.mark_line(color=palette.good, strokeWidth=2.2, point=alt.OverlayMarkDef(color=palette.good)).encode(
        y="effect_abs:Q",
        tooltip=[
            alt.Tooltip("date:T", title="At the end of", format="%-d %b %Y"),
            *(alt.Tooltip(f"{name}:Q", title=title, format=".4~r") for name, title in tips.items()),
            alt.Tooltip("always_p:Q", title="Always-valid p", format=".3f"),
        ],
    )
    zero = alt.Chart(pl.DataFrame({"y": [0.0]})).mark_rule(color=palette.ink, strokeWidth=1).encode(y="y:Q")
    return alt.layer(outer, inner, zero, line).properties(width=width, height=240)


def coupon_rates(effects: pl.DataFrame, palette: Palette, width: int) -> Any:
    """Lines removed per cart after a coupon left, before it left, and in carts that kept theirs."""
    names = {"rate_control": "carts that kept theirs", "rate_before": "the same carts before", "rate_after": "after"}
    long = effects.unpivot(list(names), index="coupon_code", variable_name="when", value_name="rate").drop_nulls("rate")
    told = long.with_columns(pl.col("when").replace(names))
    base = alt.Chart(told).encode(y=alt.Y("coupon_code:N", sort=None, title=None, axis=_plain(palette)))
    rule = base.mark_rule(color=palette.line, strokeWidth=2).encode(x="min(rate):Q", x2="max(rate):Q")
    colours = alt.Scale(domain=list(names.values()), range=[palette.quiet, palette.fair, palette.lost])
    dot = base.mark_point(filled=True, size=100, opacity=1).encode(
        x=alt.X("rate:Q", title="lines taken out per cart", axis=alt.Axis(tickCount=5), scale=alt.Scale(domainMin=0)),
        color=alt.Color("when:N", scale=colours, legend=alt.Legend(columns=by_width(2, 3))),
        tooltip=[
            alt.Tooltip("coupon_code:N", title="Coupon"),
            alt.Tooltip("when:N", title="When"),
            alt.Tooltip("rate:Q", title="Lines per cart", format=".2f"),
        ],
    )
    height = max(LEAST_HEIGHT, ROW_HEIGHT * effects["coupon_code"].n_unique())
    return alt.layer(rule, dot).properties(width=width, height=height)


def prices(points: pl.DataFrame, palette: Palette, width: int) -> Any:
    """What each product cost in a cart over time, a step line each (columns at, product, price)."""
    axis = alt.Axis(tickCount=5, grid=False, labelOverlap=True)
    base = alt.Chart(points.sort("product", "at")).encode(
        x=alt.X("at:T", title=None, axis=axis, scale=alt.Scale(type="utc")),
        y=alt.Y("price:Q", title="price of one", axis=alt.Axis(tickCount=4), scale=alt.Scale(zero=False)),
        color=alt.Color(
            "product:N",
            scale=alt.Scale(range=[palette.good, palette.lost, palette.fair, palette.muted, palette.quiet]),
            legend=alt.Legend(columns=2, labelLimit=150),
        ),
        tooltip=[
            alt.Tooltip("product:N", title="Product"),
            alt.Tooltip("utcyearmonthdatehoursminutes(at):T", title="At (UTC)"),
            alt.Tooltip("price:Q", title="Price", format=",.2f"),
        ],
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=2)
    return alt.layer(line, base.mark_point(filled=True, size=50)).properties(width=width, height=220)


def _plain(palette: Palette) -> alt.Axis:
    return alt.Axis(ticks=False, domain=False, labelColor=palette.ink, labelPadding=12)


def _span(from_s: float, to_s: float) -> str:
    if to_s == float("inf"):
        return f"{words.span(from_s)} or more"
    return f"under {words.span(to_s)}" if from_s == 0 else f"{words.span(from_s)} to {words.span(to_s)}"
