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
# # What if?
#
# A history can be played again under another rule: had the coupon lasted a day longer, had the price not risen, did an
# hour's silence not count as abandoned but two. Shoppers act as they did; only what the shop did is changed. So the
# answers are about bills and definitions, not about minds: for those one needs an experiment.

# %%
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import altair as alt
import polars as pl

from cart_core import CartStore
from cart_core.ingest import import_files
from cart_core.prices import price_history
from cart_core.simulator import simulate
from pipelines.derive.whatif import coupon_ends, idle_of, price_updates_ignored, what_if

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
folder = Path(tempfile.mkdtemp())
simulate(folder / "shop", carts=3_000, days=28, seed=14)
store = CartStore.open(folder / "store")
import_files(store, "parquet", [str(folder / "shop" / "events.parquet")])
events = store.scan().collect()
end = events["timestamp"].max()

# %% [markdown]
# ## Had prices stayed as they were when shoppers added things
#
# Every `PriceUpdated` is left out, and all carts are folded again. What would bought carts have cost?

# %%
kept = what_if(events, [price_updates_ignored()], as_of=end)
bought = kept.carts.filter(pl.col("status") == "checked_out")
bought.select(
    orders=pl.len(),
    changed=(pl.col("difference_cents") != 0).sum(),
    cheaper=(pl.col("difference_cents") < 0).sum(),
    as_it_was=pl.col("total_cents").sum() / 100,
    otherwise=pl.col("total_cents_if").sum() / 100,
)

# %%
alt.Chart(
    bought.filter(pl.col("difference_cents") != 0).with_columns(pl.col("difference_cents") / 100),
    title="Orders by how much their bill would have changed",
).mark_bar().encode(
    alt.X("difference_cents:Q", bin=alt.Bin(maxbins=40), title="USD"), alt.Y("count():Q", title=None)
).properties(width=520, height=160)

# %% [markdown]
# Each difference has its reason. The cart with the largest one, and the prices of the product that moved most in it:

# %%
largest = bought.sort("difference_cents", "cart_id")["cart_id"][0]
history = store.read(UUID(largest))
moved = {
    each.event.product_id: each.event.old_price_cents - each.event.new_price_cents
    for each in history
    if each.event.type == "PriceUpdated"
}
pl.DataFrame(price_history(history, min(moved, key=moved.get))["priceHistory"], infer_schema_length=None)

# %% [markdown]
# ## Had the coupon lasted a day longer

# %%
coupons = pl.read_parquet(folder / "shop" / "coupons.parquet").filter(pl.col("ends_at") < end - timedelta(days=2))
rows = []
for code, ends_at in coupons.select("code", "ends_at").sort("ends_at").iter_rows():
    longer = what_if(events, [coupon_ends(code, ends_at + timedelta(days=1))], as_of=end).carts
    orders = longer.filter(pl.col("status") == "checked_out", pl.col("difference_cents") != 0)
    rows.append({"coupon": code, "orders": orders.height, "granted": -orders["difference_cents"].sum() / 100})
granted = pl.DataFrame(rows)
granted

# %%
alt.Chart(
    granted, title="What a day more of each coupon would have cost on orders that came all the same"
).mark_bar().encode(alt.X("granted:Q", title="USD"), alt.Y("coupon:N", title=None)).properties(width=520, height=180)

# %% [markdown]
# Shoppers who would have bought only with the coupon are not in this figure. What they did after it expired is the
# subject of *When a coupon expires*.
#
# ## Had abandonment been defined otherwise

# %%
hours = (1, 2, 4, 12, 24)
told = [
    what_if(events, [idle_of(timedelta(hours=each))], as_of=end).abandonment.with_columns(hours=pl.lit(each))
    for each in hours
]
table = pl.concat(told).select("hours", "outcome", "episodes_if").pivot("outcome", index="hours", values="episodes_if")
table

# %% [markdown]
# Rules can be combined, and a rule of one's own is a function from events to events.

# %%
both = what_if(events, [price_updates_ignored(), idle_of(timedelta(hours=4))], as_of=end)
both.abandonment
