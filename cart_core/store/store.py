"""The durable store: one door to the catalog and the segments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.errors import StillNamed
from cart_core.events import Envelope
from cart_core.projector import CartState
from cart_core.store import opening
from cart_core.store.at_rest import FORGOTTEN
from cart_core.store.base import Clock, Store, check_moments, id_of
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog
from cart_core.store.reading.live import LiveStates
from cart_core.store.reading.owners import OwnerCache
from cart_core.store.reading.reader import Reader
from cart_core.store.requests import Append
from cart_core.store.results import Admission, Compacted, Published, Sealed, Verified
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.segments.index import IndexCache
from cart_core.store.writing.bulk import JOURNAL_ROWS, BulkWriter
from cart_core.store.writing.writer import Answer, Writer
from cart_core.telemetry import traced

if TYPE_CHECKING:
    import duckdb
    import polars as pl

GRACE = timedelta(hours=1)
"""How long files that compaction replaced stay for readers that hold them."""


class CartStore(Store):
    """An append-only store on disk: a transactional catalog and immutable Parquet segments.

    Any number of processes may have it open; readers never wait for writers. Open it with ``CartStore.open``.
    """

    def __init__(
        self,
        path: Path,
        catalog_: Catalog,
        folder: SegmentFolder,
        clock: Clock | None,
        journal_rows: int = JOURNAL_ROWS,
    ) -> None:
        super().__init__(clock)
        self.path = path
        self.catalog = catalog_
        self.folder = folder
        self.indexes = IndexCache(path / "cache" / "index", folder)
        self.reader = Reader(folder, self.indexes)
        self._owners = OwnerCache(path / "cache" / "index")
        self._states = LiveStates(catalog_, self.reader)
        self._writer = Writer(catalog_, self.reader, self._states, self.clock)
        self._bulk = BulkWriter(catalog_, self.reader, self.clock, journal_rows)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        catalog: str | None = None,
        segments: str | None = None,
        clock: Clock | None = None,
        create: bool = True,
        journal_rows: int = JOURNAL_ROWS,
    ) -> CartStore:
        """Open the store in a folder, making one where there is none and ``create`` allows.

        ``catalog`` is ``postgresql://user@host/database?schema=cart_store&pool=10`` for a store that several hosts
        write; without it, and without a settings file ``store.toml`` that names one, it is a SQLite file in the
        folder. With it ``path`` may be left out: what else belongs to the store (caches, derived tables, inputs) then
        lies in the folder of the segments, or in ~/.cache/cart-workbench where they are on an object store.

        ``clock`` gives the moment of recording; batches of more than ``journal_rows`` events become segments at
        once. ``segments`` is where they lie: a folder, or ``s3://bucket/prefix``, with the way to it as options
        (``?endpoint=http://host:9000&region=us-east-1&cache=20GiB``) or in the usual AWS variables; it is settled when
        the store is made. Raises StoreNotFound, StoreUnreachable, StoreReadOnly, StoreCorrupt,
        StoreTooNew, Refused (segments_elsewhere, bad_settings).
        """
        home, found, folder = opening.opened(path, catalog, segments, create=create)
        return cls(home, found, folder, clock, journal_rows)

    @traced("store.append")
    def _submit(self, request: Append) -> int:
        return self._writer.submit(request)

    @traced("store.append_group")
    def _submit_all(self, group: Sequence[Append]) -> list[Answer]:
        return self._writer.submit_all(group)

    @traced("store.append_many")
    def _admit(self, table: pa.Table, *, whole: bool) -> Admission:
        return self._bulk.admit(table, whole=whole)

    def _history(self, cart_id: bytes, after_version: int) -> list[Envelope]:
        with self.catalog.reading() as db:
            return self.reader.history(db, cart_id, after_version)

    def cart(
        self,
        cart_id: str | UUID,
        version: int | None = None,
        at: datetime | None = None,
        known_at: datetime | None = None,
    ) -> CartState:
        """The state of a cart, now or under the bounds of ``read``; an unknown cart is the empty one at version 0.

        States are kept in memory and only what came since is folded, so a long cart is as quick as a short one.
        """
        if version is not None or at is not None or known_at is not None:
            return super().cart(cart_id, version, at, known_at)
        return self._states.get(id_of(cart_id))

    def carts(self, cart_ids: Sequence[str | UUID]) -> list[CartState]:
        """The states of carts now, in the order given, at the cost of one look at where the store stands."""
        return self._states.get_many([id_of(each) for each in cart_ids])

    def scan(
        self,
        after: int = 0,
        until: int | None = None,
        columns: Sequence[str] | None = None,
        *,
        at: datetime | None = None,
        known_at: datetime | None = None,
    ) -> pl.LazyFrame:
        """Events with after < position <= until as a lazy frame with the columns of EVENTS (or some of them).

        Of these only what happened by ``at`` and was recorded by ``known_at``, both inclusive. It reads one consistent
        moment without any lock. ``scan(until=p)`` has the same rows for ever, and so has ``scan(known_at=t)`` from t
        on. Rows come in no particular order (sort by position where it matters); ids are 16 bytes of binary, as Polars
        has no UUID. Raises InvalidEvent for a time without a zone.
        """
        from cart_core.store.reading import scanning

        check_moments(at, known_at)
        with self.catalog.reading() as db:
            return scanning.scan(db, self.reader, after, until, columns, at, known_at)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        after: int = 0,
        until: int | None = None,
        encoded: Sequence[str] = (),
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[pa.Table]:
        """All events in tables of some 400,000 rows, by ranges of ``schema.cart_keys``, ascending.

        The tables have the columns of EVENTS (or some of them). Each holds all events of its carts; a cart's versions
        ascend, though carts may be interleaved. Text columns that are ``encoded`` may come as dictionaries. A
        ``share`` (i, n) is the i-th of n parts of the carts, from 0, where n is a power of two: the same parts at any
        moment, so that several processes can read side by side.
        """
        from cart_core.store.reading import scanning

        with self.catalog.reading() as db:
            return scanning.batches(db, self.reader, columns, after, until, encoded, share)

    def heads(self, cart_ids: pa.Array) -> pa.Table:
        """The versions of carts, 0 where unknown: columns cart_id and version, in the order given."""
        with self.catalog.reading() as db:
            versions = self.reader.heads(db, schema.id_bytes(cart_ids))
        return pa.table({"cart_id": cart_ids, "version": pa.array(versions.astype(np.int32))})

    def read_many(self, cart_ids: pa.Array, columns: Sequence[str] | None = None) -> pa.Table:
        """All events of many carts as a table of EVENTS, or of some of its columns, by position."""
        wanted = list(columns) if columns is not None else schema.EVENTS.names
        stored = ["user_key" if name == "user_id" else name for name in dict.fromkeys((*wanted, "position"))]
        with self.catalog.reading() as db:
            return self.reader.named(db, self.reader.carts(db, schema.id_bytes(cart_ids), stored)).select(wanted)

    def known_ids(self, event_ids: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Per event id whether the store holds it."""
        known = np.zeros(len(event_ids), bool)
        with self.catalog.reading() as db:
            known[self.reader.events(db, schema.id_bytes(event_ids))[0]] = True
        return known

    def carts_of(self, user_id: str) -> list[str]:
        """The carts that have an event of this user, the latest touched first; as quick among millions as among few.

        Whose the carts of a segment are is noted in the cache folder when somebody first asks.
        """
        with self.catalog.reading() as db:
            key = catalog.find_user(db, user_id)
            latest = {} if key is None else self._owners.carts_of(db, self.reader, key)
        return [str(UUID(bytes=cart_id)) for cart_id in sorted(latest, key=latest.__getitem__, reverse=True)]

    def position(self) -> int:
        """The position of the last event; 0 in an empty store."""
        with self.catalog.reading() as db:
            return catalog.state(db).position

    def forgotten(self) -> int:
        """How many times a user was forgotten; whoever keeps user ids compares it."""
        with self.catalog.reading() as db:
            return catalog.forgotten(db)

    @traced("store.seal")
    def seal(self) -> Sealed:
        """Move the journal into segments; nothing that a reader sees changes, and a crash leaves before or after."""
        from cart_core.store.writing import sealing

        return sealing.seal(self.catalog, self.folder, self.clock)

    @traced("store.compact")
    def compact(self, grace: timedelta = GRACE) -> Compacted:
        """Rewrite small segments as large ones; nothing that a reader sees changes.

        Replaced files stay for ``grace``, as readers may hold them. A crash leaves before or after.
        """
        from cart_core.store.upkeep import compaction

        return compaction.compact(self.catalog, self.folder, self.indexes, self.clock, grace)

    @traced("store.publish")
    def publish(self) -> Published:
        """Make the Delta table beside the segments name exactly the live ones; nothing is copied.

        Any engine that reads Delta reads it; rows of the journal are not in it, and users are pseudonyms. Files whose
        positions or moment of recording stand in the catalog alone are first written anew. A crash leaves the version
        before, or the new one. Raises StoreBusy where somebody else publishes, StoreReadOnly, StoreUnreachable.
        """
        from cart_core.store.upkeep import publishing

        return publishing.publish(self.catalog, self.folder, self.clock)

    def anchor(self, file: str | os.PathLike[str], private_key: bytes | None = None) -> dict[str, Any]:
        """Add what the ledger is now as a line to a file that is kept elsewhere, signed with a key (Ed25519, PEM).

        Raises StoreCorrupt where the anchors before it do not fit this store.
        """
        from cart_core.store.upkeep import anchoring

        return anchoring.append_anchor(self.catalog, Path(file), self.clock, private_key)

    def verify(self, anchors: str | os.PathLike[str] | None = None, public_key: str | None = None) -> Verified:
        """Check every event, file and link of the chain; each problem found names its place.

        With ``anchors``, a file of them, the ledger must also still begin with what each of them says, which a store
        that was rolled back or rebuilt does not; with ``public_key`` (hex) each must be signed by it.
        """
        from cart_core.store.reading import status
        from cart_core.store.upkeep import anchoring, verifying

        found = verifying.verify(self.catalog, self.folder, self.indexes)
        if anchors is not None:
            found.problems.extend(anchoring.anchor_problems(self.catalog, Path(anchors), public_key))
        status.note_verified(self.path / "cache", found, self.clock())
        return found

    def forget(self, user_id: str) -> bool:
        """Remove the link from a person to their events for good. Returns whether there was one.

        Events keep the pseudonym, so totals and proofs stay. The id also goes from views, inputs, derived tables,
        set-aside rows and whatever else lies in the store's folder; backups, exports and Dagster's own storage are not
        covered. When all that is done it raises StoreBusy where a reader holds the catalog's old log, so that it has to
        be called again, and StillNamed where the id stands in the person's events, which never change, or in a file
        that cannot be cleaned.
        """
        from cart_core.store.catalogs import users
        from cart_core.store.upkeep import forgetting
        from cart_core.store.upkeep.traces import Traces

        with self.catalog.writing() as db:
            key = users.forget(db, user_id)
            catalog.change_files(db)
        traces = Traces(user_id, f"{FORGOTTEN}{key or 0}")
        done = forgetting.scrub(self.path, traces, self.folder.folder)
        with self.catalog.reading() as db:
            named = forgetting.events_naming(db, self.reader, key, traces) if key is not None else []
        self.catalog.erase()
        if named or done.left:
            raise StillNamed(named, [str(each) for each in done.left])
        return key is not None or bool(done.changed)

    def duckdb(
        self, *, at: datetime | None = None, known_at: datetime | None = None, until: int | None = None
    ) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with the views events, carts and lines of this moment (ids as text).

        With bounds, all inclusive, the views hold what happened by ``at``, was recorded by ``known_at``, and stands up
        to position ``until``. It may read the store and nothing else: external access is off and the configuration
        locked. Raises InvalidEvent for a time without a zone.
        """
        from cart_core.projector.streaming import Moment
        from cart_core.store.reading import duck

        check_moments(at, known_at)
        return duck.connect(self, moment=Moment(at, known_at, until))

    def status(self) -> dict[str, Any]:
        """What the store holds and how it lies on disk: counts, bytes, the last seal, the last verification."""
        from cart_core.store.reading import status

        with self.catalog.reading() as db:
            found = status.status(db, self.reader, str(self.path), self.path / "cache")
        return {"store": found["store"], "catalog": self.catalog.place} | found

    def close(self) -> None:
        """Release files and connections; the store may be opened again."""
        self.catalog.close()
        self.folder.close()
