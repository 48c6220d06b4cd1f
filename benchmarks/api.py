"""Requests per second of the HTTP API on loopback, durable before each answer, client and server on one machine.

Run ``python benchmarks/api.py [--count N] [--repeats N] [--workers N]``. It starts a server over a new store in a
temporary folder, drives it over plain keep-alive connections with a lean client (asyncio protocols that write prepared
bytes and read one length: some 20 us of a processor for a request), and prints one row per measurement: requests/s,
p50 and p99 as medians of the repeats, the server's own processor time for a request (user and system), and the ratio
to a figure measured beside it or, marked so, to the seed system's on a quiet machine of this size. Each round of a
measurement is taken in turn with the others, so that a busy neighbour slows all of them alike. Every answer's status
is checked, and after the run the store's events are counted against the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import cast
from uuid import uuid4

from cart_core import CartStore
from cart_core.events import ItemAdded, QuantityChanged

CONNECTIONS = (1, 16, 64)
SEED = {("add", 16): 2475, ("hot add", 16): 26, ("get 10", 16): 2859}
"""The seed system on PostgreSQL: requests/s with 16 connections, 2 cores; of its adds to one cart 86 % failed."""
TICKS = os.sysconf("SC_CLK_TCK")
Requests = Callable[[], list[bytes]]


@dataclass(frozen=True, slots=True)
class Result:
    """What one measurement found: times in seconds, one for each answer."""

    took_s: float
    times_s: list[float]
    failed: int
    server_s: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.times_s) / self.took_s

    @property
    def server_us(self) -> float:
        """The server's processor time for one good answer, in microseconds."""
        return self.server_s / len(self.times_s) * 1e6

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


def processor_s(pid: int) -> float:
    """The processor time of a process and its children so far, user and system."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(processor_s(int(child)) for child in children)


def works(count: int, carts: dict[int, str]) -> dict[str, Requests]:
    """What is measured: a name, and the requests of one round."""
    hot = str(uuid4())
    return {
        "add": lambda: [add(str(uuid4()), "soap") for _ in range(count)],
        "hot add": lambda: [add(hot, f"p{number % 200}") for number in range(count)],
        **{f"get {events}": lambda cart_id=cart_id: [get(cart_id)] * count for events, cart_id in carts.items()},
    }


def measured(port: int, server: int, connections: int, requests: list[bytes]) -> Result:
    """One round, with what it cost the server."""
    before = processor_s(server)
    result = asyncio.run(drive(port, connections, iter(requests)))
    return replace(result, server_s=processor_s(server) - before)


def measure(port: int, server: int, named: dict[str, Requests], repeats: int) -> dict[tuple[str, int], list[Result]]:
    """Every measurement, round by round."""
    results: dict[tuple[str, int], list[Result]] = {}
    for _ in range(repeats):
        for name, requests in named.items():
            for connections in CONNECTIONS:
                result = measured(port, server, connections, requests())
                results.setdefault((name, connections), []).append(result)
    return results


def report(results: dict[tuple[str, int], list[Result]]) -> None:
    """Print one row per measurement."""
    columns = ("work", "connections", "requests/s", "p50 ms", "p99 ms", "failed", "server us", "ratio")
    print("{:10} {:>11} {:>11} {:>8} {:>8} {:>6} {:>9}  {}".format(*columns))
    for (name, connections), rounds in results.items():
        middle = [
            median(each)
            for each in zip(
                *((one.rate, one.quantile_ms(0.5), one.quantile_ms(0.99), one.server_us) for one in rounds), strict=True
            )
        ]
        failed = sum(one.failed for one in rounds)
        print(
            f"{name:10} {connections:11} {middle[0]:11,.0f} {middle[1]:8.2f} {middle[2]:8.2f} {failed:6} "
            f"{middle[3]:9.0f}  {ratio(results, name, connections)}"
        )


def ratio(results: dict[tuple[str, int], list[Result]], name: str, connections: int) -> str:
    """What a measurement is to its peer: a short cart to a long one, ours to the seed's."""
    rate = median(one.rate for one in results[name, connections])
    told = [f"{rate / seed:.2f} of the seed"] if (seed := SEED.get((name, connections))) else []
    if name == "get 1000":
        told.append(f"{rate / median(one.rate for one in results['get 10', connections]):.2f} of get 10")
    return ", ".join(told)


def durable_rate(folder: Path, commits: int = 500) -> float:
    """Durable commits per second of one row each, by SQLite alone: what this disk gives one writer without groups."""
    with closing(sqlite3.connect(folder / "peer.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, body BLOB)")
        began = time.perf_counter()
        for _ in range(commits):
            db.execute("INSERT INTO events (body) VALUES (?)", (b"x" * 300,))
        return commits / (time.perf_counter() - began)


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
    options.add_argument("--count", type=int, default=5_000, help="requests per round of a measurement")
    options.add_argument("--repeats", type=int, default=3, help="rounds of each measurement")
    options.add_argument("--workers", type=int, default=1, help="processes of the server")
    options.add_argument("--only", default="", help="measure only works whose name begins so, such as 'add'")
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
            named = {name: each for name, each in works(chosen.count, carts).items() if name.startswith(chosen.only)}
            print(f"SQLite alone: {durable_rate(Path(folder)):,.0f} durable commits/s of one row")
            results = measure(port, server.pid, named, chosen.repeats)
            report(results)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        added = sum(len(one.times_s) for (name, _), rounds in results.items() if "add" in name for one in rounds)
        with CartStore.open(store) as opened:
            print(f"{added:,} adds answered, {opened.position() - sum(carts):,} events in the store")


if __name__ == "__main__":
    main()
