"""The events of carts as they were known at a moment, cart by cart, and what each cart was at any point of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.errors import SourceError
from cart_core.projector.columns import NEEDED, Rows, rows_of
from cart_core.projector.grouping import Grouped
from cart_core.projector.many import by_cart, carts_told, folded, tell
from cart_core.projector.tables import CARTS, LINES, CartTables
from cart_core.schema import EVENTS
from pipelines.derive.frames import Frame, moment_us
from pipelines.tables import TABLES
from pipelines.tables.contract import MOMENT, uuid_text

Array = np.ndarray[Any, np.dtype[Any]]

FOLDED = ("cart_id", "version", "user_id", "timestamp", "type", "product_id", "quantity", "price_cents", "currency")
COUPONED = ("coupon_code", "discount_type", "discount_value", "reason")
COLUMNS = (*FOLDED, *COUPONED)
"""The columns of EVENTS that deciding what a cart was at a moment needs; recorded_at too where known_at is given."""


@dataclass(frozen=True, slots=True)
class Histories:
    """Events by cart in version order: cart ``i`` has rows ``order[begins[i]:ends[i]]`` of ``rows``.

    ``by_time`` holds the same rows, each cart's by time and then version; ``cart`` is the cart of each place in both.
    """

    rows: Rows
    order: Array
    begins: Array
    ends: Array
    by_time: Array
    cart: Array

    @property
    def kinds(self) -> Array:
        """What each row does, as the projector's kernel numbers it."""
        return self.rows.columns.kind

    def cart_ids(self, carts: Array) -> pl.Series:
        """The ids of these carts as text."""
        wanted, places = np.unique(carts, return_inverse=True)
        return id_texts(self.rows.id_bytes[self.order[self.begins[wanted]]]).gather(places)

    def users(self, carts: Array) -> pl.Series:
        """The user of each of these carts' first event."""
        return pl.Series("user_id", self.rows.cells("user_id", self.order[self.begins[carts]]), dtype=pl.String)


def histories(
    events: Frame, as_of: datetime | None = None, known_at: datetime | None = None, columns: tuple[str, ...] = COLUMNS
) -> Histories:
    """The events that had happened by ``as_of`` and were known by ``known_at``, both inclusive, cart by cart.

    ``events`` is a frame of EVENTS in any form, with ids as 16 bytes or text, in any order; an event without
    recorded_at is always known. Raises OutOfOrder where a cart has a version twice, SourceError where a column is
    missing or of another kind, InvalidEvent where a type is unknown.
    """
    wanted = (*columns, "recorded_at") if known_at is not None else columns
    table = _known(_events(events, wanted), as_of, known_at)
    if not len(table):
        rows, none = rows_of(table.select(NEEDED)), np.zeros(0, np.int64)
        return Histories(rows, none, none, none, none, none)
    rows, carts = by_cart(table.select(NEEDED), sort=True)
    cart = np.repeat(np.arange(len(carts.begins)), carts.ends - carts.begins)
    return Histories(rows, carts.order, carts.begins, carts.ends, _by_time(rows, carts, cart), cart)


def with_event(events: Frame, kind: str) -> Frame:
    """All events of the carts that have an event of a kind; of a pyarrow Table also of carts that share their keys."""
    if isinstance(events, pl.DataFrame | pl.LazyFrame):
        having = events.lazy().filter(pl.col("type") == kind).select("cart_id").unique()
        return events.lazy().join(having, on="cart_id", how="semi")
    if not {"cart_id", "type"} <= set(events.column_names):
        return events
    keys = schema.cart_keys(schema.id_bytes(_column(events, "cart_id", wanted=True)))
    having = keys[pc.equal(events["type"], kind).to_numpy()]
    return events.filter(pa.array(np.isin(keys, having)))


def states(known: Histories, carts: Array, until_us: Array) -> pl.DataFrame:
    """What each of these carts was after all its events with a time up to ``until_us``, in the order given.

    The carts must ascend, and the moments within a cart. Columns as in the table carts, without cart_id; version is
    the highest one behind the state.
    """
    if not len(carts):
        return TABLES["carts"].empty().drop("cart_id")
    told = carts_told(known.rows, tell(known.rows, *_runs(known, carts, until_us)))
    return cast("pl.DataFrame", pl.from_arrow(told.drop_columns("cart_id")))


def tables_at(known: Histories, places: Array) -> CartTables:
    """Carts and lines after the events at these places of ``known.order``, which ascend: a run of carts per place."""
    if not len(places):
        return CartTables(CARTS.empty_table(), LINES.empty_table())
    return folded(known.rows, known.order, known.begins[known.cart[places]], places + 1)


def id_texts(ids: Array) -> pl.Series:
    """(n, 16) bytes as UUID texts."""
    whole = np.ascontiguousarray(ids)
    data = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(whole), [None, pa.py_buffer(whole)])
    return pl.Series("cart_id", data.cast(pa.large_binary())).to_frame().select(uuid_text("cart_id")).to_series()


def moments(times_us: Array, where: Array | None = None) -> pl.Series:
    """Microseconds as moments, null where ``where`` is false."""
    values = pl.Series(times_us.astype(np.int64))
    return values.cast(MOMENT) if where is None else values.set(pl.Series(~where), None).cast(MOMENT)


def _events(events: Frame, columns: tuple[str, ...]) -> pa.Table:
    """These columns of EVENTS, and what else a fold reads as nulls."""
    if isinstance(events, pl.DataFrame | pl.LazyFrame):
        names = set(events.collect_schema().names())
        events = events.lazy().select(name for name in columns if name in names).collect().to_arrow()
    missing = [name for name in ("cart_id", "version", "timestamp", "type") if name not in events.column_names]
    if missing:
        raise SourceError(f"this is no events table: columns missing {missing}; it has {events.column_names}")
    return pa.table({name: _column(events, name, name in columns) for name in dict.fromkeys((*NEEDED, *columns))})


def _column(events: pa.Table, name: str, wanted: bool) -> Any:  # noqa: FBT001 - private, and read only here
    kind = EVENTS.field(name).type
    if not wanted or name not in events.column_names:
        return pa.nulls(len(events), kind)
    column = events[name]
    if column.type.equals(kind):
        return column
    try:
        return _uuids(column) if isinstance(kind, pa.UuidType) else column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"column {name} does not fit {kind}: {error}") from error


def _uuids(column: Any) -> Any:
    if not pa.types.is_large_binary(column.type):
        texts = cast("pl.Series", pl.from_arrow(column)).cast(pl.String)
        column = texts.str.replace_all("-", "", literal=True).str.decode("hex").to_arrow()
    raw = column.cast(pa.binary(16))
    chunks = raw.chunks if isinstance(raw, pa.ChunkedArray) else [raw]
    return pa.chunked_array([pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in chunks], pa.uuid())


def _known(table: pa.Table, as_of: datetime | None, known_at: datetime | None) -> pa.Table:
    for name, limit in (("timestamp", as_of), ("recorded_at", known_at)):
        if limit is None:
            continue
        late = pc.greater(table[name], pa.scalar(moment_us(limit), pa.int64()).cast(EVENTS.field(name).type))
        if pc.any(late).as_py():
            table = table.filter(pc.invert(pc.fill_null(late, False)))
    return table


def _by_time(rows: Rows, carts: Grouped, cart: Array) -> Array:
    """The grouped rows with each cart's by (time, version); most carts are so already."""
    times = rows.time_us[carts.order]
    back = np.flatnonzero((times[1:] < times[:-1]) & (cart[1:] == cart[:-1]))
    if not len(back):
        return carts.order
    places = np.flatnonzero(np.isin(cart, np.unique(cart[back])))
    ordered = carts.order.copy()
    ordered[places] = carts.order[places[np.lexsort((times[places], cart[places]))]]
    return ordered


def _runs(known: Histories, carts: Array, until_us: Array) -> tuple[Array, Array, Array]:
    """Rows to fold for each state, and where they begin and end.

    Where a cart's times ascend a state is a growing part of it, and the fold goes on from the state before. Where
    they run back, each state has rows of its own, put behind the others.
    """
    begins = known.begins[carts]
    times = known.rows.time_us[known.by_time]
    ends = ends_until(times, begins, known.ends[carts], until_us)
    bent = np.flatnonzero(np.isin(carts, known.cart[known.by_time != known.order]))
    if not len(bent):
        return known.order, begins, ends
    sizes = ends[bent] - begins[bent]
    state = np.repeat(np.arange(len(bent)), sizes)
    own_ends = np.cumsum(sizes)
    rows = known.by_time[np.arange(own_ends[-1]) - (own_ends - sizes - begins[bent])[state]]
    rows = rows[np.lexsort((known.rows.versions[rows], state))]
    begins[bent], ends[bent] = len(known.order) + own_ends - sizes, len(known.order) + own_ends
    return np.concatenate([known.order, rows]), begins, ends


def ends_until(times: Array, begins: Array, ends: Array, until: Array) -> Array:
    """Where the times of each part [begin, end), which ascend, rise above a limit: all parts searched at once."""
    low, high = begins.copy(), ends.copy()
    while (open_parts := low < high).any():
        middle = (low + high) // 2
        within = open_parts & (times[np.minimum(middle, len(times) - 1)] <= until)
        low = np.where(within, middle + 1, low)
        high = np.where(open_parts & ~within, middle, high)
    return low
