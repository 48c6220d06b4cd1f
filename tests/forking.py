"""Child processes that start in milliseconds: forked from one that has the store's code loaded and warm."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["tests.warm"])


def start(work: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Run a function in a process of its own, its last argument a pipe to send through; the other end comes back."""
    told, telling = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=work, args=(*arguments, telling), daemon=True)
    process.start()
    telling.close()
    return process, told


def finish(process: BaseProcess, told: Connection) -> list[Any]:
    """Wait for a process to end well; everything that it sent."""
    messages = []
    try:
        while True:
            messages.append(told.recv())
    except EOFError:
        told.close()
    process.join()
    assert process.exitcode == 0
    return messages
