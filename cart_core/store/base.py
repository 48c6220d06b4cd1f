"""What every store offers, over the few calls in which stores differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from uuid import UUID

import numpy as np
import pyarrow as pa

from cart_core import rules, schema
from cart_core.errors import ConcurrencyError, EventIdConflict, InvalidEvent, Problem, VersionGap
from cart_core.events import Envelope, Event
from cart_core.projector import CartState, fold
from cart_core.store import requests
from cart_core.store.requests import Append, Metadata
from cart_core.store.results import Admission, Compacted, Sealed, Verified
from cart_core.store.writing.writer import Answer

if TYPE_CHECKING:
    import polars as pl

Clock = Callable[[], datetime]
Events: TypeAlias = "pa.Table | pl.DataFrame | Iterable[Envelope | dict[str, Any]]"


class Store(ABC):
    """An append-only store of cart events: every promise of docs/guarantees.md, whatever it is kept in."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or requests.utc_now

    def append(
        self,
        cart_id: str | UUID,
        events: Sequence[Event | dict[str, Any]],
        user_id: str,
        expected_version: int,
        event_ids: Sequence[str | UUID] | None = None,
        timestamp: datetime | None = None,
        metadata: Metadata = None,
    ) -> int:
        """Write events to one cart if it is at ``expected_version``; all of them, or none.

        ``events`` are event objects or their JSON objects; ``metadata`` is one map for all or a list with one for
        each. Repeating a call with the same ``event_ids`` and content gives the first answer and writes nothing.
        When it returns, the events are durable. Thread-safe: callers that come together share a transaction.

        Returns the cart's new version. Raises ConcurrencyError where the cart is elsewhere, EventIdConflict where an
        id is known with other content, InvalidEvent where an argument breaks a rule.
        """
        return self._submit(self.prepare(cart_id, events, user_id, expected_version, event_ids, timestamp, metadata))

    def prepare(
        self,
        cart_id: str | UUID,
        events: Sequence[Event | dict[str, Any]],
        user_id: str,
        expected_version: int,
        event_ids: Sequence[str | UUID] | None = None,
        timestamp: datetime | None = None,
        metadata: Metadata = None,
    ) -> Append:
        """Check an append without writing it, for ``append_group``. Raises InvalidEvent."""
        return requests.prepare(
            cart_id, events, user_id, expected_version, event_ids, timestamp, metadata, self.clock()
        )

    def append_many(self, events: Events) -> Admission:
        """Write events that carry their own ids and versions, over any number of carts; all of them, or none.

        ``events`` are envelopes (objects or JSON objects) or a table with the columns of EVENTS. Events that the
        store knows already are passed over. Positions follow the order given, but versions of one cart ascend.

        Raises for the first bad row, naming it: InvalidEvent, VersionGap, ConcurrencyError (the version is taken),
        EventIdConflict, SourceError (the table has not the right columns).
        """
        table = as_table(events)
        admission = self._admit(table, whole=True)
        if len(admission.refused):
            self._raise_refused(table, admission.refused.slice(0, 1).to_pylist()[0])
        return admission

    def admit(self, events: Events) -> Admission:
        """Like ``append_many``, but bad rows are reported in the answer and the others written."""
        return self._admit(as_table(events), whole=False)

    def read(
        self,
        cart_id: str | UUID,
        version: int | None = None,
        at: datetime | None = None,
        known_at: datetime | None = None,
        *,
        after: int = 0,
    ) -> list[Envelope]:
        """The events of a cart by version: up to a version, that happened by ``at``, recorded by ``known_at``.

        These bounds are inclusive; with ``after`` only events past that version are read, which is quick for a long
        cart. An unknown cart has no events. Raises InvalidEvent for a bad id or a time without a zone.
        """
        check_moments(at, known_at)
        return [
            each
            for each in self._history(id_of(cart_id), after)
            if (version is None or each.version <= version)
            and (at is None or each.timestamp <= at)
            and (known_at is None or (each.recorded_at is not None and each.recorded_at <= known_at))
        ]

    def cart(
        self,
        cart_id: str | UUID,
        version: int | None = None,
        at: datetime | None = None,
        known_at: datetime | None = None,
    ) -> CartState:
        """The state of a cart, now or under the bounds of ``read``; an unknown cart is the empty one at version 0."""
        events = self.read(cart_id, version, at, known_at)
        return fold(events) if events else CartState.empty(str(UUID(bytes=id_of(cart_id))))

    def carts(self, cart_ids: Sequence[str | UUID]) -> list[CartState]:
        """The states of carts now, in the order given. Raises InvalidEvent for a bad id."""
        return [self.cart(each) for each in cart_ids]

    def append_group(self, group: Sequence[Append]) -> list[Answer]:
        """Write many prepared appends in one transaction; each answer is a new version or that append's error."""
        return self._submit_all(group)

    @abstractmethod
    def _submit(self, request: Append) -> int: ...

    @abstractmethod
    def _submit_all(self, group: Sequence[Append]) -> list[Answer]: ...

    @abstractmethod
    def _admit(self, table: pa.Table, *, whole: bool) -> Admission: ...

    @abstractmethod
    def _history(self, cart_id: bytes, after_version: int) -> list[Envelope]: ...

    @abstractmethod
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

        Of these only what happened by ``at`` and was recorded by ``known_at``, both inclusive. ``scan(until=p)`` has
        the same rows for ever, and so has ``scan(known_at=t)`` from t on. Rows come in no particular order. Raises
        InvalidEvent for a time without a zone.
        """

    @abstractmethod
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

    @abstractmethod
    def heads(self, cart_ids: pa.Array) -> pa.Table:
        """The versions of carts, 0 where unknown: columns cart_id and version, in the order given."""

    @abstractmethod
    def read_many(self, cart_ids: pa.Array, columns: Sequence[str] | None = None) -> pa.Table:
        """All events of many carts as a table of EVENTS, or of some of its columns; a cart's versions ascend."""

    @abstractmethod
    def known_ids(self, event_ids: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Per event id whether the store holds it."""

    @abstractmethod
    def carts_of(self, user_id: str) -> list[str]:
        """The carts that have an event of this user, the latest touched first."""

    @abstractmethod
    def position(self) -> int:
        """The position of the last event; 0 in an empty store."""

    @abstractmethod
    def forgotten(self) -> int:
        """How many times a user was forgotten; whoever keeps user ids compares it."""

    @abstractmethod
    def seal(self) -> Sealed:
        """Move the journal into segments; nothing that a reader sees changes."""

    @abstractmethod
    def compact(self) -> Compacted:
        """Rewrite small segments as large ones; nothing that a reader sees changes."""

    @abstractmethod
    def verify(self) -> Verified:
        """Check every event, file and link of the chain."""

    @abstractmethod
    def forget(self, user_id: str) -> bool:
        """Remove the link from a person to their events for good. Returns whether there was one."""

    @abstractmethod
    def close(self) -> None:
        """Release files and connections; the store may be opened again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise_refused(self, table: pa.Table, refused: dict[str, Any]) -> None:
        row = refused["row"]
        cart, version = table["cart_id"][row].as_py(), table["version"][row].as_py()
        if refused["reason"] == "invalid":
            schema.check(table)
        if refused["reason"] == "event_id_conflict":
            raise EventIdConflict(str(table["event_id"][row].as_py()), row)
        head = self.heads(table["cart_id"].slice(row, 1).combine_chunks())["version"][0].as_py()
        if refused["reason"] == "version_conflict":
            raise ConcurrencyError(str(cart), version - 1, max(head, version))
        raise VersionGap(str(cart), _missing(table, cart, head), row)


def as_table(events: Events) -> pa.Table:
    """Events in any form that a store takes as a table of EVENTS."""
    if isinstance(events, pa.Table | pa.RecordBatch) or hasattr(events, "to_arrow"):
        return schema.conform(events)
    return schema.to_table(
        each if isinstance(each, Envelope) else Envelope.from_json(each, row) for row, each in enumerate(events)
    )


def check_moments(at: datetime | None, known_at: datetime | None) -> None:
    """Raise InvalidEvent where a bound in time is no moment with a zone."""
    for name, moment in (("at", at), ("known_at", known_at)):
        if moment is not None and not rules.Moment().allows(moment):
            raise InvalidEvent([Problem(name, moment, rules.Moment().wording)])


def id_of(cart_id: str | UUID) -> bytes:
    """A cart id as 16 bytes. Raises InvalidEvent where it is no UUID."""
    if isinstance(cart_id, UUID):
        return cart_id.bytes
    if not isinstance(cart_id, str) or not rules.UUID_TEXT.fullmatch(cart_id):
        raise InvalidEvent([Problem("cartId", cart_id, rules.UUID_WORDING)])
    return UUID(cart_id).bytes


def _missing(table: pa.Table, cart: UUID, head: int) -> int:
    """The first version of a cart that neither the store nor the batch has."""
    mine = schema.id_bytes(table["cart_id"]) == np.frombuffer(cart.bytes, np.uint8)
    versions = {*table["version"].to_numpy(zero_copy_only=False)[mine.all(axis=1)]}
    return next(version for version in range(head + 1, head + len(versions) + 2) if version not in versions)
