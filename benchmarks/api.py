"""Requests per second of the HTTP API on loopback, durable before each answer, client and server on one machine.

Run ``python benchmarks/api.py``. It starts a server over a new store in a temporary folder, drives it over plain
keep-alive connections with a lean client, and prints one row per measurement: requests/s, p50 and p99. Every answer's
status is checked, and after the run the store's events are counted against the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import uuid4

from cart_core import CartStore
from cart_core.events import ItemAdded, QuantityChanged

CONNECTIONS = (1, 16, 64)
SEED = {"add": "seed at 16: 2,475/s", "hot add": "seed at 16: 26/s and 86 % errors", "get 10": "seed at 16: 2,859/s"}


@dataclass(frozen=True, slots=True)
class Result:
    """What one measurement found: times in seconds, one for each answer."""

    took_s: float
    times_s: list[float]
    failed: int

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.times_s) / self.took_s

    def quantile_ms(self, share: float) -> float:
        """A quantile of the answer times in milliseconds."""
        return sorted(self.times_s)[min(int(len(self.times_s) * share), len(self.times_s) - 1)] * 1000


class Client(asyncio.Protocol):
    """One keep-alive connection that sends its next request when the last was answered."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self._sent = 0.0
        self.times_s: list[float] = []
        self.failed = 0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Take an answer in; go on when it is whole."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 200"):
            self.times_s.append(time.perf_counter() - self._sent)
        else:
            self.failed += 1
        self._next()

    def connection_lost(self, _: Exception | None) -> None:
        """Stop."""
        if not self._done.done():
            self._done.set_result(None)

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def add(cart_id: str, product: str) -> bytes:
    """A request that adds a product."""
    body = json.dumps({"productId": product, "productName": "Soap", "quantity": 1, "priceCents": 2900}).encode()
    head = (
        f"POST /v1/cart/{cart_id}/add HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(cart_id: str) -> bytes:
    """A request that shows a cart."""
    return f"GET /v1/cart/{cart_id} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


async def drive(port: int, connections: int, requests: Iterator[bytes]) -> Result:
    """Send all requests over so many connections."""
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(connections)]
    clients = [Client(requests, end) for end in ends]
    began = time.perf_counter()
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*ends)
    took_s = time.perf_counter() - began
    return Result(took_s, [each for client in clients for each in client.times_s], sum(each.failed for each in clients))


def measure(port: int, count: int, carts: dict[int, str]) -> int:
    """Print every measurement; the number of adds that were answered."""
    hot = str(uuid4())
    works: dict[str, Callable[[int], bytes]] = {
        "add": lambda _: add(str(uuid4()), "soap"),
        "hot add": lambda number: add(hot, f"p{number % 200}"),
        **{f"get {events}": lambda _, cart_id=cart_id: get(cart_id) for events, cart_id in carts.items()},
    }
    added = 0
    print(f"{'work':10} {'connections':>11} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'failed':>6}")
    for name, request in works.items():
        for connections in CONNECTIONS:
            result = asyncio.run(drive(port, connections, (request(number) for number in range(count))))
            added += len(result.times_s) if "add" in name else 0
            note = SEED.get(name, "") if connections == 16 else ""
            print(
                f"{name:10} {connections:11} {result.rate:11,.0f} {result.quantile_ms(0.5):8.2f} "
                f"{result.quantile_ms(0.99):8.2f} {result.failed:6}  {note}"
            )
    return added


def fill(store: Path) -> dict[int, str]:
    """Carts of 10, 100 and 1 000 events, by number of events."""
    carts = {}
    with CartStore.open(store) as opened:
        for count in (10, 100, 1000):
            carts[count] = cart_id = str(uuid4())
            first = [ItemAdded(f"p{number}", "Soap", 1, 2900, "USD") for number in range(5)]
            changes = [QuantityChanged(f"p{n % 5}", 1, 1 + n % 9) for n in range(count - 5)]
            opened.append(cart_id, [*first, *changes], "local", 0)
    return carts


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        if server.poll() is not None:
            sys.exit("the server did not start")
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the server does not answer")


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=10_000, help="requests per measurement")
    options.add_argument("--workers", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, port = Path(folder) / "store", free_port()
        carts = fill(store)
        command = [
            sys.executable,
            "-c",
            "from cart_core.cli import main; main()",
            "--store",
            str(store),
            "serve",
            "--port",
            str(port),
        ]
        server = subprocess.Popen([*command, "--workers", str(chosen.workers), "--no-access-log"])  # noqa: S603
        try:
            wait_for(port, server)
            before = sum(carts)
            added = measure(port, chosen.count, carts)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        with CartStore.open(store) as opened:
            print(f"{added:,} adds answered, {opened.position() - before:,} events in the store")


if __name__ == "__main__":
    main()
