"""An events table in Parquet: the columns of ``schema.EVENTS``, ids as 16 bytes or as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import rules, schema
from cart_core.errors import Problem, SourceError
from cart_core.importers import ids
from cart_core.importers.set_aside import SetAside, reason_of
from cart_core.importers.sources import EventBatch, Options

BATCH_ROWS = 2**18
ID_COLUMNS = {"event_id": "eventId", "cart_id": "cartId"}
Problems = dict[int, list[Problem]]


def batches(files: Sequence[str], options: Options) -> Iterator[EventBatch]:
    """The events of Parquet files, streaming; rows are numbered from 1.

    Rows with values that do not fit their columns are set aside; whether the others keep the rules of events is left
    to who takes them (``schema.violations``), so that it is checked once. ``position`` and ``recorded_at`` are not
    kept. Raises SourceError where a file is no Parquet file, has not the columns of an events table, or holds times
    without a zone.
    """
    sizes = [_rows_in(file) for file in files]
    done = 0
    for file, rows in zip(files, sizes, strict=True):
        first = 1
        for batch in pq.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS):
            yield _batch(file, first, pa.Table.from_batches([batch]))
            first += len(batch)
            if options.progress is not None:
                options.progress(done + first - 1, sum(sizes))
        done += rows


def _rows_in(file: str) -> int:
    """How many rows a file has, after a look at its columns."""
    try:
        opened = pq.ParquetFile(file)
        empty = opened.schema_arrow.empty_table()
        schema.conform(empty)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{file} cannot be read as Parquet: {error}") from error
    except SourceError as error:
        raise SourceError(f"{file}: {error}") from error
    for field in opened.schema_arrow:
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            raise SourceError(f"{file}: the times in column {field.name} have no zone: store them as UTC")
    return int(opened.metadata.num_rows)


def _batch(file: str, first: int, table: pa.Table) -> EventBatch:
    problems: Problems = {}
    events = _without_store_columns(_conformed(_with_ids(table, problems), 0, problems))
    kept = np.setdiff1d(np.arange(len(table)), np.array(sorted(problems), np.int64))
    refused = [
        SetAside(file, first + row, reason_of(found), found, _shown(table, row))
        for row, found in sorted(problems.items())
    ]
    events = events if len(kept) == len(table) else events.take(pa.array(kept))
    return EventBatch(file, events, first + kept, lambda place: _shown(table, int(kept[place])), refused)


def _with_ids(table: pa.Table, problems: Problems) -> pa.Table:
    """Ids in text as ids in 16 bytes; rows where one is no UUID are noted."""
    for name, shown in ID_COLUMNS.items():
        place = table.column_names.index(name)
        column = table.column(place).combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        found, sound = ids.from_text(column)
        for row in np.flatnonzero(~sound).tolist():
            problems.setdefault(row, []).append(Problem(shown, column[row].as_py(), rules.UUID_WORDING))
        table = table.set_column(place, name, ids.uuids(found))
    return table


def _conformed(table: pa.Table, start: int, problems: Problems) -> pa.Table:
    """The table as EVENTS; rows with a value that does not fit its column are noted and stand there empty."""
    try:
        return schema.conform(table)
    except SourceError as error:
        if len(table) == 1:
            problems.setdefault(start, []).append(Problem("row", str(error), "a row of the events table"))
            return pa.table([pa.nulls(1, kind) for kind in schema.EVENTS.types], schema=schema.EVENTS)
        half = len(table) // 2
        before = _conformed(table.slice(0, half), start, problems)
        return pa.concat_tables([before, _conformed(table.slice(half), start + half, problems)])


def _without_store_columns(events: pa.Table) -> pa.Table:
    for name in schema.GIVEN_BY_STORE:
        field = schema.EVENTS.field(name)
        if events[name].null_count < len(events):
            events = events.set_column(schema.EVENTS.get_field_index(name), field, pa.nulls(len(events), field.type))
    return events


def _shown(table: pa.Table, row: int) -> bytes:
    values = {name: value for name, value in table.slice(row, 1).to_pylist()[0].items() if value is not None}
    return json.dumps(values, default=str, ensure_ascii=False).encode()
