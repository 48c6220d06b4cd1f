"""Coupons: what shoppers take out once a coupon has left their cart, against two baselines."""

from __future__ import annotations

import polars as pl

from pipelines.dashboard import detail_charts, detail_listings, layout, sections, words
from pipelines.dashboard.definitions import DETAILS, SECTIONS
from pipelines.dashboard.layout import Drawing
from pipelines.dashboard.setting import Setting

SHOWN_COUPONS = 15


def show(setting: Setting) -> None:
    """The coupons that left most carts, for one reason why they left."""
    effects = setting.source.rows("coupon_effects")
    layout.head(
        "Coupons",
        "What shoppers take out of their carts after a coupon has left, and what a day more would be worth.",
        f"As of {words.moment(setting.source.as_of)}",
    )
    if effects.is_empty():
        layout.empty("No coupon has left a cart yet, with the time after it over.")
        return
    with layout.filters():
        reasons = {words.words(reason): reason for reason in effects["reason"].unique().sort()}
        reason = reasons[layout.one_of("Left because", list(reasons), "reason")]
    mine = effects.filter(pl.col("reason") == reason).sort("removals", "coupon_code", descending=[True, False])
    top = mine.head(SHOWN_COUPONS)
    with layout.card("rates", "Lines taken out", sections.coupons_lead(effects)):
        label = "Lines removed per cart after each coupon left, before it left, and in carts that kept theirs"
        layout.chart(
            setting,
            Drawing("coupon-rates", top, detail_charts.coupon_rates, label, SECTIONS["coupons"], "coupon_effects"),
        )
    with layout.card(
        "worth", "What a day more would be worth", "Value kept in carts, less the discount it would cost."
    ):
        layout.listing("coupons", detail_listings.coupon_worth(top), mine, DETAILS["worth"])
