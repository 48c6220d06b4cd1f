"""Checking an audit pack with this package at hand: what the standalone checker does, and what people read of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import schema
from cart_core.audit import check_audit as checker
from cart_core.audit.pack import CHECKER, COLUMNS, EVENTS, MANIFEST, PAGE, TABLE, VERIFIED, lines
from cart_core.audit.page import page
from cart_core.errors import SourceError

ROWS_AT_ONCE = 50_000


def check_pack(folder: Path, head: str | None = None) -> list[str]:
    """What is wrong with a pack, each naming its place; empty if nothing is.

    With ``head`` (hex), as it was published or anchored, the batches must also lead there. Reads the folder alone.
    Raises SourceError where the folder holds no pack.
    """
    if not (folder / MANIFEST).is_file():
        raise SourceError(f"{folder} holds no audit pack: there is no {MANIFEST}")
    found = checker.problems(str(folder), head or "-")
    try:
        found += [*_page_problems(folder), *_table_problems(folder)]
    except (OSError, ValueError, TypeError, LookupError) as error:
        found.append(f"a part of the pack is missing or of the wrong kind: {error!r}")
    return found


def _page_problems(folder: Path) -> Iterator[str]:
    manifest, verified = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (MANIFEST, VERIFIED))
    if (folder / PAGE).read_text(encoding="utf-8") != page(manifest, verified):
        yield f"{PAGE}: does not show what {MANIFEST} and {VERIFIED} say"
    if (folder / CHECKER.name).read_bytes() != CHECKER.read_bytes():
        yield f"{CHECKER.name}: is not this version's checker"


def _table_problems(folder: Path) -> Iterator[str]:
    """Where the table is not the events: its rows are told again as lines."""
    file = pq.ParquetFile(folder / TABLE)
    if not file.schema_arrow.equals(COLUMNS):
        yield f"{TABLE}: has not the columns of an audit"
        return
    row = 0
    with (folder / EVENTS).open("rb") as told:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            for text in lines(_at_rest(pa.Table.from_batches([batch]))):
                row += 1
                if text != told.readline():
                    yield f"{TABLE} row {row}: is not line {row} of {EVENTS}"
                    return
        if told.read(1):
            yield f"{TABLE}: has {row} rows, fewer than {EVENTS} has lines"


def _at_rest(rows: pa.Table) -> pa.Table:
    named = rows.rename_columns([{"user_key": "user_id"}.get(name, name) for name in rows.column_names])
    ids = schema.conform(named.set_column(named.column_names.index("user_id"), "user_id", pa.array(["-"] * len(rows))))
    return ids.append_column("user_key", rows["user_key"])
