# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When a coupon expires
#
# A coupon that runs out makes a cart dearer while the shopper is not looking. Do shoppers then take things out again?
# And how would we know that they would not have done so anyway?

# %%
import tempfile
from pathlib import Path
from uuid import UUID

import altair as alt
import polars as pl

from cart_core import CartStore
from cart_core.display import timeline
from cart_core.ingest import import_files
from cart_core.simulator import simulate
from pipelines.derive.coupon_events import coupon_events
from pipelines.derive.coupons import coupon_effects, observed

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
folder = Path(tempfile.mkdtemp())
simulate(folder / "shop", carts=6_000, days=28, seed=12)
store = CartStore.open(folder / "store")
import_files(store, "parquet", [str(folder / "shop" / "events.parquet")])
pl.read_parquet(folder / "shop" / "coupons.parquet").head(5)

# %% [markdown]
# ## One cart
#
# Its coupon expires, and within the half hour something leaves the cart. `CouponRemoved` with the reason `expired` is
# the shop's doing; with the reason `shopper` it would be the shopper's.

# %%
events = store.scan().collect()
end = events["timestamp"].max()
happened = coupon_events(events, end)
left = observed(happened, end)
case = left.filter(pl.col("reason") == "expired", pl.col("lines_after") > 0).sort("value_after", "cart_id")["cart_id"][
    -1
]
timeline(store.read(UUID(case)))

# %% [markdown]
# ## All carts
#
# For each coupon and reason: how many lines were taken out in the half hour after (`rate_after`), against two
# comparisons. One is the same carts in the half hour before (`rate_before`). The other is carts whose coupon stayed, as
# long after it was applied (`rate_control`). Look at `control_carts` before you trust the second: in this shop nearly
# every coupon ends while carts are open, so that hardly any cart kept one.

# %%
effects = coupon_effects(events, end)
effects.filter(pl.col("reason") == "expired").select(
    "coupon_code",
    "removals",
    "lines_at_risk",
    "lines_removed",
    "rate_after",
    "rate_before",
    "rate_control",
    "control_carts",
)

# %%
rates = (
    left.group_by("reason")
    .agg(
        coupons=pl.len(),
        after=pl.col("lines_after").sum() / pl.col("after_s").sum() * 1800,
        before=pl.col("lines_before").sum() / pl.col("before_s").sum() * 1800,
    )
    .sort("reason")
)
rates

# %%
alt.Chart(
    rates.unpivot(["before", "after"], index="reason", variable_name="half hour", value_name="lines"),
    title="Lines taken out in half an hour, around the moment the coupon left",
).mark_bar().encode(
    alt.X("lines:Q", title="lines per cart"),
    alt.Y("half hour:N", sort=["before", "after"], title=None),
    alt.Row("reason:N", title=None),
).properties(width=520, height=60)

# %% [markdown]
# ## When it happens
#
# The removals stand close to the expiry. That is what a cause looks like; a habit would be spread out.

# %%
expired = happened.left.filter(pl.col("reason") == "expired").select("cart_id", "left_at")
gaps = (
    happened.taken_out.join(expired, on="cart_id")
    .with_columns(minutes=(pl.col("removed_at") - pl.col("left_at")).dt.total_seconds() / 60)
    .filter(pl.col("minutes").is_between(-120, 120))
)
alt.Chart(gaps, title="Lines taken out, by minutes from the expiry").mark_bar().encode(
    alt.X("minutes:Q", bin=alt.Bin(step=10), title="minutes"), alt.Y("count():Q", title=None)
).properties(width=520, height=160)

# %% [markdown]
# ## What it cost
#
# `value_removed_cents` is what was taken out, `discount_saved_cents` what the shop did not have to grant in carts that
# were bought within the day all the same. `excess_value_cents` counts only what goes beyond the comparison.

# %%
effects.filter(pl.col("reason") == "expired").select(
    pl.col("removals", "value_at_stake_cents", "value_removed_cents", "discount_saved_cents").sum(),
    pl.col("^excess_value_.*$").sum(),
)

# %% [markdown]
# What shoppers do after they take a coupon off themselves is another story: they have decided something. Never add the
# two together.
