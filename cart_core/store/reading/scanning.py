"""Reading everything: lazily for Polars, bucket by bucket for folds, as views for DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core import rules
from cart_core.schema import EVENTS
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Connection, Segment
from cart_core.store.reading import sweep
from cart_core.store.reading.reader import Reader
from cart_core.store.segments import upcasting

SORTED_ROWS = 100_000
FEW_ROWS = 300_000


def scan(
    db: Connection,
    reader: Reader,
    after: int,
    until: int | None,
    columns: Sequence[str] | None,
    at: datetime | None = None,
    known_at: datetime | None = None,
) -> pl.LazyFrame:
    """Events with after < position <= until, that happened by ``at`` and were recorded by ``known_at``."""
    wanted = list(columns) if columns is not None else EVENTS.names
    live = [each for each in _between_them(reader.segments(db), after, until) if _reaches(each, at, known_at)]
    tail = at_rest.from_journal(catalog.journal(db, after, until))
    whole = pl.concat([*_frames(reader, live, after, until), _frame(tail).lazy()], how="vertical")
    for name, bound in (("timestamp", at), ("recorded_at", known_at)):
        if bound is not None:
            whole = whole.filter(pl.col(name) <= bound)
    if sum(each.rows for each in live) + len(tail) <= SORTED_ROWS:
        whole = whole.sort("position")
    if "user_id" in wanted:
        names = catalog.user_names(db)
        known = pl.DataFrame(
            {"user_key": list(names), "user_id": list(names.values())}, {"user_key": pl.Int64, "user_id": pl.String}
        )
        whole = _with_names(known, whole)
    return whole.select(wanted)


def _with_names(names: pl.DataFrame, frame: pl.LazyFrame) -> pl.LazyFrame:
    """A lazy frame of AT_REST with ``user_id`` from ``names`` (user_key, user_id) in place of ``user_key``."""
    pseudonym = pl.concat_str(pl.lit(at_rest.FORGOTTEN), pl.col("user_key"))
    joined = frame.join(names.lazy(), on="user_key", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("user_id", pseudonym).alias("user_id")).drop("user_key")


def batches(
    db: Connection,
    reader: Reader,
    columns: Sequence[str] | None,
    after: int,
    until: int | None,
    encoded: Sequence[str] = (),
    share: tuple[int, int] = sweep.WHOLE,
) -> Iterator[pa.Table]:
    """All events in the order of their carts' keys; see ``sweep.pieces``."""
    wanted = list(columns) if columns is not None else EVENTS.names
    stored = _stored_columns(wanted, bounded=bool(after) or until is not None)
    live = _between_them(reader.segments(db), after, until)
    tail = at_rest.from_journal(catalog.journal(db, after, until))
    names = _names(db, reader, live, tail) if "user_id" in wanted else None
    found = sweep.pieces(reader, live, tail, stored, [name for name in encoded if name in stored], share)
    return (_named(_between(each, after, until), names, wanted, encoded="user_id" in encoded) for each in found)


def _names(db: Connection, reader: Reader, live: Sequence[Segment], tail: pa.Table) -> sweep.Names:
    """The users of these segments and rows: all users where there are many rows, which costs the less then."""
    if sum(each.rows for each in live) + len(tail) > FEW_ROWS:
        return sweep.Names(db)
    columns = [*(reader.folder.read(each, ["user_key"])["user_key"] for each in live), tail["user_key"]]
    return sweep.Names(db, np.unique(np.concatenate([each.to_numpy() for each in columns])).tolist())


def _between_them(segments: Sequence[Segment], after: int, until: int | None) -> list[Segment]:
    return [each for each in segments if each.last_position > after and (until is None or each.first_position <= until)]


def _reaches(segment: Segment, at: datetime | None, known_at: datetime | None) -> bool:
    """Whether a segment may hold an event that happened by ``at`` and was recorded by ``known_at``."""
    recorded_us = segment.recorded_us
    too_late = at is not None and segment.min_timestamp > rules.to_micros(at)
    unknown = known_at is not None and recorded_us is not None and recorded_us > rules.to_micros(known_at)
    return not (too_late or unknown)


def _between(table: pa.Table, after: int, until: int | None) -> pa.Table:
    if not after and until is None:
        return table
    position = table["position"].to_numpy()
    return table.filter(pa.array((position > after) & (position <= (2**62 if until is None else until))))


def _named(table: pa.Table, names: sweep.Names | None, wanted: list[str], *, encoded: bool) -> pa.Table:
    if names is not None:
        place = table.column_names.index("user_key")
        table = table.set_column(place, "user_id", names.of(table["user_key"], encoded=encoded))
    return table.select(wanted)


def _stored_columns(wanted: list[str], *, bounded: bool) -> list[str]:
    stored = ["user_key" if name == "user_id" else name for name in wanted]
    return stored if "position" in stored or not bounded else [*stored, "position"]


def _frames(reader: Reader, live: Sequence[Segment], after: int, until: int | None) -> list[pl.LazyFrame]:
    """A lazy frame of AT_REST for each segment; those with the columns of an earlier version are read at once."""
    places = reader.folder.locations([each for each in live if upcasting.is_current(each.schema_version)])
    frames = []
    for each in live:
        frame = _lazy(places[each.file], each) if each.file in places else _frame(reader.folder.read(each)).lazy()
        if each.first_position <= after:
            frame = frame.filter(pl.col("position") > after)
        if until is not None and each.last_position > until:
            frame = frame.filter(pl.col("position") <= until)
        frames.append(frame)
    return frames


def _lazy(place: str, segment: Segment) -> pl.LazyFrame:
    frame = pl.scan_parquet(place).drop("bucket")
    if segment.position_shift:
        frame = frame.with_columns(pl.col("position") + segment.position_shift)
    if segment.recorded_us is not None:
        moment = pl.lit(segment.recorded_us, pl.Int64).cast(pl.Datetime("us", "UTC"))
        frame = frame.with_columns(moment.alias("recorded_at"))
    return frame


def _frame(table: pa.Table) -> pl.DataFrame:
    plain = pl.from_arrow(table.drop_columns(["bucket"]))
    return plain if isinstance(plain, pl.DataFrame) else plain.to_frame()
