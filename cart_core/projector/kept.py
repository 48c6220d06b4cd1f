"""Carts and lines kept on disk, with the position they stand at: new events cost what they touch, not all of history.

The tables lie in parts by where a cart's first event stands, so that a day's events touch the latest parts and few
others. A folder of them looks like this::

    carts.parquet -> .kept/current/carts        lines.parquet -> .kept/current/lines
    .kept/current -> 000000123456-1a2b3c4d      .kept/000000123456-1a2b3c4d/watermark.json
    .kept/000000123456-1a2b3c4d/carts/part-00000.parquet, lines/part-00000.parquet, ...

Each generation is complete. Switching the one link ``current`` replaces both tables and the watermark at once; parts
that did not change are shared between generations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core import schema
from cart_core.projector import generations
from cart_core.projector.columns import ENCODED, NEEDED
from cart_core.projector.generations import SCHEMAS, Part, Watermark
from cart_core.projector.kernel import Array
from cart_core.projector.many import by_cart, concatenated, folded
from cart_core.projector.resuming import resumable, resumed
from cart_core.projector.streaming import in_order
from cart_core.projector.tables import CartTables

PART_POSITIONS = 2**21
MOSTLY_NEW = 0.5
COLUMNS = (*NEEDED, "position")


class Source(Protocol):
    """What a projection reads of a store."""

    def position(self) -> int:
        """The position of the last event."""

    def forgotten(self) -> int:
        """How many times a user was forgotten."""

    def batches(
        self,
        columns: Sequence[str] | None = None,
        after: int = 0,
        until: int | None = None,
        encoded: Sequence[str] = (),
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[pa.Table]:
        """Events with after < position <= until, carts whole."""

    def read_many(self, cart_ids: pa.Array) -> pa.Table:
        """All events of many carts."""

    def scan(self, after: int = 0, until: int | None = None, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Events with after < position <= until."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The tables as they stand: files of carts and of lines in order, and the position of the last event in them."""

    position: int
    carts: tuple[Path, ...]
    lines: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did: events read, parts written of all parts, and whether it began from nothing."""

    position: int
    events: int
    parts_written: int
    parts: int
    rebuilt: bool


def current(folder: Path) -> Kept | None:
    """The tables kept in a folder, or None where there are none yet. They stay for the next two refreshes at least."""
    home = generations.home_of(folder)
    watermark = generations.watermark_of(home / "current")
    if watermark is None:
        return None
    generation = (home / "current").resolve()
    carts, lines = (tuple(sorted((generation / name).glob("part-*.parquet"))) for name in SCHEMAS)
    return Kept(watermark.position, carts, lines)


Rebuild = Callable[[Source, Path, Watermark], int]
"""Fills a generation's folder with the parts of all events up to a watermark; returns how many events there are."""


def refresh(
    source: Source,
    folder: Path,
    until: int | None = None,
    part_positions: int = PART_POSITIONS,
    rebuild: Rebuild | None = None,
) -> Refreshed:
    """Bring the tables in ``folder`` up to a position of the store, the last one by default.

    Only new events are read, and folded on top of the kept carts that they touch; only parts with such carts are
    written. The tables are those of a full rebuild, byte for byte, and take the place of the old ones, together with
    the watermark, in one step; a crash leaves the old ones. A full rebuild happens where there is nothing to go on
    from: at first, after a user was forgotten, where the store or its parts are others, or most events are new;
    ``rebuild`` says how, if not in this process. One process refreshes at a time; readers never wait.
    """
    home = generations.home_of(folder)
    home.mkdir(parents=True, exist_ok=True)
    with generations.alone(home):
        position = source.position() if until is None else min(until, source.position())
        mark = Watermark(position, _event_id(source, position), source.forgotten(), part_positions)
        before = generations.watermark_of(home / "current")
        if before is None or not _goes_on(source, before, mark):
            done = _rebuilt(source, home, mark, rebuild or rebuilt_here)
        elif before == mark:
            done = Refreshed(position, 0, 0, len(current(folder).carts), rebuilt=False)  # type: ignore[union-attr]
        else:
            done = _advance(source, home, before, mark, rebuild or rebuilt_here)
        for name in SCHEMAS:
            generations.link(folder / f"{name}.parquet", f".kept/current/{name}")
        return done


def _goes_on(source: Source, before: Watermark, mark: Watermark) -> bool:
    alike = replace(before, position=mark.position, last_event_id=mark.last_event_id) == mark
    if not alike or before.position > mark.position:
        return False
    if mark.position - before.position > MOSTLY_NEW * mark.position:
        return False
    return _event_id(source, before.position) == before.last_event_id


def _rebuilt(source: Source, home: Path, mark: Watermark, rebuild: Rebuild) -> Refreshed:
    with generations.new_generation(home, mark) as generation:
        events = rebuild(source, generation, mark)
        parts = len(generations.part_numbers(generation))
    return Refreshed(mark.position, events, parts, parts, rebuilt=True)


def rebuilt_here(source: Source, generation: Path, mark: Watermark) -> int:
    """Fold all events up to a watermark into the parts of a generation, in this process."""
    batches = source.batches(COLUMNS, until=mark.position, encoded=ENCODED)
    parts = {0: Part(generation, 0)}
    events = 0
    for read, by_part in in_order(partial(folded_by_part, part_positions=mark.part_positions), batches):
        events += read
        for number, tables in by_part.items():
            if number not in parts:
                parts[number] = Part(generation, number)
            parts[number].write(tables)
    for part in parts.values():
        part.finish()
    return events


def folded_by_part(batch: pa.Table, part_positions: int) -> tuple[int, dict[int, CartTables]]:
    """How many events a table holds, and its carts by the part that they belong to."""
    if not len(batch):
        return 0, {}
    rows, carts = by_cart(batch)
    tables = folded(rows, carts.order, carts.begins, carts.ends)
    first = batch["position"].to_numpy()[carts.order[carts.begins]]
    return len(batch), dict(_split(tables, (first - 1) // part_positions))


def _split(tables: CartTables, parts: Array) -> Iterator[tuple[int, CartTables]]:
    line_parts = np.repeat(parts, tables.carts["line_count"].to_numpy())
    for number in np.unique(parts):
        yield int(number), _only(tables, parts == number, line_parts == number)


def _only(tables: CartTables, carts: Array, lines: Array) -> CartTables:
    return CartTables(tables.carts.filter(pa.array(carts)), tables.lines.filter(pa.array(lines)))


def _advance(source: Source, home: Path, before: Watermark, mark: Watermark, rebuild: Rebuild) -> Refreshed:
    old = (home / "current").resolve()
    batches = source.batches(COLUMNS, after=before.position, until=mark.position, encoded=ENCODED)
    events = pa.concat_tables(list(batches))
    try:
        touched = _touched_parts(events, old, mark.part_positions)
    except KeyError:
        return _rebuilt(source, home, mark, rebuild)
    with generations.new_generation(home, mark) as generation:
        for number in generations.part_numbers(old):
            if number not in touched:
                generations.share_part(old, generation, number)
        after = partial(_part_after, source=source, old=old, until=mark.position)
        for number, tables in in_order(after, touched.items()):
            part = Part(generation, number)
            part.write(tables)
            part.finish()
        parts = len(generations.part_numbers(generation))
    return Refreshed(mark.position, len(events), len(touched), parts, rebuilt=False)


def _touched_parts(events: pa.Table, old: Path, part_positions: int) -> dict[int, pa.Table]:
    """New events by the part of their cart. Raises KeyError where a kept cart is missing."""
    _, carts = by_cart(events)
    firsts = carts.order[carts.begins]
    ids = schema.id_bytes(events["cart_id"])[firsts]
    parts = np.full(len(firsts), -1, np.int64)
    new = events["version"].to_numpy()[firsts] == 1
    parts[new] = (events["position"].to_numpy()[firsts][new] - 1) // part_positions
    for number in reversed(generations.part_numbers(old)):
        lost = np.flatnonzero(parts < 0)
        if not len(lost):
            break
        parts[lost[_places(generations.part_ids(old, number), ids[lost]) >= 0]] = number
    if (parts < 0).any():
        raise KeyError
    owner = np.empty(len(events), np.int64)
    owner[carts.order] = np.repeat(parts, carts.ends - carts.begins)
    return {int(number): events.filter(pa.array(owner == number)) for number in np.unique(parts)}


def _part_after(touched: tuple[int, pa.Table], source: Source, old: Path, until: int) -> tuple[int, CartTables]:
    """A part with new events folded into it, in order of key."""
    number, events = touched
    kept = generations.read_part(old, number)
    ids = schema.id_bytes(kept.carts["cart_id"])
    changed = np.zeros(len(ids), bool)
    wanted = schema.id_bytes(events["cart_id"])
    places = _places(ids, wanted)
    changed[places[places >= 0]] = True
    whole = changed & ~resumable(kept.carts)
    if whole.any():
        again = np.r_[whole, False][places]
        all_events = source.read_many(kept.carts["cart_id"].filter(pa.array(whole)).combine_chunks())
        all_events = all_events.filter(pa.array(all_events["position"].to_numpy() <= until)).select(COLUMNS)
        events = pa.concat_tables([events.filter(pa.array(~again)).cast(all_events.schema), all_events])
    lines = np.repeat(np.arange(len(ids)), kept.carts["line_count"].to_numpy())
    going_on, rest = (_only(kept, mask, mask[lines]) for mask in (changed & ~whole, ~changed))
    return number, _in_key_order(concatenated([rest, resumed(going_on, events)]))


def _in_key_order(tables: CartTables) -> CartTables:
    order = schema.key_order(schema.id_bytes(tables.carts["cart_id"]))
    counts = tables.carts["line_count"].to_numpy()
    starts = np.cumsum(counts) - counts
    moved = np.repeat(starts[order] - (np.cumsum(counts[order]) - counts[order]), counts[order])
    lines = moved + np.arange(len(moved))
    return CartTables(tables.carts.take(pa.array(order)), tables.lines.take(pa.array(lines)))


def _places(kept: Array, wanted: Array) -> Array:
    """Where each id stands among kept ids, which are in order of key; -1 where it does not."""
    if not len(kept):
        return np.full(len(wanted), -1)
    keys, asked = schema.cart_keys(kept), schema.cart_keys(wanted)
    places = np.searchsorted(keys, asked)
    found = np.full(len(wanted), -1)
    ahead = np.flatnonzero(places < len(keys))
    while len(ahead):
        same = (kept[places[ahead]] == wanted[ahead]).all(axis=1)
        found[ahead[same]] = places[ahead[same]]
        places[ahead] += 1
        ahead = ahead[~same & (places[ahead] < len(keys))]
        ahead = ahead[keys[places[ahead]] == asked[ahead]]
    return found


def _event_id(source: Source, position: int) -> str:
    if position == 0:
        return ""
    return str(source.scan(after=position - 1, until=position, columns=["event_id"]).collect()["event_id"][0].hex())
