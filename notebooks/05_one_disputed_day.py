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
# # One disputed day
#
# On the morning of the 21st the shop reported yesterday's orders. A week later the same question gave another answer.
# Nobody had made a mistake: part of the day's events came late, because an app that was offline had kept them. Every
# event carries two times: when it happened (`timestamp`), and when the store accepted it (`recorded_at`). With both,
# the two answers can be told apart and explained to the last event.

# %%
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import altair as alt
import polars as pl

from cart_core import CartStore
from cart_core.display import timeline
from cart_core.simulator import Shop, chunks
from pipelines.derive.abandonment import restatements
from pipelines.tables.contract import ids_as_text

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
day = datetime(2026, 1, 20, tzinfo=UTC)
morning, week_later = day + timedelta(days=1, hours=6), day + timedelta(days=8)
(part,) = chunks(Shop(carts=12_000, days=21, seed=13))
everything = pl.from_arrow(part.events).sort("cart_id", "version")

# %% [markdown]
# ## How the events came in
#
# One shopper in five shops with the app. What they did after 15:00 on the 20th reached the store only on the 22nd. The
# store's clock is an argument, so the past can be played again.

# %%
app = pl.col("user_id").hash(seed=3) % 5 == 0
late = app & pl.col("timestamp").is_between(day + timedelta(hours=15), day + timedelta(days=2))
late_from = pl.when(late).then("version").min().over("cart_id")
in_time = (pl.col("version") < late_from).fill_null(value=True) & (pl.col("timestamp") <= morning)
sorted_out = everything.with_columns(in_time=in_time)
now = [morning - timedelta(hours=1)]
store = CartStore.open(Path(tempfile.mkdtemp()) / "store", clock=lambda: now[0])
store.append_many(sorted_out.filter("in_time").drop("in_time"))
now[0] = day + timedelta(days=2, hours=8)
store.append_many(sorted_out.filter(~pl.col("in_time")).drop("in_time"))
events = store.scan().collect()
events.group_by("recorded_at").agg(events=pl.len(), last_happened=pl.col("timestamp").max()).sort("recorded_at")

# %% [markdown]
# ## The day, as it was known
#
# The same question, at two moments of knowledge. `known_at` leaves out what was recorded later, and
# `scan(known_at=...)` gives the same rows for ever: the report of the 21st can be made again, to the last event.


# %%
def orders_of_the_day(known_at: datetime) -> dict[str, object]:
    """Orders and revenue of the disputed day as the store knew them at a moment."""
    known = store.scan(known_at=known_at).filter(
        pl.col("type") == "CheckoutCompleted",
        pl.col("timestamp").is_between(day, day + timedelta(days=1), closed="left"),
    )
    counted = known.select(pl.len(), pl.col("total_cents").sum()).collect().row(0)
    return {"known at": known_at, "orders": counted[0], "revenue": counted[1] / 100}


reports = pl.DataFrame([orders_of_the_day(morning), orders_of_the_day(week_later)])
reports

# %% [markdown]
# And these are the orders that make the difference, each with the moment it became known.

# %%
late_orders = ids_as_text(events).filter(
    pl.col("type") == "CheckoutCompleted",
    pl.col("timestamp").is_between(day, day + timedelta(days=1), closed="left"),
    pl.col("recorded_at") > morning,
)
late_orders.select("order_id", "user_id", "timestamp", "recorded_at", "total_cents").sort("timestamp").head(10)

# %%
assert reports["orders"].to_list()[1] - reports["orders"].to_list()[0] == late_orders.height

# %% [markdown]
# ## One cart, twice
#
# As of the end of the day, as it was known on the morning after, and as it is known now.

# %%
cart = late_orders.sort("timestamp", "cart_id")["cart_id"][0]
end_of_day = day + timedelta(days=1)
store.cart(cart, at=end_of_day, known_at=morning)

# %%
store.cart(cart, at=end_of_day)

# %%
timeline(store.read(cart, at=end_of_day))

# %% [markdown]
# ## What late events did to other figures
#
# On the morning of the 21st this cart, and others, counted as abandoned. Late events took some of those episodes back
# (*withdrawn*), added others, and changed what became of some. Each change names its cart.

# %%
changes = restatements(events, morning, week_later)
changes.group_by("change", "fields").len().sort("len", descending=True)

# %%
changes.filter(pl.col("change") == "withdrawn").select("cart_id", "last_activity_at", "late_events").head(5)

# %% [markdown]
# ## How late is late?
#
# Where events come late as a rule, a daily figure wants a date from which on it is final.

# %%
delays = events.filter(pl.col("timestamp") <= morning).with_columns(
    hours=(pl.col("recorded_at") - pl.col("timestamp")).dt.total_seconds() / 3600,
    day=pl.col("timestamp").dt.date(),
)
by_day = delays.filter(pl.col("timestamp") >= day - timedelta(days=4)).group_by("day", "recorded_at").len()
alt.Chart(
    by_day.with_columns(known=pl.col("recorded_at").dt.strftime("%d %b")),
    title="Events of a day, by when they were known",
).mark_bar().encode(
    alt.X("day:O", axis=alt.Axis(format="%d %b", formatType="time"), title="happened"),
    alt.Y("len:Q", title=None),
    alt.Color("known:N", title="known on"),
).properties(width=480, height=180)
