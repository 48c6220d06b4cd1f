"""A store in memory: slow, small, and right; the measure that the durable stores are held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from cart_core import schema
from cart_core.errors import CartError, ConcurrencyError, EventIdConflict, InvalidEvent
from cart_core.events import Envelope
from cart_core.store import requests
from cart_core.store.at_rest import FORGOTTEN
from cart_core.store.base import Clock, Store, check_moments
from cart_core.store.requests import Append
from cart_core.store.results import REFUSED, Admission, Compacted, Sealed, Verified
from cart_core.store.writing.writer import Answer

if TYPE_CHECKING:
    import polars as pl


class MemoryStore(Store):
    """Envelopes in a list, checked one by one, under one lock's worth of single-threaded use."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self._log: list[Envelope] = []
        self._by_id: dict[str, Envelope] = {}
        self._carts: dict[bytes, list[Envelope]] = {}
        self._users = 0

    def _submit(self, request: Append) -> int:
        stored = sorted(
            (self._by_id[each.event_id] for each in request.envelopes if each.event_id in self._by_id),
            key=lambda each: each.version,
        )
        if stored:
            if requests.repeats(request, stored):
                return stored[-1].version
            raise EventIdConflict(stored[0].event_id)
        head = len(self._carts.get(request.cart_id, ()))
        if head != request.expected_version:
            raise ConcurrencyError(request.cart, request.expected_version, head)
        now = self._now()
        for envelope in request.envelopes:
            self._write(envelope, now)
        return head + len(request.envelopes)

    def _submit_all(self, group: Sequence[Append]) -> list[Answer]:
        answers: list[Answer] = []
        for request in group:
            try:
                answers.append(self._submit(request))
            except CartError as error:
                answers.append(error)
        return answers

    def _admit(self, table: pa.Table, *, whole: bool) -> Admission:
        verdicts = _Trial(self._by_id, self._carts, table)
        if whole and verdicts.refused:
            verdicts.accepted = []
        now = self._now()
        for envelope in verdicts.accepted:
            self._write(envelope, now)
        return Admission(
            appended=len(verdicts.accepted),
            carts=len({each.cart_id for each in verdicts.accepted}),
            already_known=verdicts.known,
            refused=pa.Table.from_pylist(sorted(verdicts.refused, key=lambda each: each["row"]), schema=REFUSED),
            position=self.position(),
        )

    def _write(self, envelope: Envelope, now: datetime) -> None:
        stored = replace(envelope, recorded_at=now, position=len(self._log) + 1)
        self._log.append(stored)
        self._by_id[stored.event_id] = stored
        self._carts.setdefault(UUID(stored.cart_id).bytes, []).append(stored)

    def _now(self) -> datetime:
        last = self._log[-1].recorded_at if self._log else None
        now = self.clock()
        return now if last is None else max(now, last)

    def _history(self, cart_id: bytes, after_version: int) -> list[Envelope]:
        return self._carts.get(cart_id, [])[after_version:]

    def scan(
        self,
        after: int = 0,
        until: int | None = None,
        columns: Sequence[str] | None = None,
        *,
        at: datetime | None = None,
        known_at: datetime | None = None,
    ) -> pl.LazyFrame:
        """Events with after < position <= until, by position, that happened by ``at``, recorded by ``known_at``."""
        import polars as pl

        check_moments(at, known_at)
        table = schema.to_table(
            each
            for each in self._log[after:until]
            if (at is None or each.timestamp <= at)
            and (known_at is None or (each.recorded_at is not None and each.recorded_at <= known_at))
        )
        return pl.LazyFrame(pl.from_arrow(table.select(list(columns)) if columns is not None else table))

    def batches(
        self,
        columns: Sequence[str] | None = None,
        after: int = 0,
        until: int | None = None,
        encoded: Sequence[str] = (),
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[pa.Table]:
        """One table."""
        table = schema.to_table(self._log[after:until])
        keys = schema.cart_keys(schema.id_bytes(table["cart_id"])).astype(float) / 2.0**64
        table = table.filter(pa.array((keys * share[1]).astype(np.int64) == share[0]))
        for name in encoded:
            table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
        yield table.select(list(columns)) if columns is not None else table

    def heads(self, cart_ids: pa.Array) -> pa.Table:
        """The versions of carts, 0 where unknown."""
        versions = [len(self._carts.get(row.tobytes(), ())) for row in schema.id_bytes(cart_ids)]
        return pa.table({"cart_id": cart_ids, "version": pa.array(versions, pa.int32())})

    def read_many(self, cart_ids: pa.Array, columns: Sequence[str] | None = None) -> pa.Table:
        """All events of many carts."""
        wanted = dict.fromkeys(row.tobytes() for row in schema.id_bytes(cart_ids))
        found = schema.to_table(each for cart in wanted for each in self._carts.get(cart, ()))
        return found if columns is None else found.select(list(columns))

    def known_ids(self, event_ids: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Per event id whether the store holds it."""
        ids = [str(UUID(bytes=row.tobytes())) for row in schema.id_bytes(event_ids)]
        return np.array([each in self._by_id for each in ids], bool)

    def carts_of(self, user_id: str) -> list[str]:
        """The carts that have an event of this user, the latest touched first."""
        latest = {each.cart_id: each.position for each in self._log if each.user_id == user_id}
        return sorted(latest, key=lambda cart: -(latest[cart] or 0))

    def position(self) -> int:
        """The position of the last event."""
        return len(self._log)

    def forgotten(self) -> int:
        """How many times a user was forgotten; whoever keeps user ids compares it."""
        return self._users

    def seal(self) -> Sealed:
        """Nothing to do in memory."""
        return Sealed(0, 0)

    def compact(self) -> Compacted:
        """Nothing to do in memory."""
        return Compacted(0, 0, 0)

    def verify(self) -> Verified:
        """Positions and versions are without gaps."""
        problems = [f"position {place}" for place, each in enumerate(self._log, 1) if each.position != place]
        for cart in self._carts.values():
            problems += [f"cart {each.cart_id}" for place, each in enumerate(cart, 1) if each.version != place]
        return Verified(len(self._log), 0, 0, "", problems)

    def forget(self, user_id: str) -> bool:
        """Replace the user by a pseudonym everywhere."""
        mine = [each for each in self._log if each.user_id == user_id]
        self._users += 1
        for old in mine:
            new = replace(old, user_id=f"{FORGOTTEN}{self._users}")
            self._log[(old.position or 0) - 1] = new
            self._by_id[new.event_id] = new
            self._carts[UUID(new.cart_id).bytes][new.version - 1] = new
        return bool(mine)

    def close(self) -> None:
        """Nothing to release."""


class _Trial:
    """A batch admitted row by row: the plain statement of what ``admission.plan`` does for all rows at once."""

    def __init__(self, by_id: dict[str, Envelope], carts: dict[bytes, list[Envelope]], table: pa.Table) -> None:
        self._by_id = by_id
        self._carts = carts
        self.known = np.zeros(len(table), bool)
        self.refused: list[dict[str, Any]] = []
        self.accepted: list[Envelope] = []
        rows = [self._envelope(row, document) for row, document in enumerate(schema.to_documents(table))]
        self._settle_versions(self._settle_ids([(row, each) for row, each in enumerate(rows) if each is not None]))

    def _envelope(self, row: int, document: dict[str, Any]) -> Envelope | None:
        try:
            return Envelope.from_json(document)
        except InvalidEvent as error:
            self._refuse(row, "invalid", str(error))
            return None

    def _settle_ids(self, rows: list[tuple[int, Envelope]]) -> list[tuple[int, Envelope]]:
        seen: dict[str, Envelope] = {}
        fresh = []
        for row, envelope in rows:
            earlier = seen.get(envelope.event_id) or self._by_id.get(envelope.event_id)
            if earlier is None:
                fresh.append((row, envelope))
                seen[envelope.event_id] = envelope
            elif _content(earlier) == _content(envelope) or _forgotten(earlier, envelope):
                self.known[row] = True
            else:
                self._refuse(row, "event_id_conflict", f"eventId {envelope.event_id} is known with other content")
        return fresh

    def _settle_versions(self, rows: list[tuple[int, Envelope]]) -> None:
        taken: dict[str, dict[int, int]] = {}
        chosen: dict[int, Envelope] = {}
        for row, envelope in rows:
            head = len(self._carts.get(UUID(envelope.cart_id).bytes, ()))
            versions = taken.setdefault(envelope.cart_id, {})
            if envelope.version <= head or envelope.version in versions:
                self._refuse(row, "version_conflict", f"version {envelope.version} is taken")
            else:
                versions[envelope.version] = row
                chosen[row] = envelope
        for cart, versions in taken.items():
            wanted = len(self._carts.get(UUID(cart).bytes, ())) + 1
            for version in sorted(versions):
                if version != wanted:
                    self._refuse(versions[version], "version_gap", f"version {wanted} is missing")
                    del chosen[versions[version]]
                else:
                    wanted += 1
        self._order(chosen)

    def _order(self, chosen: dict[int, Envelope]) -> None:
        by_cart: dict[str, list[Envelope]] = {}
        for envelope in sorted(chosen.values(), key=lambda each: -each.version):
            by_cart.setdefault(envelope.cart_id, []).append(envelope)
        self.accepted = [by_cart[chosen[row].cart_id].pop() for row in sorted(chosen)]

    def _refuse(self, row: int, reason: str, detail: str) -> None:
        self.refused.append({"row": row, "reason": reason, "detail": detail})


def _content(envelope: Envelope) -> Envelope:
    return replace(envelope, recorded_at=None, position=None, metadata=dict(envelope.metadata))


def _forgotten(stored: Envelope, mine: Envelope) -> bool:
    return stored.user_id.startswith(FORGOTTEN) and _content(replace(stored, user_id=mine.user_id)) == _content(mine)
