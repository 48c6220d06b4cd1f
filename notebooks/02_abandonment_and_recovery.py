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
# # Abandonment and recovery
#
# When is a cart abandoned, what becomes of it, whom would we write to, and did writing help? The last question is the
# one that reminder mails usually get wrong: many shoppers come back by themselves.

# %%
import tempfile
from datetime import timedelta
from pathlib import Path

import altair as alt
import polars as pl

from cart_core import CartStore
from cart_core.ingest import import_files
from cart_core.simulator import simulate
from pipelines.derive.abandonment import episodes
from pipelines.derive.recovery import Inputs, candidates, orders
from pipelines.derive.recovery_outcomes import assignments, lift, outcomes
from pipelines.derive.recovery_policy import Policy

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
folder = Path(tempfile.mkdtemp())
truth = simulate(folder / "shop", carts=3_000, days=28, seed=11)
store = CartStore.open(folder / "store")
import_files(store, "parquet", [str(folder / "shop" / "events.parquet")]).to_json()

# %% [markdown]
# ## Episodes
#
# An episode opens when a cart that holds something has been silent for an hour. It is *recovered* if the cart is bought
# within seven days, *resumed* if the shopper does anything else in it, and *lost* once the seven days are over. Until
# then it is *open*: it is too early to count it as lost.

# %%
events = store.scan().collect()
end = events["timestamp"].max()
found = episodes(events, as_of=end)
found.group_by("stage", "outcome").agg(episodes=pl.len(), value=pl.col("value_cents").sum() / 100).sort(
    "stage", "outcome"
)

# %% [markdown]
# The simulated shop knows the truth about itself: the same counts.

# %%
truth.episodes

# %% [markdown]
# ## How the hour was chosen
#
# A shorter silence finds more episodes, but more of those shoppers were only having a cup of tea. One pass over the
# events tries several.

# %%
spans = [timedelta(minutes=minutes) for minutes in (15, 30, 60, 120, 240, 480, 1440)]
closed = episodes(events, as_of=end, idle=spans).filter(pl.col("outcome") != "open")
back = closed.group_by("idle_s").agg(
    episodes=pl.len(), came_back=pl.col("outcome").is_in(["resumed", "recovered"]).mean()
)
back.sort("idle_s")

# %%
alt.Chart(back.with_columns(minutes=pl.col("idle_s") / 60), title="Shoppers who came back by themselves").mark_line(
    point=True
).encode(
    alt.X("minutes:Q", scale=alt.Scale(type="log"), title="minutes of silence that count as abandoned"),
    alt.Y("came_back:Q", axis=alt.Axis(format="%"), title=None),
).properties(width=520, height=200)

# %% [markdown]
# ## Whom to write to
#
# We stand ten days before the end. Every open episode is listed, also those that nobody should write to, with every
# reason against it. Nothing is dropped silently. A fifth of the shoppers is held out: they would be written to, but are
# not, so that there is something to compare with.

# %%
inputs = Inputs(**{name: pl.read_parquet(folder / "shop" / f"{name}.parquet") for name in ("contacts", "stock")})
policy = Policy(holdout=0.2)
then = end - timedelta(days=10)
listed = candidates(events, then, inputs, policy)
listed.select(pl.col("reasons").list.join(", ").replace("", "(none: write)")).to_series().value_counts(sort=True).head(
    8
)

# %%
listed.filter("eligible").select(
    "rank", "user_id", "stage", "hours_since", "value_cents", "price_drop_cents", "recover_p", "expected_value_cents",
    "send_after",
).head(5)  # fmt: skip

# %% [markdown]
# What the mail to the first of them would be about: what lies in the cart, at which price now and when it was added.

# %%
listed.head(1).select(pl.col("lines").explode()).unnest("lines").select(
    "product_name", "quantity", "price_cents", "original_price_cents", "in_stock"
)

# %% [markdown]
# ## Did it help?
#
# Each day of a fortnight the candidates are drawn anew. Who was drawn once stays in that arm. This shop sends no mail
# at all, so the truth is a lift of zero, and the interval should hold zero.

# %%
drawn = None
for day in range(14):
    moment = end - timedelta(days=24 - day)
    drawn = assignments(candidates(events, moment, inputs, policy), drawn)
known = outcomes(drawn, orders(events, end), inputs.sends, end)
lift(known).select(
    "treatment_users", "holdout_users", "treatment_rate", "holdout_rate", "lift_abs", "lift_low", "lift_high", "p_value"
)

# %% [markdown]
# Somebody who looks at the treated shoppers alone reads all of their recoveries as the work of the mail. Without the
# holdout this shop would report this share as a success, and no mail was ever sent.

# %%
alt.Chart(
    known.group_by("assignment").agg(recovered=pl.col("recovered_any").mean()), title="Carts bought within seven days"
).mark_bar().encode(
    alt.X("recovered:Q", axis=alt.Axis(format="%"), title=None), alt.Y("assignment:N", title=None)
).properties(width=520, height=80)
