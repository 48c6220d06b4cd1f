"""Telling carts that they are abandoned: CartAbandoned events, each under the version that was decided on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from cart_core.errors import ConcurrencyError
from cart_core.events import CartAbandoned
from cart_core.store.base import Store
from pipelines.derive.abandonment import COLUMNS, due

GROUP = 500
METADATA = {"source": "abandonment"}


@dataclass(frozen=True, slots=True)
class Announced:
    """``appended`` carts were told; ``skipped`` ones changed in the meantime, so that their shoppers win."""

    appended: int
    skipped: int


def announce(store: Store, as_of: datetime, idle: timedelta) -> Announced:
    """Append CartAbandoned to every cart that is due at a moment, unless its shopper acts first.

    Each event expects the version that was decided on; whoever wrote in between has won, and the cart is left alone.
    Groups of events are written whole or not at all, so a crash leaves carts told or untold, and the next run tells
    the rest: a cart that was told is not due. Raises what the store raises, other than ConcurrencyError.
    """
    told = [announce_to(store, due(events, as_of, idle), as_of) for events in store.batches(COLUMNS)]
    return Announced(sum(each.appended for each in told), sum(each.skipped for each in told))


def announce_to(store: Store, carts: pl.DataFrame, as_of: datetime) -> Announced:
    """``announce`` for carts that were found to be due, some of which may have changed since."""
    appended = skipped = 0
    for group in _groups(carts):
        answers = store.append_group([_request(store, cart, as_of) for cart in group])
        appended += sum(isinstance(answer, int) for answer in answers)
        skipped += sum(isinstance(answer, ConcurrencyError) for answer in answers)
        _raise_first(answers)
    return Announced(appended, skipped)


def _groups(found: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    for part in found.iter_slices(GROUP):
        yield part.to_dicts()


def _request(store: Store, cart: dict[str, Any], as_of: datetime) -> Any:
    event = CartAbandoned(cart["last_activity_at"])
    return store.prepare(cart["cart_id"], [event], cart["user_id"], cart["version"], timestamp=as_of, metadata=METADATA)


def _raise_first(answers: Sequence[int | Exception]) -> None:
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, ConcurrencyError):
            raise answer
