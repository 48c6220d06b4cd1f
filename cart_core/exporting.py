"""Events, carts and lines as files for other programs: .jsonl, .parquet or .csv, ids as text."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import schema
from cart_core.errors import Refused
from cart_core.projector import fold, fold_table
from cart_core.projector.streaming import NOW, Moment
from cart_core.rules import FORMULA_STARTS
from cart_core.store.base import Store

Progress = Callable[[int, int | None], None]
ENDINGS = (".jsonl", ".parquet", ".csv")


def export(store: Store, what: str, file: Path, progress: Progress | None = None, moment: Moment = NOW) -> int:
    """Write ``events``, ``carts`` or ``lines`` of a store to a file, in the form that its ending names.

    ``.jsonl`` has one camelCase document a line (for carts that of ``cart show``), ``.parquet`` and ``.csv`` the
    columns of the table, ids as text. Cells of a CSV that a spreadsheet would run as a formula begin with a quote
    mark. Events count that lie within the bounds of ``moment``. The file appears whole or not at all. Returns the rows
    written.

    Raises Refused for another ending.
    """
    if file.suffix not in ENDINGS:
        raise Refused("unknown_ending", f"{file} must end in .jsonl, .parquet or .csv")
    tables = map(moment.choose, _told(store.batches(until=moment.until), store.position(), progress))
    write = {".jsonl": _write_lines, ".parquet": _write_parquet, ".csv": _write_csv}[file.suffix]
    temporary = file.with_name(f".{file.name}.{uuid4().hex[:8]}.tmp")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        rows = write(what, tables, temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _told(tables: Iterator[pa.Table], total: int, progress: Progress | None) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        yield table
        done += len(table)
        if progress is not None:
            progress(done, total)


def _write_lines(what: str, tables: Iterator[pa.Table], path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as out:
        for table in tables:
            for document in _documents(what, table):
                out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
                rows += 1
    return rows


def _documents(what: str, table: pa.Table) -> Iterator[dict[str, Any]]:
    if what == "events":
        yield from schema.to_documents(_by_cart(table))
        return
    for state in _states(table):
        if what == "carts":
            yield state.to_json()
        else:
            yield from ({"cartId": state.cart_id, **line.to_json()} for line in state.lines)


def _states(table: pa.Table) -> Iterator[Any]:
    history: list[Any] = []
    for envelope in schema.to_envelopes(_by_cart(table)):
        if history and envelope.cart_id != history[0].cart_id:
            yield fold(history)
            history = []
        history.append(envelope)
    if history:
        yield fold(history)


def _by_cart(table: pa.Table) -> pa.Table:
    order = pl.DataFrame(
        {
            "cart": pa.chunked_array([chunk.storage for chunk in table["cart_id"].chunks], pa.binary(16)),
            "version": table["version"],
        }
    ).select(pl.arg_sort_by("cart", "version"))
    return table.take(pa.array(order.to_series().to_numpy()))


def _write_parquet(what: str, tables: Iterator[pa.Table], path: Path) -> int:
    rows, writer = 0, None
    try:
        for table in _frames(what, tables):
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            rows += len(table)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _write_csv(what: str, tables: Iterator[pa.Table], path: Path) -> int:
    rows, first = 0, True
    with path.open("wb") as out:
        for table in _frames(what, tables):
            pl.from_arrow(_for_spreadsheets(table)).write_csv(out, include_header=first)  # type: ignore[union-attr]
            rows, first = rows + len(table), False
    return rows


def _frames(what: str, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for table in tables:
        yield with_text_ids(table if what == "events" else getattr(fold_table(table), what))


def with_text_ids(table: pa.Table) -> pa.Table:
    """A table with its UUID columns as text."""
    for place, field in enumerate(table.schema):
        if isinstance(field.type, pa.UuidType):
            texts = pa.array(
                [None if each is None else str(each) for each in table[field.name].to_pylist()], pa.string()
            )
            table = table.set_column(place, field.name, texts)
    return table


def _for_spreadsheets(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if each is None else json.dumps(_json(each), ensure_ascii=False)
                for each in table[place].to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
        elif pa.types.is_string(field.type):
            texts = [_unarmed(each) for each in table[place].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _unarmed(text: str | None) -> str | None:
    return f"'{text}" if text is not None and text.startswith(FORMULA_STARTS) else text


def _json(value: Any) -> Any:
    return dict(value) if value and isinstance(value[0], tuple) else value
