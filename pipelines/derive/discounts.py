"""What coupons take off a sum, over whole columns, as the fold computes it."""

from __future__ import annotations

import polars as pl

from cart_core.rules import PERCENT_STEPS

STEPS = 100 * PERCENT_STEPS


def worth(whole_cents: str) -> pl.Expr:
    """What one coupon (columns discount_type, discount_value) takes off a column of cents, at most all; Int128.

    A percentage is rounded half-up to a cent.
    """
    whole, value = pl.col(whole_cents).cast(pl.Int128), pl.col("discount_value")
    steps = (value * PERCENT_STEPS).round().cast(pl.Int128)
    percentage = (whole * steps + STEPS // 2) // STEPS
    fixed = value.cast(pl.Int128)
    return pl.min_horizontal(pl.when(pl.col("discount_type") == "percentage").then(percentage).otherwise(fixed), whole)
