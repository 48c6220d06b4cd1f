"""What a shop hands in beside its events, checked and put in its place."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from cart_core.errors import SourceError
from cart_core.store.views import STAGED, ViewStage
from pipelines import files
from pipelines.tables import INPUTS, TableError, conformed

VIEWS = "views"


def hand_in(folder: Path, name: str, source: Path) -> int:
    """Check a Parquet file against ``INPUTS[name]``, put it where jobs read it, and return its rows.

    Contacts, exposures, stock, coupons and sends replace what was there; views are added, each id once. What is
    there is exchanged in one step, so a reader sees the old or the new. Raises SourceError where it is no Parquet
    file, TableError where it breaks the table's contract.
    """
    try:
        frame = pl.read_parquet(source)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{source} cannot be read as Parquet: {error}") from error
    table = INPUTS[name]
    missing = [column for column in table.schema if column not in frame.columns]
    if missing:
        raise TableError(f"{source} is no table of {name}: columns missing {missing}; it has {frame.columns}")
    typed = [pl.col(name).cast(dtype) for name, dtype in table.schema.items()]
    frame = conformed(table, frame.select(typed))
    if name == VIEWS:
        _add_views(folder, frame)
    else:
        files.write_table(folder / "inputs", name, frame)
    return frame.height


def _add_views(folder: Path, frame: pl.DataFrame) -> None:
    rows = frame.to_arrow().append_column("counts", pa.array([True] * frame.height))
    with ViewStage(folder / VIEWS, folder / "cache") as stage:
        stage.add(rows.cast(STAGED))
        stage.commit()
