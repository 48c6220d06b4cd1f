"""One call of ``append``, checked and ready to be decided in the writing transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from cart_core import schema
from cart_core.errors import InvalidEvent, Problem
from cart_core.events import CLASSES, Envelope, Event, event_from_json
from cart_core.rules import INT32_MAX
from cart_core.store.at_rest import FORGOTTEN

Metadata = Mapping[str, str] | Sequence[Mapping[str, str]] | None


@dataclass(slots=True)
class Append:
    """Events for one cart under an expected version; ``ids_given`` where the caller chose the event ids."""

    cart_id: bytes
    user_id: str
    expected_version: int
    envelopes: list[Envelope]
    rows: list[dict[str, Any]]
    ids_given: bool
    timed: bool

    @property
    def cart(self) -> str:
        """The cart id as text."""
        return self.envelopes[0].cart_id


def prepare(
    cart_id: str | UUID,
    events: Sequence[Event | dict[str, Any]],
    user_id: str,
    expected_version: int,
    event_ids: Sequence[str | UUID] | None,
    timestamp: datetime | None,
    metadata: Metadata,
    now: datetime,
) -> Append:
    """Check the arguments of an append. Raises InvalidEvent with every broken rule."""
    if type(expected_version) is not int or not 0 <= expected_version <= INT32_MAX - len(events):
        raise InvalidEvent([Problem("expectedVersion", expected_version, "a whole number, 0 for a new cart")])
    if not events:
        raise InvalidEvent([Problem("events", [], "at least one event")])
    ids = [str(uuid4()) for _ in events] if event_ids is None else [str(each) for each in event_ids]
    if len(ids) != len(events) or len(set(ids)) < len(ids):
        raise InvalidEvent([Problem("eventIds", ids, f"{len(events)} different ids, one for each event")])
    maps = _maps(metadata, len(events))
    envelopes = [
        Envelope(
            event_id=ids[place],
            cart_id=cart_id,  # type: ignore[arg-type]
            user_id=user_id,
            timestamp=now if timestamp is None else timestamp,
            version=expected_version + 1 + place,
            event=event if type(event) in _EVENT_CLASSES else event_from_json(event),  # type: ignore[arg-type]
            metadata=maps[place],
        )
        for place, event in enumerate(events)
    ]
    rows = [schema.to_row(envelope) for envelope in envelopes]
    return Append(
        rows[0]["cart_id"], user_id, expected_version, envelopes, rows, event_ids is not None, timestamp is not None
    )


def repeats(request: Append, stored: Sequence[Envelope]) -> bool:
    """Whether the stored events (by version) are the very ones that the request would write.

    Where the request was given no timestamp the stored one stands: a retry is later than the first try. A user who was
    forgotten meanwhile is passed over.
    """
    if len(stored) != len(request.envelopes):
        return False
    return all(
        one.event == other.event
        and one.event_id == other.event_id
        and one.cart_id == other.cart_id
        and (one.user_id == other.user_id or other.user_id.startswith(FORGOTTEN))
        and dict(one.metadata) == dict(other.metadata)
        and (one.timestamp == other.timestamp or not request.timed)
        for one, other in zip(request.envelopes, stored, strict=True)
    )


_EVENT_CLASSES = frozenset(CLASSES.values())


def _maps(metadata: Metadata, count: int) -> list[Mapping[str, str]]:
    if metadata is None:
        return [{}] * count
    if isinstance(metadata, Mapping):
        return [metadata] * count
    if len(metadata) != count:
        raise InvalidEvent(
            [Problem("metadata", list(metadata), f"one map for all, or {count} maps, one for each event")]
        )
    return list(metadata)


def utc_now() -> datetime:
    """The store's clock where it is handed no other."""
    return datetime.now(UTC)
