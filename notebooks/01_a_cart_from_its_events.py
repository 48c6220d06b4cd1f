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
# # A cart from its events
#
# A cart is the fold of its events. This notebook makes a small shop, follows one cart through its life, looks at what a
# price was when the shopper added the item, and ends with the shop's funnel.

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
from cart_core.projector import fold
from cart_core.simulator import simulate
from pipelines.derive.abandonment import episodes
from pipelines.derive.shop_funnels import funnel_steps

alt.renderers.enable("png")
folder = Path(tempfile.mkdtemp())
simulate(folder / "shop", carts=400, days=14, seed=7)
store = CartStore.open(folder / "store")
import_files(store, "parquet", [str(folder / "shop" / "events.parquet")]).to_json()

# %% [markdown]
# ## One cart's life
#
# We take the cart whose prices changed most while it was open.

# %%
events = store.scan().collect()
changed = events.filter(pl.col("type") == "PriceUpdated").group_by("cart_id").len().sort("len", "cart_id")
history = store.read(UUID(bytes=changed["cart_id"][-1]))
pl.DataFrame(
    [
        {
            "version": each.version,
            "at": each.timestamp,
            "event": each.event.type,
            "what": ", ".join(f"{name} {value}" for name, value in each.event.to_json().items() if name != "type"),
        }
        for each in history
    ]
)

# %% [markdown]
# Folding its first events gives the cart as it was then; folding all of them, as it is now.

# %%
pl.DataFrame(
    [
        {"version": version, "status": state.status, "units": state.unit_count, "total_cents": state.total_cents}
        for version in range(1, len(history) + 1)
        if (state := fold(history[:version]))
    ]
)

# %% [markdown]
# ## What a price was, and when

# %%
product = next(each.event.product_id for each in history if each.event.type == "PriceUpdated")
prices = pl.DataFrame(price_history(history, product)["priceHistory"], infer_schema_length=None)
prices

# %%
known = prices.drop_nulls("priceCents").with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC"))
alt.Chart(known, title=f"Price of {product} in this cart").mark_line(interpolate="step-after", point=True).encode(
    alt.X("timestamp:T", title=None), alt.Y("priceCents:Q", title="cents", scale=alt.Scale(zero=False))
).properties(width=520, height=200)

# %% [markdown]
# ## Where carts were left

# %%
as_of = events["timestamp"].max() + timedelta(days=1)
episodes(events, as_of=as_of, idle=timedelta(minutes=60)).group_by("stage", "outcome").len().sort("stage", "outcome")

# %% [markdown]
# ## How far shoppers get

# %%
views = pl.scan_parquet(folder / "shop" / "views.parquet")
steps = funnel_steps(events, views, as_of).filter(pl.col("funnel") == "user", pl.col("breakdown") == "all")
steps.select("step", "entered", "converted", "rate", "step_rate", "median_s")

# %%
alt.Chart(steps, title="Shoppers who got this far").mark_bar().encode(
    alt.X("converted:Q", title=None), alt.Y("step:N", sort=None, title=None)
).properties(width=520, height=140)
