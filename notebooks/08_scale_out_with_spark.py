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
# # Scale-out with Spark
#
# One machine folds fifty million events in seconds. Where that is too small, the same compiled fold runs inside Spark's
# executors, each on its own share of the carts. Nothing is written twice and nothing is shuffled: a share is what its
# cart ids say. This notebook needs the extra `spark`, and Java.

# %%
import tempfile
from pathlib import Path

import altair as alt
import polars as pl
from pyspark.sql import functions as f

from cart_core import CartStore
from cart_core.ingest import import_files
from cart_core.simulator import simulate
from pipelines.engines import engine
from pipelines.engines.spark import session

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
folder = Path(tempfile.mkdtemp())
simulate(folder / "shop", carts=3_000, days=21, seed=16)
store = CartStore.open(folder / "store")
import_files(store, "parquet", [str(folder / "shop" / "events.parquet")])

# %% [markdown]
# ## The fold of all carts, on both engines

# %%
done = {name: engine(name).project(store, folder / name) for name in ("local", "spark")}
done

# %% [markdown]
# The same rows, to the last bit: `local` writes one file for each table, `spark` one for each share.

# %%
carts = pl.read_parquet(folder / "local" / "carts.parquet")
shares = sorted((folder / "spark" / "carts.parquet").glob("*.parquet"))
assert carts.equals(pl.concat([pl.read_parquet(share) for share in shares]))
pl.DataFrame(
    [{"share": share.stem, "carts": pl.scan_parquet(share).select(pl.len()).collect().item()} for share in shares]
)

# %% [markdown]
# ## Spark on the result
#
# What was written is ordinary Parquet. Spark refuses to guess the type of a UUID column, so it is told which columns to
# read, ids among them as `binary`. From here on it is Spark as everywhere. (A Delta table, which `cart publish` makes
# of the segments, tells the types by itself.)

# %%
spark = session()
by_status = (
    spark.read.schema("cart_id binary, status string, total_cents bigint")
    .parquet(str(folder / "spark" / "carts.parquet"))
    .groupBy("status")
    .agg(f.count("*").alias("carts"), f.round(f.avg("total_cents") / 100, 2).alias("mean_total"))
    .orderBy("status")
)
pl.from_arrow(by_status.toArrow())

# %%
files = [str(file) for file in sorted((folder / "store" / "segments").glob("*.parquet"))]
events = spark.read.schema("cart_id binary, timestamp timestamp, type string").parquet(*files)
by_day = pl.from_arrow(events.groupBy(f.to_date("timestamp").alias("day"), "type").count().toArrow()).sort(
    "day", "type"
)
alt.Chart(by_day, title="Events by day, counted by Spark on the sealed segments").mark_area().encode(
    alt.X("day:T", title=None), alt.Y("count:Q", title=None), alt.Color("type:N", title=None)
).properties(width=440, height=160)

# %% [markdown]
# ## A bit of advice
#
# On one machine Spark only adds its own start and its processes: `cart project` without `--engine spark` is quicker up
# to hundreds of millions of events. It pays where a rebuild on one machine takes longer than you can wait.

# %%
spark.stop()
