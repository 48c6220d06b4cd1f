"""Servers that benchmarks run beside what they measure, on 127.0.0.1, with the durability that people would use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests import postgres


@contextmanager
def postgresql() -> Iterator[str | None]:
    """The address of a database on a server as it comes, fsync and all; None where its programs are not installed."""
    folder = postgres.programs()
    if folder is None:
        yield None
        return
    with postgres.Server(folder) as server:
        yield server.new_database()
