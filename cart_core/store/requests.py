"""One call of ``append``, checked and ready to be decided in the writing transaction."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cart_core import ledger, rules
from cart_core.errors import InvalidEvent, Problem
from cart_core.events import CLASSES, Envelope, Event, event_from_json, metadata_problems
from cart_core.rules import INT32_MAX
from cart_core.store import at_rest
from cart_core.store.at_rest import FORGOTTEN

Metadata = Mapping[str, str] | Sequence[Mapping[str, str]] | None


@dataclass(slots=True)
class Append:
    """Events for one cart under an expected version; ``ids_given`` where the caller chose the event ids.

    ``rows`` are the values of journal rows as far as they are known before the commit, and ``texts`` what stands before
    and after the user's key in each event's canonical JSON.
    """

    cart: str
    user_id: str
    expected_version: int
    events: list[Event]
    event_ids: list[str]
    timestamp: datetime
    metadata: list[Mapping[str, str]]
    ids_given: bool
    timed: bool
    cart_id: bytes = b""
    rows: list[list[Any]] = field(default_factory=list)
    texts: list[tuple[bytes, bytes]] = field(default_factory=list)
    _envelopes: list[Envelope] | None = None

    @property
    def envelopes(self) -> list[Envelope]:
        """The events as envelopes, made when somebody first asks. Raises InvalidEvent with every broken rule."""
        if self._envelopes is None:
            self._envelopes = [
                Envelope(
                    event_id=self.event_ids[place],
                    cart_id=self.cart,
                    user_id=self.user_id,
                    timestamp=self.timestamp,
                    version=self.expected_version + 1 + place,
                    event=event,
                    metadata=self.metadata[place],
                )
                for place, event in enumerate(self.events)
            ]
        return self._envelopes

    def is_sound(self) -> bool:
        """Whether every envelope would keep its rules, found out without making them."""
        return (
            rules.NAME.allows(self.user_id)
            and _MOMENT.allows(self.timestamp)
            and type(self.cart) is str
            and rules.UUID_TEXT.fullmatch(self.cart) is not None
            and (not self.ids_given or all(map(rules.UUID_TEXT.fullmatch, self.event_ids)))
            and not any(metadata_problems(each) for each in self.metadata if each is not _NO_METADATA)
        )

    def lay_out(self) -> None:
        """Note the rows and the canonical texts, so that the commit has but to number them."""
        cart, version, timestamp = self.cart.lower(), self.expected_version, self.timestamp
        self.cart, self.cart_id = cart, bytes.fromhex(cart.replace("-", ""))
        if self.ids_given:
            self.event_ids = [each.lower() for each in self.event_ids]
        for event_id, event, metadata in zip(self.event_ids, self.events, self.metadata, strict=True):
            version += 1
            self.texts.append(ledger.canonical_parts(cart, event, event_id, metadata, timestamp, version))
            self.rows.append(at_rest.to_journal(self.cart_id, version, event_id, event, timestamp, metadata))


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
        wording = f"a whole number from 0, for a new cart, to {INT32_MAX - len(events)}"
        raise InvalidEvent([Problem("expectedVersion", expected_version, wording)])
    if not events:
        raise InvalidEvent([Problem("events", [], "at least one event")])
    ids = [_new_id(now) for _ in events] if event_ids is None else _given(event_ids, len(events))
    request = Append(
        cart=str(cart_id) if isinstance(cart_id, UUID) else cart_id,
        user_id=user_id,
        expected_version=expected_version,
        events=[each if type(each) in _EVENT_CLASSES else event_from_json(each) for each in events],  # type: ignore[misc]
        event_ids=ids,
        timestamp=now if timestamp is None else timestamp,
        metadata=_maps(metadata, len(events)),
        ids_given=event_ids is not None,
        timed=timestamp is not None,
    )
    if not request.is_sound():
        _ = request.envelopes
    request.lay_out()
    return request


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
_MOMENT = rules.Moment()
_NO_METADATA: Mapping[str, str] = {}
_LOW_48 = 2**48 - 1


def _new_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562): the moment, to the microsecond, then 60 random bits.

    Ids of one moment stand beside each other in an index, so that many appends touch few of its pages.
    """
    millis, micros = divmod(rules.to_micros(now), 1000)
    moment, chance = f"{millis & _LOW_48:012x}", os.urandom(8).hex()
    return f"{moment[:8]}-{moment[8:]}-7{micros << 2:03x}-8{chance[1:4]}-{chance[4:]}"


def _given(event_ids: Sequence[str | UUID], count: int) -> list[str]:
    ids = [str(each) for each in event_ids]
    if len(ids) != count or len({each.lower() for each in ids}) < count:
        raise InvalidEvent([Problem("eventIds", ids, f"{count} different ids, one for each event")])
    return ids


def _maps(metadata: Metadata, count: int) -> list[Mapping[str, str]]:
    if metadata is None:
        return [_NO_METADATA] * count
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
