"""Finding events: the journal and the indexes of the segments, seen from one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.events import Envelope
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Connection, Segment
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.segments.index import IndexCache
from cart_core.store.segments.segment_index import Place, SegmentIndex, first_not_below

Array = np.ndarray[Any, np.dtype[Any]]
FEW_IDS = 2_000
FEW_CARTS = 16
"""So many carts are looked up one by one, each with the fewest pages; more of them segment by segment."""


class Reader:
    """Looks carts and events up in the journal and in the segments."""

    def __init__(self, folder: SegmentFolder, indexes: IndexCache) -> None:
        self.folder = folder
        self.indexes = indexes
        self._segments: tuple[int, list[Segment]] = (-1, [])

    def segments(self, db: Connection, generation: int | None = None) -> list[Segment]:
        """The live segments by position, read again only after they changed: after another ``generation``."""
        if generation is None:
            generation = catalog.state(db).generation
        known, segments = self._segments
        if known != generation:
            segments = catalog.segments(db)
            self._segments = (generation, segments)
        return segments

    def head(self, db: Connection, cart_id: bytes, generation: int | None = None) -> int:
        """The version a cart is at; 0 where the store has never seen it."""
        return self._head(db, cart_id, catalog.journal_head(db, cart_id), generation)

    def heads_of(
        self, db: Connection, cart_ids: Sequence[bytes], generation: int, unjournaled: Collection[bytes] = ()
    ) -> dict[bytes, int]:
        """The versions that some carts are at, asked for in one statement; 0 where the store has never seen one.

        The journal is not asked for ``unjournaled`` carts.
        """
        known = catalog.journal_heads_of(db, [each for each in cart_ids if each not in unjournaled])
        if len(cart_ids) <= FEW_CARTS:
            return {each: self._head(db, each, known.get(each, (0, 0)), generation) for each in cart_ids}
        sealed = self._sealed_heads(db, np.frombuffer(b"".join(cart_ids), np.uint8).reshape(-1, 16), generation)
        return {each: max(int(head), known.get(each, (0, 0))[0]) for each, head in zip(cart_ids, sealed, strict=True)}

    def _head(self, db: Connection, cart_id: bytes, in_journal: tuple[int, int], generation: int | None) -> int:
        version, position = in_journal
        key = schema.cart_key(cart_id)
        later = [each for each in self.segments(db, generation) if each.last_position >= position]
        self.indexes.expect_cart(later, key)
        for segment in reversed(later):
            place = self.indexes.get(segment).cart(key, cart_id)
            if place is not None:
                return max(version, place.head)
        return version

    def heads(self, db: Connection, ids: Array) -> Array:
        """The versions of many carts, given as (n, 16) bytes."""
        found = self._sealed_heads(db, ids)
        newest = self._journal_heads(db, ids)
        for row in np.flatnonzero(rows_in(ids, list(newest))):
            found[row] = max(found[row], newest[ids[row].tobytes()])
        return found

    def _journal_heads(self, db: Connection, ids: Array) -> dict[bytes, int]:
        """The versions that carts of the journal are at: those of a few, or all where many are asked for."""
        if len(ids) > FEW_IDS:
            return catalog.journal_heads(db)
        known = catalog.journal_heads_of(db, [row.tobytes() for row in ids])
        return {cart_id: version for cart_id, (version, _) in known.items()}

    def _sealed_heads(self, db: Connection, ids: Array, generation: int | None = None) -> Array:
        """The versions of many carts, as far as segments hold them."""
        found = np.zeros(len(ids), np.int64)
        keys = schema.cart_keys(ids)
        order = schema.ascending(keys)
        keys, sorted_ids = keys[order], schema.take_ids(ids, order)
        for segment in self.segments(db, generation):
            with self.indexes.searched(segment, len(ids)) as index:
                rows, places = index.carts(keys, sorted_ids)
                found[order[rows]] = np.maximum(found[order[rows]], index.cart_head[places])
        return found

    def history(self, db: Connection, cart_id: bytes, after_version: int = 0) -> list[Envelope]:
        """The events of one cart past a version, by version."""
        rows = [at_rest.from_journal_row(row) for row in catalog.journal_of_cart(db, cart_id, after_version)]
        users = [row["user_key"] for row in rows]
        found = list(self._places(db, cart_id, after_version))
        for segment, place in found:
            kept = self.indexes.kept(segment)
            kept.expect_groups(place.start, place.rows)
            self.folder.expect(segment, kept.footer, place.start, place.rows)
            users.append(place.user_key)
        names = catalog.user_names(db, list(dict.fromkeys(users)))  # while the system reads what was said to come
        for segment, place in found:
            footer = self.indexes.kept(segment).footer
            rows += self.folder.read_rows(segment, footer, place.start, place.rows).to_pylist()
        names |= catalog.user_names(db, list({row["user_key"] for row in rows}.difference(users)))
        for row in rows:
            row["user_id"] = names.get(row["user_key"], f"{at_rest.FORGOTTEN}{row['user_key']}")
        return [schema.from_row(row) for row in sorted(rows, key=itemgetter("version"))]

    def _places(self, db: Connection, cart_id: bytes, after_version: int) -> Iterator[tuple[Segment, Place]]:
        """The segments that hold versions of a cart past one, and where: a segment holds versions without a gap."""
        key, segments = schema.cart_key(cart_id), self.segments(db)
        self.indexes.expect_cart(segments, key)
        for segment in segments:
            place = self.indexes.get(segment).cart(key, cart_id)
            if place is not None and place.head > after_version:
                known = max(0, after_version - place.head + place.rows)
                yield segment, place._replace(start=place.start + known, rows=place.rows - known)

    def named(self, db: Connection, stored: pa.Table) -> pa.Table:
        """A table of AT_REST, or of some of its columns, as EVENTS, its users by their ids."""
        keys = stored["user_key"].unique().to_pylist() if "user_key" in stored.column_names else []
        return at_rest.with_names(stored, catalog.user_names(db, keys))

    def carts(self, db: Connection, ids: Array, columns: Sequence[str] = at_rest.AT_REST.names) -> pa.Table:
        """The events of many carts by position: columns of AT_REST, ``position`` among them."""
        keys = schema.cart_keys(ids)
        order = schema.ascending(keys)
        keys, sorted_ids = keys[order], schema.take_ids(ids, order)
        parts = []
        for segment in self.segments(db):
            with self.indexes.searched(segment, len(ids)) as index:
                _, places = index.carts(keys, sorted_ids)
                rows = _file_rows(index, np.unique(places))
            if len(rows):
                parts.append(self.folder.take(segment, rows, columns))
        wanted = list(dict.fromkeys(row.tobytes() for row in ids))
        parts.append(at_rest.from_journal(catalog.journal_where(db, "cart_id", wanted)).select(columns))
        whole = pa.concat_tables(parts)
        return whole.take(pa.array(np.argsort(whole["position"].to_numpy())))

    def events(self, db: Connection, ids: Array) -> tuple[Array, pa.Table]:
        """Which of the event ids, given as (n, 16) bytes, are known; and their events as AT_REST, in that order."""
        which: list[Array] = []
        parts: list[pa.Table] = []
        for rows, part in self._events_in_segments(db, ids):
            which.append(rows)
            parts.append(part)
        rows, part = self._events_in_journal(db, ids)
        which.append(rows)
        parts.append(part)
        return np.concatenate(which), pa.concat_tables(parts)

    def _events_in_segments(self, db: Connection, ids: Array) -> Iterator[tuple[Array, pa.Table]]:
        keys = schema.id_keys(ids)
        order = schema.ascending(keys)
        keys = keys[order]
        for segment in self.segments(db):
            with self.indexes.searched(segment, len(ids)) as index:
                for asked, file_rows in _matches(index, keys):
                    yield self._real_matches(segment, file_rows, order[asked], ids)

    def _real_matches(self, segment: Segment, file_rows: Array, rows: Array, ids: Array) -> tuple[Array, pa.Table]:
        by_place = np.argsort(file_rows)
        part = self.folder.take(segment, np.unique(file_rows).astype(np.int64))
        part = part.take(pa.array(np.searchsorted(np.unique(file_rows), file_rows[by_place])))
        rows = rows[by_place]
        real = (schema.id_bytes(part["event_id"]) == ids[rows]).all(axis=1)
        return rows[real], part.filter(pa.array(real))

    def _events_in_journal(self, db: Connection, ids: Array) -> tuple[Array, pa.Table]:
        wanted = [row.tobytes() for row in ids] if len(ids) <= FEW_IDS else _known(catalog.journal_ids(db), ids)
        found = catalog.journal_where(db, "event_id", list(dict.fromkeys(wanted)))
        place = {bytes(row[1]): number for number, row in enumerate(found)}
        rows = [row for row, each in enumerate(ids) if each.tobytes() in place] if place else []
        part = at_rest.from_journal(found)
        return np.array(rows, np.int64), part.take(pa.array([place[ids[row].tobytes()] for row in rows], pa.int64()))


def rows_in(ids: Array, wanted: Sequence[bytes]) -> Array:
    """Per row of (n, 16) bytes whether it is one of ``wanted``."""
    if not len(ids) or not wanted:
        return np.zeros(len(ids), bool)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, pa.py_buffer(ids.tobytes())])
    return np.asarray(pc.is_in(column, pa.array(wanted, pa.binary(16))).to_numpy(zero_copy_only=False))


def share_an_id(ids: Array, others: Array) -> bool:
    """Whether two lots of ids, each (n, 16) bytes, have one in common."""
    fewer, more = sorted((ids, others), key=len)
    keys = np.sort(schema.id_keys(more))
    if not len(fewer):
        return False
    asked = schema.id_keys(fewer)
    likely = fewer[keys[np.minimum(np.searchsorted(keys, asked), len(keys) - 1)] == asked]
    return bool(len(likely)) and bool(rows_in(more, [row.tobytes() for row in likely]).any())


def _known(stored: list[tuple[bytes, int]], ids: Array) -> list[bytes]:
    names = [each for each, _ in stored]
    mine = np.frombuffer(b"".join(names), np.uint8).reshape(-1, 16)
    keys = schema.id_keys(mine) if names else np.zeros(0, np.uint64)
    asked = np.sort(schema.id_keys(ids))
    places = np.minimum(np.searchsorted(asked, keys), len(asked) - 1)
    return [names[place] for place in np.flatnonzero(asked[places] == keys)]


def _matches(index: SegmentIndex, keys: Array) -> Iterator[tuple[Array, Array]]:
    """Which of the ascending keys events of a segment have, and the rows of these; further ones of a key later."""
    places = first_not_below(index.event_key, keys)
    asked = np.flatnonzero(places < len(index.event_key))
    while True:
        asked = asked[index.event_key[places[asked]] == keys[asked]]
        if not len(asked):
            break
        yield asked, index.event_row[places[asked]]
        places[asked] += 1
        asked = asked[places[asked] < len(index.event_key)]


def _file_rows(index: SegmentIndex, places: Array) -> Array:
    starts = index.cart_start[places].astype(np.int64)
    lengths = index.cart_rows[places].astype(np.int64)
    order = np.argsort(starts)
    starts, lengths = starts[order], lengths[order]
    moved: Array = np.repeat(starts - np.r_[0, np.cumsum(lengths)[:-1]], lengths)
    return np.arange(lengths.sum()) + moved
