"""Copies of segment files on this disk: fetched once, bounded in size, never taken from under a reader."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

HELD = ".held"
LOCK = ".lock"


class Copies:
    """A folder of copies, shared by all processes of a host, and kept below ``limit_bytes`` where readers allow it.

    A copy is in use from the moment its path is handed out until whoever handed it out closes or dies. The copies
    that were asked for longest ago go first; one in use never goes, however large the folder becomes by that. Files
    that are open or mapped need no such care: the system keeps them until they are closed.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._held: set[str] = set()
        self._list: _HeldList | None = None
        self._mutex = threading.Lock()
        (folder / HELD).mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the copy of a file lies, if there is one."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether there is a copy, which counts as asking for it."""
        try:
            os.utime(self.path(name))
        except FileNotFoundError:
            return False
        return True

    def hold(self, name: str, fetch: Callable[[], None]) -> Path:
        """The path of a copy that stays until ``close``; ``fetch`` brings it where there is none."""
        with self._alone(fcntl.LOCK_SH):
            self._note(name)
        if not self.has(name):
            fetch()
        return self.path(name)

    def take_in(self, temporary: Path, name: str) -> None:
        """Make a finished file the copy, and others go for it where there is no room."""
        temporary.rename(self.path(name))
        self.evict()

    def evict(self) -> int:
        """Remove copies until they fit; returns how many. Copies in use, and the newest, stay."""
        with self._alone(fcntl.LOCK_EX):
            held = self._held_by_anybody()
            copies = sorted(self._sizes(), key=lambda each: each[0])
            surplus = sum(size for _, size, _ in copies) - self._limit_bytes
            gone = 0
            for _, size, path in copies[:-1]:
                if surplus <= 0:
                    break
                if path.name not in held:
                    path.unlink(missing_ok=True)
                    surplus -= size
                    gone += 1
        return gone

    def close(self) -> None:
        """Let go of everything that was handed out."""
        with self._mutex:
            self._held.clear()
            if self._list is not None:
                self._list.close()
                self._list = None

    def _note(self, name: str) -> None:
        with self._mutex:
            if self._list is None or self._list.pid != os.getpid():
                self._list, self._held = _HeldList(self.folder / HELD), set()
            if name not in self._held:
                self._list.add(name)
                self._held.add(name)

    def _held_by_anybody(self) -> set[str]:
        names: set[str] = set()
        for path in (self.folder / HELD).iterdir():
            with suppress(FileNotFoundError), path.open("r+") as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    names.update(other.read().splitlines())
                else:
                    path.unlink(missing_ok=True)
        return names

    def _sizes(self) -> Iterator[tuple[int, int, Path]]:
        for path in self.folder.glob("*.parquet"):
            found = path.stat()
            yield found.st_mtime_ns, found.st_size, path

    @contextmanager
    def _alone(self, how: int) -> Iterator[None]:
        with (self.folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, how)
            yield


class _HeldList:
    """The names that one process has handed out, in a file locked for as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        self.pid = os.getpid()
        self._path = folder / f"{self.pid}-{uuid4().hex[:8]}"
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.close = weakref.finalize(self, _release, self._file, self._path, self.pid)

    def add(self, name: str) -> None:
        """Say that a copy is in use."""
        os.write(self._file, f"{name}\n".encode())


def _release(file: int, path: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has a handle of the same file, which stays its parent's
        path.unlink(missing_ok=True)
    os.close(file)
