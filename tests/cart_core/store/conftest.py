"""Stores of every kind for the contract suite, and a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cart_core.store import CartStore, MemoryStore
from cart_core.store.base import Store
from tests import postgres
from tests.cart_core.store import buckets


class SteppingClock:
    """A clock that tells one second more at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The next second."""
        self.now += timedelta(seconds=1)
        return self.now


def on_objects(path: Path, clock: SteppingClock) -> Store:
    """A store whose segments lie in a bucket of their own, every batch a segment."""
    segments = f"s3://{buckets.new_bucket().name}/shop?endpoint={buckets.server()}"
    return CartStore.open(path / "store", segments=segments, clock=clock, journal_rows=0)


def on_postgres(path: Path, clock: SteppingClock, **more: Any) -> Store:
    """A store whose catalog is a schema of its own on a PostgreSQL server."""
    return CartStore.open(catalog=postgres.server().fresh(), segments=str(path / "segments"), clock=clock, **more)


Kinds = dict[str, Callable[[Path, SteppingClock], Store]]
KINDS: Kinds = {
    "memory": lambda _path, clock: MemoryStore(clock),
    "sqlite": lambda path, clock: CartStore.open(path / "store", clock=clock),
    "sqlite, every batch a segment": lambda path, clock: CartStore.open(path / "store", clock=clock, journal_rows=0),
    "postgresql": on_postgres,
    "postgresql, every batch a segment": lambda path, clock: on_postgres(path, clock, journal_rows=0),
    "s3, every batch a segment": on_objects,
}
MARKS = {kind: getattr(pytest.mark, mark) for mark in ("postgres", "s3") for kind in KINDS if kind.startswith(mark)}


@pytest.fixture
def ticking() -> SteppingClock:
    """The stores' clock, to move by hand."""
    return SteppingClock()


@pytest.fixture(params=[pytest.param(kind, marks=MARKS.get(kind, ())) for kind in KINDS])
def store(request: pytest.FixtureRequest, tmp_path: Path, ticking: SteppingClock) -> Iterator[Store]:
    """A store of every kind, empty."""
    with buckets.credentials(), KINDS[request.param](tmp_path, ticking) as opened:
        yield opened


@pytest.fixture
def durable(tmp_path: Path, ticking: SteppingClock) -> Iterator[CartStore]:
    """A durable store, empty."""
    with CartStore.open(tmp_path / "store", clock=ticking) as opened:
        yield opened
