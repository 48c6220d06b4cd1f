"""Envelopes as JSON, one a line: the form that ``cart export events FILE.jsonl`` writes and the HTTP API speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.errors import InvalidEvent
from cart_core.events import Envelope
from cart_core.importers import set_aside
from cart_core.importers.json_columns import Flags, JsonColumns
from cart_core.importers.lines import read_lines
from cart_core.importers.set_aside import SetAside
from cart_core.importers.sources import EventBatch, Options

BLOCK_LINES = 1_024
Parsed = tuple[pa.Table, list[int], list[SetAside]]


def batches(files: Sequence[str], options: Options) -> Iterator[EventBatch]:
    """The events of files of JSON lines, streaming; a line that breaks a rule is set aside, its neighbours are not.

    ``recordedAt`` is checked and not kept: the store says itself when it accepted an event. Raises SourceError where
    a file cannot be read.
    """
    columns = JsonColumns()
    for lines in read_lines(files, options):
        table, kept, refused = parse(columns, lines.file, lines.texts, lines.rows)
        texts = lines.texts if len(kept) == len(lines.texts) else [lines.texts[place] for place in kept]
        rows = np.array(lines.rows, np.int64)[kept]
        yield EventBatch(lines.file, table, rows, texts.__getitem__, [*lines.set_aside, *refused])


def parse(columns: JsonColumns, file: str, texts: list[bytes], rows: list[int]) -> Parsed:
    """Lines as (events, the places of their lines, the lines that are none), in order.

    All lines are read as columns at once; where that fails, block by block; and what is doubtful one by one.
    """
    parts: list[Parsed] = []
    start, at_once = 0, True
    while start < len(texts):
        stop = len(texts) if at_once else start + BLOCK_LINES
        read = columns.read(texts[start:stop])
        if read is None and len(texts[start:stop]) > BLOCK_LINES:
            at_once = False
            continue
        if read is not None:
            part = _merged(read, file, texts[start:stop], rows[start:stop])
        else:
            part = _one_by_one(file, texts[start:stop], rows[start:stop], range(len(texts[start:stop])))
            at_once = columns.learn(part[0]["metadata"])
        parts.append((part[0], [start + place for place in part[1]], part[2]))
        start = stop
    events = pa.concat_tables([table for table, _, _ in parts]) if parts else schema.EVENTS.empty_table()
    return events, [place for _, kept, _ in parts for place in kept], [each for _, _, some in parts for each in some]


def _merged(read: tuple[pa.Table, Flags], file: str, texts: list[bytes], rows: list[int]) -> Parsed:
    """What was read as columns together with the doubtful lines, read one by one."""
    table, sure = read
    if sure.all():
        return table, list(range(len(texts))), []
    more, found, refused = _one_by_one(file, texts, rows, np.flatnonzero(~sure).tolist())
    places = np.r_[np.flatnonzero(sure), np.array(found, np.int64)]
    order = np.argsort(places)
    return pa.concat_tables([table, more]).take(pa.array(order)), places[order].tolist(), refused


def _one_by_one(file: str, texts: list[bytes], rows: list[int], places: Sequence[int]) -> Parsed:
    envelopes, kept, refused = [], [], []
    for place in places:
        try:
            envelopes.append(schema.to_row(Envelope.from_line(texts[place])) | {"recorded_at": None})
            kept.append(place)
        except InvalidEvent as error:
            refused.append(set_aside.from_error(error, file, rows[place], texts[place]))
    return schema.table_of_rows(envelopes), kept, refused
