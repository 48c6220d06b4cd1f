"""The Retailrocket clickstream: the original CSV, or the sessionised sample in Parquet.

Columns timestamp (milliseconds since 1970), visitorid, event (view, addtocart, transaction, or 0, 1, 2), itemid,
transactionid, and in the sample session_id. It tells no prices: every item costs one unit of XXX, which ISO 4217
keeps for "no currency", so that carts and funnels work and no sum can be taken for money.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cart_core.errors import SourceError
from cart_core.importers import acts, ids, times
from cart_core.importers.checks import TIME_RULE, Checks
from cart_core.importers.columns import Chunk, read_columns
from cart_core.importers.sources import ActBatch, Options

NEEDED = ("timestamp", "visitorid", "event", "itemid", "transactionid")
KINDS = {
    "view": acts.VIEW,
    "addtocart": acts.ADD,
    "transaction": acts.PURCHASE,
    "0": acts.VIEW,
    "1": acts.ADD,
    "2": acts.PURCHASE,
}
WORDS = ("view", "addtocart", "transaction")
NO_CURRENCY = "XXX"
UNKNOWN_PRICE = 1
PARQUET_MAGIC = b"PAR1"
BATCH_ROWS = 2**16
NAMESPACE = ids.namespace("retailrocket")


def batches(files: Sequence[str], options: Options) -> Iterator[ActBatch]:
    """What visitors did, streaming.

    Raises SourceError where a file has not the columns, or no sessions although they are to make the carts.
    """
    for number, file in enumerate(files):
        chunks = _parquet(number, file) if _is_parquet(file) else _csv(number, file, options)
        for chunk in chunks:
            if options.cart_key == "session" and "session_id" not in chunk.columns:
                raise SourceError(f"{file} has no column session_id: use --cart-key user")
            yield _acts(chunk, options)


def _is_parquet(file: str) -> bool:
    try:
        with Path(file).open("rb") as stream:
            return stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error


def _csv(number: int, file: str, options: Options) -> Iterator[Chunk]:
    for chunk in read_columns([file], options, NEEDED):
        yield Chunk(number, file, chunk.rows, chunk.raw, chunk.columns, chunk.set_aside)


def _parquet(number: int, file: str) -> Iterator[Chunk]:
    """The rows of a Parquet file as columns of text, numbered from 1."""
    opened = pq.ParquetFile(file)
    missing = [name for name in NEEDED if name not in opened.schema_arrow.names]
    if missing:
        raise SourceError(f"{file} has no column {', '.join(missing)}: it has {', '.join(opened.schema_arrow.names)}")
    first = 1
    for batch in opened.iter_batches(batch_size=BATCH_ROWS):
        names = [name for name in (*NEEDED, "session_id") if name in batch.schema.names]
        columns = {name: _text(batch.column(name)) for name in names}
        raw = pc.binary_join_element_wise(*columns.values(), ",").cast(pa.binary())
        yield Chunk(number, file, np.arange(first, first + len(batch)), raw, columns, [])
        first += len(batch)


def _text(column: pa.Array) -> pa.Array:
    """Any column as text; moments as milliseconds since 1970, nothing as empty text."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms")).cast(pa.int64())
    return column.cast(pa.string()).fill_null("")


def _acts(chunk: Chunk, options: Options) -> ActBatch:
    columns = chunk.columns
    at = times.parse_column(columns["timestamp"])
    kind = pc.index_in(columns["event"], pa.array(list(KINDS))).fill_null(-1).to_numpy()
    acted = np.array(list(KINDS.values()), np.int8)[kind]
    checks = Checks(chunk)
    checks.need(kind >= 0, "unknown_type", "event", "one of " + ", ".join(WORDS))
    checks.need(at != times.NO_TIME, "bad_time", "timestamp", TIME_RULE)
    checks.need_text("itemid", "bad_value")
    checks.need_text("visitorid", "bad_user")
    if options.cart_key == "session":
        checks.need_text("session_id", "no_session", among=acted != acts.VIEW)
    sound = checks.sound()
    kept = {name: column.filter(pa.array(sound)) for name, column in columns.items()}
    rows = int(sound.sum())
    session = kept.get("session_id", pa.array([""] * rows, pa.string()))
    words = pa.array(WORDS).take(pa.array(kind[sound] % len(WORDS)))
    told = [pa.array(at[sound]).cast(pa.string()), words, kept["itemid"], kept["visitorid"], kept["transactionid"]]
    contents = pc.binary_join_element_wise(*told, "\x1f").cast(pa.binary()).to_pylist()
    filled = {
        "file": pa.array(np.full(rows, chunk.number, np.int32)),
        "row": pa.array(chunk.rows[sound]),
        "row_id": ids.column(ids.named_all(NAMESPACE, contents)),
        "key": kept["visitorid"] if options.cart_key == "user" else session,
        "session": pc.if_else(pc.equal(session, ""), None, session),
        "user_id": kept["visitorid"],
        "at": pa.array(at[sound]),
        "act": pa.array(acted[sound]),
        "product_id": kept["itemid"],
        "product_name": kept["itemid"],
        "quantity": pa.array(np.ones(rows, np.int64)),
        "price_cents": pa.array(np.full(rows, UNKNOWN_PRICE, np.int64)),
        "currency": pa.array([NO_CURRENCY] * rows, pa.string()),
        "order_id": pc.if_else(pc.equal(kept["transactionid"], ""), None, kept["transactionid"]),
        "raw": chunk.raw.filter(pa.array(sound)),
    }
    return ActBatch(chunk.read, acts.table(rows, filled), [*chunk.set_aside, *checks.set_aside()])
