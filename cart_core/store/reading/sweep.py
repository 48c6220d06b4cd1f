"""One pass over a store in the order of its carts, whatever its size: a piece at a time, each row group read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Connection, Segment
from cart_core.store.reading.reader import Reader
from cart_core.store.segments.folder import ROW_GROUP_ROWS, overlaid, stored_schema

Array = np.ndarray[Any, np.dtype[Any]]

PIECE_ROWS = 400_000
KEY_WIDTH = 64
WHOLE = (0, 1)
SPARSE = 8
AHEAD_GROUPS = 6
HELD_ROWS = 1_600_000
"""How many row groups of a segment are read at a time, as one alone takes thrice its time, and how many rows of all."""


def pieces(
    reader: Reader,
    live: list[Segment],
    tail: pa.Table,
    stored: list[str],
    encoded: Sequence[str] = (),
    share: tuple[int, int] = WHOLE,
) -> Iterator[pa.Table]:
    """Rows of AT_REST, columns ``stored``, in tables of about ``PIECE_ROWS`` rows by ranges of the carts' keys.

    Each holds all events of its carts, and stands by position, segment after segment, so that versions ascend; text
    columns that are ``encoded`` come as dictionaries. A ``share`` (i, n) is the i-th of n ranges of keys, from 0, where
    n is a power of two: the same ranges at any moment. Read without a transaction: files of a snapshot do not change,
    and stay while a reader may hold them.
    """
    number, of = share
    rows = sum(each.rows for each in live) + len(tail)
    count = 1 << (max(of, -(-rows // PIECE_ROWS)) - 1).bit_length()
    first, end = count // of * number, count // of * (number + 1)
    ahead = min(AHEAD_GROUPS, max(1, HELD_ROWS // (ROW_GROUP_ROWS * max(1, len(live)))))
    sweeps = [_Sweep(reader, each, count, (first, end), stored, encoded, ahead) for each in live]
    loose_in = _piece_of(schema.id_bytes(tail["cart_id"]), count)
    for piece in range(first, end):
        loose = tail.filter(pa.array(loose_in == piece))
        columns = loose.select(stored).cast(stored_schema(stored, encoded))
        yield pa.concat_tables(
            _by_position([each.take(piece) for each in sweeps], live, columns, loose["position"].to_numpy())
        )


def _piece_of(ids: Array, count: int) -> Array:
    bits = count.bit_length() - 1
    return schema.cart_keys(ids) >> np.uint64(KEY_WIDTH - bits) if bits else np.zeros(len(ids), np.uint64)


def _by_position(sealed: list[pa.Table], live: list[Segment], loose: pa.Table, places: Array) -> Iterator[pa.Table]:
    done = 0
    for segment, part in zip(live, sealed, strict=True):
        before = int(np.searchsorted(places, segment.first_position))
        yield loose.slice(done, before - done)
        yield part
        done = before
    yield loose.slice(done)


class _Sweep:
    """The rows of one segment from its first to its last; what a piece leaves of a row group is kept for the next."""

    def __init__(
        self,
        reader: Reader,
        segment: Segment,
        count: int,
        between: tuple[int, int],
        stored: list[str],
        encoded: Sequence[str],
        ahead: int,
    ) -> None:
        kept = reader.indexes.kept(segment)
        self._bounds = kept.index.bounds(count, segment.rows)
        kept.let_go()
        self._segment = segment
        self._group_ends = kept.footer.group_end
        self._read = partial(reader.folder.read_span, segment, kept.footer, columns=stored, encoded=encoded)
        first, end = (self._bounds[each] for each in between)
        self._next_group, self._last_group, begins = kept.footer.groups(first, max(1, end - first))
        self._skipped = first - begins
        self._ahead = ahead
        self._held = stored_schema(stored, encoded).empty_table()

    def take(self, piece: int) -> pa.Table:
        """The rows of the next piece."""
        wanted = self._bounds[piece + 1] - self._bounds[piece]
        if wanted > len(self._held):
            last = int(np.searchsorted(self._group_ends, self._bounds[piece + 1], side="left"))
            last = min(max(last, self._next_group + self._ahead - 1), self._last_group)
            fresh = self._read(self._next_group, last).slice(self._skipped)
            self._held = pa.concat_tables([self._held, overlaid(fresh, self._segment)])
            self._next_group, self._skipped = last + 1, 0
        part = self._held.slice(0, wanted)
        self._held = self._held.slice(wanted)
        return part


class Names:
    """The users behind pseudonyms, of all that there are or of a few, for whole columns at once."""

    def __init__(self, db: Connection, few: Sequence[int] | None = None) -> None:
        if few is None:
            keys, texts = catalog.user_columns(db)
        else:
            known = sorted(catalog.user_names(db, few).items())
            keys, texts = [key for key, _ in known], [text for _, text in known]
        self._keys = np.array(keys, np.int64)
        self._texts = pa.array(texts, pa.string())
        largest = int(self._keys.max(initial=-1))
        self._place = np.full(largest + 2, -1, np.int64) if largest < SPARSE * len(keys) + SPARSE else None
        if self._place is not None:
            self._place[self._keys] = np.arange(len(keys))

    def of(self, user_keys: pa.ChunkedArray, *, encoded: bool = False) -> pa.Array:
        """The user of each pseudonym, as a dictionary if so wanted; a forgotten one reads as the pseudonym's number."""
        keys = user_keys.to_numpy()
        places = self._places(keys)
        forgotten = np.unique(keys[places < 0])
        texts = self._texts
        if len(forgotten):
            pseudonyms = pa.array([f"{at_rest.FORGOTTEN}{key}" for key in forgotten], pa.string())
            texts = pa.concat_arrays([texts, pseudonyms])
            places = np.where(places < 0, len(self._texts) + np.searchsorted(forgotten, keys), places)
        indices = pa.array(places.astype(np.int32))
        return pa.DictionaryArray.from_arrays(indices, texts) if encoded else texts.take(indices)

    def _places(self, keys: Array) -> Array:
        if self._place is not None:
            return np.asarray(self._place[np.minimum(keys, len(self._place) - 1)])
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, places, -1)
