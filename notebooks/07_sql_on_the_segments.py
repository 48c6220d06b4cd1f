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
# # SQL straight on the segments
#
# What is sealed lies as ordinary Parquet files in the store's folder. Any tool reads them, without our code and without
# a copy. Two things to know: rows of the journal are not in them before they are sealed, and users are numbers
# (`user_key`), so that forgetting a user needs no file to be rewritten. `cart sql` and `store.scan()` bring in both.

# %%
import tempfile
from pathlib import Path

import altair as alt
import duckdb
import polars as pl

from cart_core import CartStore
from cart_core.ingest import import_files
from cart_core.projector import fold_table
from cart_core.simulator import simulate
from pipelines.tables.contract import ids_as_text

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
folder = Path(tempfile.mkdtemp())
simulate(folder / "shop", carts=5_000, days=21, seed=15)
store = CartStore.open(folder / "store")
import_files(store, "parquet", [str(folder / "shop" / "events.parquet")])
store.seal()
files = sorted((folder / "store" / "segments").glob("*.parquet"))
[(file.name, f"{file.stat().st_size / 1e6:.1f} MB") for file in files]

# %% [markdown]
# ## DuckDB
#
# Only the columns and row groups that a query needs are read.

# %%
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
segments = f"read_parquet({[str(file) for file in files]})"
db.sql(f"SELECT type, count(*) AS events, count(DISTINCT cart_id) AS carts FROM {segments} GROUP BY ALL ORDER BY ALL")

# %%
by_hour = pl.from_arrow(
    db.sql(
        f"SELECT extract('hour' FROM timestamp) AS hour, type = 'CheckoutCompleted' AS bought, count(*) AS events "
        f"FROM {segments} WHERE type IN ('ItemAdded', 'CheckoutCompleted') GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()
)
alt.Chart(by_hour, title="Additions and orders by hour of the day (UTC)").mark_bar().encode(
    alt.X("hour:O", title=None), alt.Y("events:Q", title=None), alt.Color("bought:N", title="order")
).properties(width=520, height=160)

# %% [markdown]
# ### The fold, in SQL
#
# A cart is the fold of its events. For the live lines of all carts the fold is one query: the last thing that was said
# about each product of each cart wins. `arg_max` says it.

# %%
lines = db.sql(f"""
    WITH said AS (
        SELECT cart_id, product_id,
               max(version) FILTER (type IN ('ItemAdded', 'ItemRemoved')) AS born,
               arg_max(type, version) FILTER (type IN ('ItemAdded', 'ItemRemoved')) AS fate
        FROM {segments} WHERE product_id IS NOT NULL GROUP BY ALL
    )
    SELECT e.cart_id, e.product_id,
           arg_max(quantity, version) FILTER (type IN ('ItemAdded', 'QuantityChanged')) AS quantity,
           arg_max(price_cents, version) FILTER (type IN ('ItemAdded', 'PriceUpdated')) AS price_cents
    FROM {segments} e JOIN said USING (cart_id, product_id)
    WHERE fate = 'ItemAdded' AND version >= born
    GROUP BY ALL ORDER BY ALL
""").to_arrow_table()
lines.num_rows

# %% [markdown]
# The compiled fold gives the same lines, to the last one.

# %%
columns = ["cart_id", "product_id", "quantity", "price_cents"]
ours = ids_as_text(pl.from_arrow(fold_table(store.scan().collect().to_arrow()).lines)).select(columns).sort(columns)
assert ours.equals(pl.from_arrow(lines).sort(columns))
ours.height

# %% [markdown]
# ## Polars
#
# The same, lazily: the plan shows that four columns of twenty-five are read.

# %%
events = pl.scan_parquet(files)
values = (
    events.filter(pl.col("type") == "ItemAdded")
    .group_by("product_name")
    .agg(added=pl.len(), carts=pl.col("cart_id").n_unique(), price=pl.col("price_cents").median() / 100)
    .sort("added", "product_name", descending=[True, False])
    .head(5)
)
values.collect()

# %%
print(values.explain())

# %% [markdown]
# ## Both, with users and the journal
#
# `store.duckdb()` gives a connection that may read this store and nothing else, with the views `events`, `carts` and
# `lines` of one consistent moment; `cart sql` on the command line is the same.

# %%
store.duckdb().sql("""
    SELECT status, count(*) AS carts, round(avg(total_cents) / 100, 2) AS mean_total, max(line_count) AS most_lines
    FROM carts GROUP BY ALL ORDER BY ALL
""")
