"""The nightly run: every table of a shop after a day's events came in, and what each table read and wrote.

Run ``python benchmarks/nightly.py [EVENTS ...] [--new N] [--keep FOLDER]`` (default 1000000, with 100000 new ones). A
simulated shop of that size is imported, its silent carts are told so, and it is derived once; then the new events are
imported and everything is derived again, as the nightly job does: that second run is timed, without the import. The new
events are those of a day: a shop has had as many days as its history is of times their number (21 at least).
``--keep FOLDER`` keeps the shop as it stands before that night under FOLDER, and takes it from there the next time.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import rules
from cart_core.ingest import import_files
from cart_core.simulator import simulate
from cart_core.store import CartStore
from pipelines.commands import demo
from pipelines.defs.abandonment.announcing import announce
from pipelines.defs.in_process import Refreshed, refresh

EVENTS_PER_CART = 6.6
FEWEST_DAYS = 21


def main() -> None:
    """Print one table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("events", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
    for events in given.events:
        with tempfile.TemporaryDirectory(dir=given.keep) as name:
            kept = given.keep and given.keep / f"{events}-{given.new}"
            if kept is None or not kept.is_dir():
                before_the_night(Path(name) / "made", events, given.new)
                if kept is not None:
                    (Path(name) / "made").rename(kept)
            shutil.copytree(kept or Path(name) / "made", Path(name) / "tonight", symlinks=True)
            night(Path(name) / "tonight")


def before_the_night(folder: Path, events: int, new: int) -> None:
    """One shop whose first run is over, and whose new events are in; ``made.json`` says how it came to be."""
    home = folder / "store"
    days = max(FEWEST_DAYS, round((events + new) / new))
    truth = simulate(folder / "shop", carts=round((events + new) / EVENTS_PER_CART), days=days, seed=1)
    end = rules.parse_time(truth.end)
    known = split(folder, new)
    with CartStore.open(home) as store:
        import_files(store, "parquet", [folder / "history.parquet"])
        demo.hand_in_shop(home, folder / "shop")
        announce(store, end - timedelta(days=2), timedelta(hours=1))
    first, _ = timed(home, end - timedelta(days=1))
    with CartStore.open(home) as store:
        pq.write_table(onwards(store, pq.read_table(folder / "new.parquet")), folder / "new.parquet")
        report = import_files(store, "parquet", [folder / "new.parquet"]).to_json()
        assert report["events"] == new, report
    made = {"known": known, "new": new, "first_s": first, "end": truth.end}
    (folder / "made.json").write_text(json.dumps(made))
    shutil.rmtree(folder / "shop")
    for name in ("history", "new"):
        (folder / f"{name}.parquet").unlink()


def night(folder: Path) -> None:
    """The run after the new events, told asset by asset."""
    made = json.loads((folder / "made.json").read_text())
    seconds, done = timed(folder / "store", rules.parse_time(made["end"]))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{made['known']:,} events of history, {made['new']:,} new: {seconds:.1f} s, {peak_mb:,.0f} MB")
    print(f"(the first run, of all: {made['first_s']:.1f} s)")
    print(f"{'asset':26}{'s':>8}{'rows':>12}  what was recomputed")
    for asset, told in sorted(done.told.items(), key=lambda each: -each[1].get("seconds", 0)):
        rows = told.get("dagster/row_count")
        print(
            f"{asset:26}{told.get('seconds', 0):>8.2f}{'' if rows is None else f'{rows:,}':>12}  "
            f"{told.get('recomputed', '')}"
        )


def split(folder: Path, new: int) -> int:
    """The shop's latest events as new.parquet, all before them as history.parquet; how many those are."""
    events = pq.read_table(folder / "shop" / "events.parquet")
    order = pa.compute.sort_indices(events["timestamp"]).to_numpy()
    for name, rows in (("history", order[:-new]), ("new", order[-new:])):
        pq.write_table(events.take(pa.array(np.sort(rows))), folder / f"{name}.parquet", compression="zstd")
    return len(order) - new


def onwards(store: CartStore, events: pa.Table) -> pa.Table:
    """The new events with the versions that their carts have come to, after the first run told silent ones so."""
    rows = pl.DataFrame(events.select(["cart_id", "version"]))
    ids = rows["cart_id"].unique()
    known = store.heads(pa.ExtensionArray.from_storage(pa.uuid(), ids.to_arrow().cast(pa.binary(16))))
    heads = pl.DataFrame(known).rename({"version": "head"})
    order = pl.col("version").rank("ordinal").over("cart_id").cast(pl.Int32)
    versions = rows.with_columns(order=order).join(heads, on="cart_id", how="left", maintain_order="left")
    version = versions.select((pl.col("head") + pl.col("order")).cast(pl.Int32)).to_series().to_arrow()
    return events.set_column(events.schema.get_field_index("version"), events.schema.field("version"), version)


def timed(home: Path, as_of: Any) -> tuple[float, Refreshed]:
    """Seconds of one run of everything."""
    began = time.perf_counter()
    done = refresh(home, as_of)
    return time.perf_counter() - began, done


if __name__ == "__main__":
    main()
