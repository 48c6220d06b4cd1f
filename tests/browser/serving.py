"""Servers of our own for a browser to visit: on a free port of this machine, waited for, and ended by their own pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

CART = [sys.executable, "-c", "from cart_core.cli import main; main()"]
STARTED_S, STOPPED_S, PAUSE_S = 150.0, 60.0, 0.1


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its base URL, and its process."""

    url: str
    process: subprocess.Popen[bytes]

    def interrupt(self) -> int:
        """Stop it as Ctrl-C does, and give its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOPPED_S)


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(
    command: Sequence[str], url: str, log: Path, ready: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run a server until the block ends; it is ready once ``url`` + ``ready`` answers, and its words go to a log."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **(environment or {})}, start_new_session=True
        )
        try:
            _wait_for(url + ready, process, log)
            yield Served(url, process)
        finally:
            _end(process)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTED_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(URLError, OSError), urlopen(url, timeout=5):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(PAUSE_S)
    raise AssertionError(f"nothing answers at {url}: {log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server and what it started; kindly first."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOPPED_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
