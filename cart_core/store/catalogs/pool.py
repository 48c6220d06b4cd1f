"""Connections to a PostgreSQL server: lent to one thread at a time, made anew where the server dropped them."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import psycopg

from cart_core.errors import StoreBusy

Raw = psycopg.Connection[Any]
_inherited: list[Raw] = []
"""Connections of a parent process: a forked child must neither use them nor say goodbye on them."""


class Pool:
    """At most ``size`` connections; the one that was given back last is lent first, so that idle ones can go."""

    def __init__(self, connect: Callable[[], Raw], size: int, wait_s: float) -> None:
        self._connect = connect
        self._size = size
        self._wait_s = wait_s
        self._pid = os.getpid()
        self._start()

    def begin(self, statements: str) -> tuple[Raw, psycopg.Cursor[Any]]:
        """A connection on which ``statements`` have been run, and the cursor that ran them.

        A connection that the server dropped meanwhile is replaced unseen. Raises StoreBusy where all connections stay
        in use, or what the server answers to the statements.
        """
        while True:
            raw, kept = self._take()
            try:
                cursor = raw.execute(statements)
            except psycopg.OperationalError:
                lost = raw.closed
                self.give_back(raw)
                if not (kept and lost):
                    raise
            except BaseException:
                self.give_back(raw)
                raise
            else:
                return raw, cursor

    def give_back(self, raw: Raw) -> None:
        """Take a connection back, whatever state it is in; one that is not fit to be lent again is closed."""
        if not raw.closed and raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            try:
                raw.execute("ROLLBACK")
            except psycopg.Error:
                raw.close()
        with self._waiting:
            self._lent -= 1
            if raw.closed:
                raw.close()
            else:
                self._free.append(raw)
            self._waiting.notify()

    def close(self) -> None:
        """Close the connections that nobody uses; the next call opens anew."""
        with self._waiting:
            _close_all(self._free, self._pid)

    def _take(self) -> tuple[Raw, bool]:
        """A connection, and whether it lay idle before."""
        if self._pid != os.getpid():
            _inherited.extend(self._free)
            self._pid = os.getpid()
            self._start()
        with self._waiting:
            if not self._waiting.wait_for(lambda: self._free or self._lent < self._size, self._wait_s):
                raise StoreBusy(
                    f"all {self._size} connections to the catalog are in use: allow more with ?pool= in its URL"
                )
            self._lent += 1
            if self._free:
                return self._free.pop(), True
        try:
            return self._connect(), False
        except BaseException:
            with self._waiting:
                self._lent -= 1
                self._waiting.notify()
            raise

    def _start(self) -> None:
        self._free: list[Raw] = []
        self._lent = 0
        self._waiting = threading.Condition()
        weakref.finalize(self, _close_all, self._free, self._pid)


def _close_all(idle: list[Raw], pid: int) -> None:
    if pid == os.getpid():
        while idle:
            idle.pop().close()
