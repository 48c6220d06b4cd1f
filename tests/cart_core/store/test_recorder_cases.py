"""The recorder test cases that the eventsourcing library ships, over a thin adapter: they know nothing of our store."""

from __future__ import annotations

import tempfile
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import TestCase
from uuid import UUID, uuid4

import pytest

from cart_core.errors import ConcurrencyError, VersionGap
from cart_core.events import CheckoutStarted, Envelope
from cart_core.store import CartStore
from tests import postgres

pytest.importorskip("eventsourcing", reason="eventsourcing is not installed")
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    StoredEvent,
)
from eventsourcing.tests import persistence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = ["position", "cart_id", "metadata"]


class Recorder(AggregateRecorder):
    """An aggregate is a cart, its events are opaque to the store: topic, state and number stand in the metadata.

    An aggregate may begin with any number; a cart begins with version 1.
    """

    def __init__(self, store: CartStore, *, many: bool) -> None:
        self.store = store
        self.many = many

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Append, by the way of single carts or that of batches."""
        if stored_events:
            self.write(stored_events)
        return None

    def write(self, events: Sequence[StoredEvent]) -> list[Envelope]:
        """Append events of one aggregate; what the store refuses is an IntegrityError."""
        cart = str(events[0].originator_id)
        known = self.store.read(cart, version=1)
        before = int(known[0].metadata["number"]) - 1 if known else events[0].originator_version - 1
        versions = [each.originator_version - before for each in events]
        told = [metadata(each) for each in events]
        try:
            if self.many or versions != list(range(versions[0], versions[0] + len(versions))):
                rows = zip(versions, told, strict=True)
                self.store.append_many(
                    Envelope(str(uuid4()), cart, "nobody", NOW, version, CheckoutStarted(), metadata=each)
                    for version, each in rows
                )
            else:
                self.store.append(cart, [CheckoutStarted()] * len(events), "nobody", versions[0] - 1, metadata=told)
        except (ConcurrencyError, VersionGap) as error:
            raise IntegrityError from error
        return self.store.read(cart, version=versions[-1], after=versions[0] - 1)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Read one aggregate's events."""
        events = [stored(UUID(each.cart_id), each.metadata) for each in self.store.read(str(originator_id))]
        found = [
            each
            for each in events
            if (gt is None or each.originator_version > gt) and (lte is None or each.originator_version <= lte)
        ]
        return (found[::-1] if desc else found)[:limit]


class ApplicationWideRecorder(Recorder, ApplicationRecorder):
    """With the order of all events: a notification's id is an event's position."""

    def __init__(self, store: CartStore, *, many: bool) -> None:
        super().__init__(store, many=many)
        self.listeners: list[ListenNotifySubscription] = []

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Append, tell the positions, and wake whoever listens."""
        written = self.write(stored_events) if stored_events else []
        for listener in self.listeners:
            listener._has_been_notified.set()
        return [each.position for each in written]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Read on from a position."""
        after = (start or 1) - 1 if inclusive_of_start else start or 0
        until = stop if topics else min(after + limit, stop or after + limit)
        rows = self.store.scan(after, until, SHOWN).collect().sort("position")
        found = [notification(row) for row in rows.iter_rows(named=True)]
        return [each for each in found if not topics or each.topic in topics][:limit]

    def max_notification_id(self) -> int | None:
        """The last position."""
        return self.store.position() or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> ListenNotifySubscription:
        """Follow from a position on."""
        listener = ListenNotifySubscription(self, gt, topics)
        self.listeners.append(listener)
        return listener


def metadata(event: StoredEvent) -> dict[str, str]:
    """What is told of an event that is not ours."""
    state = b64encode(event.state).decode()
    return {"topic": event.topic, "state": state, "number": str(event.originator_version)}


def stored(originator_id: UUID, told: Any) -> StoredEvent:
    """The event that metadata tell of."""
    return StoredEvent(originator_id, int(told["number"]), told["topic"], b64decode(told["state"]))


def notification(row: dict[str, Any]) -> Notification:
    """The event of a row of SHOWN."""
    event = stored(UUID(bytes=row["cart_id"]), dict(row["metadata"]))
    return Notification(event.originator_id, event.originator_version, event.topic, event.state, row["position"])


class OnSqlite(TestCase):
    """A store in a folder; appends go one cart at a time."""

    many = False

    def catalog(self) -> str | None:
        """A file in the folder."""
        return None

    def new_store(self) -> CartStore:
        """An empty store that is closed when the test is over."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        return self.enterContext(CartStore.open(folder / "store", catalog=self.catalog()))


class OnPostgres(OnSqlite):
    """The same with its catalog on a server."""

    def catalog(self) -> str | None:
        """A schema of its own."""
        return postgres.server().fresh()


class AggregateCase(persistence.AggregateRecorderTestCase):
    """Insert and select, conflicts, all or nothing."""

    def create_recorder(self) -> AggregateRecorder:
        """A recorder on an empty store."""
        return Recorder(self.new_store(), many=self.many)


class ApplicationCase(persistence.ApplicationRecorderTestCase):
    """The order of all events, ten writers at once, subscriptions."""

    def create_recorder(self) -> ApplicationRecorder:
        """A recorder on an empty store."""
        return ApplicationWideRecorder(self.new_store(), many=self.many)

    def test_insert_subscribe(self) -> None:
        """The library leaves it to recorders whether they can do this."""
        self.optional_test_insert_subscribe()


class NonInterleavingCase(persistence.NonInterleavingNotificationIDsBaseCase):
    """Two inserts at once get positions one after the other, never mixed."""

    def create_recorder(self) -> ApplicationRecorder:
        """A recorder on an empty store."""
        return ApplicationWideRecorder(self.new_store(), many=self.many)


for _place, _marks in ((OnSqlite, ()), (OnPostgres, (pytest.mark.postgres,))):
    for _many in (False, True):
        for _case in (AggregateCase, ApplicationCase, NonInterleavingCase):
            _name = f"Test{_case.__name__}{_place.__name__}{'InBatches' if _many else ''}"
            globals()[_name] = type(_name, (_case, _place), {"many": _many, "pytestmark": list(_marks)})
del AggregateCase, ApplicationCase, NonInterleavingCase, OnSqlite, OnPostgres, _case, _place
