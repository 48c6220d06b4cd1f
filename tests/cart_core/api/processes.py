"""The server as its own process, as a shop runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

COMMAND = [sys.executable, "-c", "from cart_core.cli import main; main()"]


@contextmanager
def served(
    store: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``cart serve`` on a free port; its base URL, and the process, which is killed in the end if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, "--store", str(store), "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        yield line.rpartition(" ")[2].strip(), process
    finally:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """End the process and its workers at once, as a power cut would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
