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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from cart_core import schema
from cart_core.projector import generations
from cart_core.projector.columns import ENCODED, NEEDED
from cart_core.projector.generations import SCHEMAS, Watermark, write_part
from cart_core.projector.kernel import Array
from cart_core.projector.many import by_cart, concatenated, folded
from cart_core.projector.pieces import Pieces, cut_by
from cart_core.projector.resuming import resumable, resumed
from cart_core.projector.streaming import in_order
from cart_core.projector.tables import CARTS, LINES, CartTables, taken

PART_POSITIONS = 2**18
MOSTLY_NEW = 0.5
MANY_NEW = 4_000_000
COLUMNS = (*NEEDED, "position")
NOTHING = CartTables(CARTS.empty_table(), LINES.empty_table())

Item = TypeVar("Item")


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
    *,
    backwards: bool = True,
) -> Refreshed:
    """Bring the tables in ``folder`` up to a position of the store, the last one by default.

    Only new events are read, and folded on top of the kept carts that they touch; only parts with such carts are
    written. The tables are those of a full rebuild, byte for byte, and take the place of the old ones, together with
    the watermark, in one step; a crash leaves the old ones. A full rebuild happens where there is nothing to go on
    from: at first, after a user was forgotten, where the store or its parts are others, where most events are new, or
    more than MANY_NEW, as new events are held in memory; ``rebuild`` says how, if not in this process. Tables that are
    ahead of ``until`` are built anew too, or left as they are without ``backwards``. One process refreshes at a time;
    readers never wait.
    """
    home = generations.home_of(folder)
    home.mkdir(parents=True, exist_ok=True)
    with generations.alone(home):
        before = generations.watermark_of(home / "current")
        position = _position(source.position(), until, None if backwards else before)
        mark = Watermark(position, event_id(source, position), source.forgotten(), part_positions)
        if before is None or not _goes_on(source, before, mark):
            done = _rebuilt(source, home, mark, rebuild or rebuilt_here)
        elif before == mark:
            parts = len(generations.part_numbers(home / "current"))
            done = Refreshed(position, 0, 0, parts, rebuilt=False)
        else:
            done = _advance(source, home, before, mark, rebuild or rebuilt_here)
        for name in SCHEMAS:
            generations.link(folder / f"{name}.parquet", f".kept/current/{name}")
        return done


def _position(last: int, until: int | None, at_least: Watermark | None) -> int:
    wanted = last if until is None else min(until, last)
    return wanted if at_least is None or at_least.position > last else max(wanted, at_least.position)


def _goes_on(source: Source, before: Watermark, mark: Watermark) -> bool:
    alike = replace(before, position=mark.position, last_event_id=mark.last_event_id) == mark
    if not alike or before.position > mark.position:
        return False
    if mark.position - before.position > min(MANY_NEW, MOSTLY_NEW * mark.position):
        return False
    return event_id(source, before.position) == before.last_event_id


def _rebuilt(source: Source, home: Path, mark: Watermark, rebuild: Rebuild) -> Refreshed:
    with generations.new_generation(home, mark) as generation:
        events = rebuild(source, generation, mark)
        parts = len(generations.part_numbers(generation))
    return Refreshed(mark.position, events, parts, parts, rebuilt=True)


def rebuilt_here(source: Source, generation: Path, mark: Watermark) -> int:
    """Fold all events up to a watermark into the parts of a generation, in this process."""
    events = 0
    with Pieces(generation / "pieces") as pieces:
        batches = source.batches(COLUMNS, until=mark.position, encoded=ENCODED)
        for read, cut in in_order(partial(_folded_by_part, part_positions=mark.part_positions), batches):
            events += read
            pieces.add(cut)
        numbers = pieces.numbers()
        _do(lambda number: write_part(generation, number, pieces.take(number)), numbers)
    if 0 not in numbers:
        write_part(generation, 0, NOTHING)
    return events


def _folded_by_part(batch: pa.Table, part_positions: int) -> tuple[int, dict[int, tuple[pa.Buffer, pa.Buffer]]]:
    """How many events a table holds, and its carts by the part that they belong to."""
    if not len(batch):
        return 0, {}
    rows, carts = by_cart(batch)
    first = batch["position"].to_numpy()[carts.order[carts.begins]]
    return len(batch), cut_by((first - 1) // part_positions, folded(rows, carts.order, carts.begins, carts.ends))


def _do(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Do the same with every item, on all cores."""
    for _ in in_order(work, items):
        pass


def _advance(source: Source, home: Path, before: Watermark, mark: Watermark, rebuild: Rebuild) -> Refreshed:
    old = (home / "current").resolve()
    batches = source.batches(COLUMNS, after=before.position, until=mark.position, encoded=ENCODED)
    events = pa.concat_tables(list(batches))
    try:
        touched = _by_part(events, old, mark.part_positions)
    except KeyError:
        return _rebuilt(source, home, mark, rebuild)
    with generations.new_generation(home, mark) as generation:
        for number in generations.part_numbers(old):
            if number not in touched:
                generations.share_part(old, generation, number)
        fold_in = partial(_part_after, source=source, old=old, until=mark.position)
        _do(lambda part: write_part(generation, part, fold_in(part, touched[part])), touched)
        parts = len(generations.part_numbers(generation))
    return Refreshed(mark.position, len(events), len(touched), parts, rebuilt=False)


def _by_part(events: pa.Table, old: Path, part_positions: int) -> dict[int, pa.Table]:
    """New events by the part of their cart. Raises KeyError where a kept cart is missing."""
    rows, carts = by_cart(events)
    firsts = carts.order[carts.begins]
    parts = (events["position"].to_numpy()[firsts] - 1) // part_positions
    known = rows.versions[firsts] != 1
    parts[known] = _parts_of(rows.id_bytes[firsts[known]], old)
    owner = np.empty(len(events), np.int64)
    owner[carts.order] = np.repeat(parts, carts.ends - carts.begins)
    order = np.argsort(owner, kind="stable")
    numbers, begins = np.unique(owner[order], return_index=True)
    ordered = events.take(pa.array(order)).combine_chunks()
    sizes = np.diff(np.r_[begins, len(order)])
    return {int(part): ordered.slice(*place) for part, *place in zip(numbers, begins, sizes, strict=True)}


def _parts_of(ids: Array, old: Path) -> Array:
    """The part of each cart, the latest looked through first. Raises KeyError where one is in none."""
    parts = np.full(len(ids), -1, np.int64)
    numbers = reversed(generations.part_numbers(old))
    for number, places in in_order(lambda number: (number, _places(generations.part_ids(old, number), ids)), numbers):
        parts[places >= 0] = number
        if (parts >= 0).all():
            return parts
    if len(ids):
        raise KeyError
    return parts


def _part_after(number: int, events: pa.Table, source: Source, old: Path, until: int) -> CartTables:
    """A part with new events folded into it, in order of key."""
    kept = generations.read_part(old, number)
    ids = schema.id_bytes(kept.carts["cart_id"])
    changed = np.zeros(len(ids), bool)
    places = _places(ids, schema.id_bytes(events["cart_id"]))
    changed[places[places >= 0]] = True
    whole = changed & ~resumable(kept.carts)
    if whole.any():
        again = np.r_[whole, False][places]
        all_events = source.read_many(kept.carts["cart_id"].filter(pa.array(whole)).combine_chunks())
        all_events = all_events.filter(pa.array(all_events["position"].to_numpy() <= until)).select(COLUMNS)
        events = pa.concat_tables([events.filter(pa.array(~again)).cast(all_events.schema), all_events])
    fresh = resumed(taken(kept, np.flatnonzero(changed & ~whole)), events)
    rows = np.r_[np.flatnonzero(~changed), len(ids) + np.arange(len(fresh.carts))]
    order = schema.key_order(np.concatenate([ids, schema.id_bytes(fresh.carts["cart_id"])])[rows])
    return taken(concatenated([kept, fresh]), rows[order])


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


def event_id(source: Source, position: int) -> str:
    """The id of the event at a position, in hex; none at 0."""
    if position == 0:
        return ""
    return str(source.scan(after=position - 1, until=position, columns=["event_id"]).collect()["event_id"][0].hex())
