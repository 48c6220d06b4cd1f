"""The server on a socket and as a process: limits on connections, shutdown, workers, and what survives a kill."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from cart_core.api import Settings, create_app, protocol
from cart_core.events import QuantityChanged
from cart_core.store import CartStore, MemoryStore
from tests.cart_core.api.conftest import SECRET, TRUST
from tests.cart_core.api.processes import COMMAND, kill, served
from tests.cart_core.api.serving import serving

SOAP = {"productId": "soap", "productName": "Soap", "priceCents": 2900}


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """A server without tokens over an empty store in memory."""
    with serving(create_app(Settings(Path("unused")), MemoryStore())) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def exchange(address: tuple[str, int], *pieces: bytes) -> bytes:
    """All that the server sends on one connection until it closes."""
    with socket.create_connection(address) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def code(answer: bytes) -> tuple[int, str]:
    """Status and code of a problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 20_000 + b"\r\n\r\n",),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ", *[b"a" * 4000] * 5),
        (b"GET / HTTP/1.1\r\n", *[b"x%d: y\r\n" % number for number in range(2000)]),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\nx: " + b"a" * 20_000 + b"\r\n\r\nhello",),
    ],
    ids=["header", "path", "pieces", "many", "with a body"],
)
def test_a_large_head_is_refused(address: tuple[str, int], pieces: tuple[bytes, ...]) -> None:
    """However it is large, and however it comes."""
    try:
        answer = exchange(address, *pieces)
    except ConnectionError:
        return  # the server had closed before all was sent
    assert code(answer) == (431, "headers_too_large")


def test_a_head_within_limits_passes(address: tuple[str, int]) -> None:
    """Also with a large body behind it, and after another request on the same connection."""
    head = b"host: localhost\r\nx: " + b"a" * 15_000 + b"\r\n"
    body = json.dumps({**SOAP, "productName": "x" * 4096}).encode()
    first = f"POST /v1/cart/{uuid4()}/add HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    answer = exchange(
        address,
        first.encode() + head + b"\r\n" + body,
        b"GET /health HTTP/1.1\r\nconnection: close\r\n" + head + b"\r\n",
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_a_head_that_comes_too_slowly_is_refused(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never says what it wants is closed, one that stops half-way is told why."""
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT_S", 0.05)
    assert exchange(address) == b""
    assert code(exchange(address, b"GET / HTTP/1.1\r\nhost: loc")) == (408, "too_slow")


def test_what_is_no_http_is_refused(address: tuple[str, int]) -> None:
    """As a problem, and the connection ends."""
    assert code(exchange(address, b"hello\r\n\r\n")) == (400, "malformed_request")


def test_a_server_says_where_it_listens_and_what_happens(tmp_path: Path) -> None:
    """The address on standard output; each request as one JSON object on standard error; exit 0 when it is stopped."""
    with served(tmp_path / "store") as (url, process):
        cart = f"{url}/v1/cart/{uuid4()}"
        assert httpx.post(f"{cart}/add", json=SOAP).json() == {"version": 1}
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    lines = told.splitlines()
    assert process.returncode == 0
    assert lines[0].startswith("no token settings: listening on loopback only")
    assert json.loads(lines[1])["route"] == "/v1/cart/{cartId}/add"


@pytest.mark.slow
def test_tokens_are_set_up_by_the_environment(tmp_path: Path) -> None:
    """The secret stands in no command line."""
    environment = {
        "CART_JWT_ISSUER": TRUST.issuer,
        "CART_JWT_AUDIENCE": TRUST.audience,
        "CART_JWT_SECRET": SECRET,
    }
    claims = {"sub": "ann", "iss": TRUST.issuer, "aud": TRUST.audience, "exp": 2**33}
    with served(tmp_path / "store", environment=environment) as (url, _):
        cart = f"{url}/v1/cart/{uuid4()}"
        assert httpx.post(f"{cart}/add", json=SOAP).status_code == 401
        headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}
        assert httpx.post(f"{cart}/add", json=SOAP, headers=headers).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "loopback only"),
        (["--prices", "missing.csv"], "missing.csv"),
    ],
)
def test_a_server_that_cannot_start_says_why(tmp_path: Path, options: list[str], told: str) -> None:
    """One line, and exit 1."""
    done = subprocess.run(
        [*COMMAND, "--store", str(tmp_path / "store"), "serve", "--port", "0", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """Not tried for ever."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--store", str(tmp_path), "serve", "--port", port],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, "in use" in done.stderr) == (1, True)


class Shopper:
    """Adds products to a cart of its own until the server is gone, and remembers what was acknowledged."""

    def __init__(self, url: str, number: int) -> None:
        self.cart_id = str(uuid4())
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self._url = url
        self._number = number

    def shop(self, began: threading.Barrier) -> None:
        """Shop until the connection breaks."""
        with httpx.Client(base_url=self._url) as client:
            began.wait()
            for item in range(100_000):
                product = f"{self._number}-{item}"
                try:
                    answer = client.post(f"/v1/cart/{self.cart_id}/add", json={**SOAP, "productId": product})
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.acknowledged.append(product)
                else:
                    self.refused.append(answer.status_code)


def shop_until(url: str, shoppers: int, stop: Any) -> list[Shopper]:
    """Many shoppers at once; ``stop`` ends the server once some have been served."""
    crowd = [Shopper(url, number) for number in range(shoppers)]
    began = threading.Barrier(shoppers + 1)
    with ThreadPoolExecutor(shoppers) as pool:
        ends = [pool.submit(shopper.shop, began) for shopper in crowd]
        began.wait()
        while sum(len(shopper.acknowledged) for shopper in crowd) < 5 * shoppers and not any(
            end.done() for end in ends
        ):
            threading.Event().wait(0.01)
        stop()
        for end in ends:
            end.result()
    return crowd


def products(state: Any) -> set[str]:
    """What a cart holds."""
    return {item["productId"] for item in state["items"]}


@pytest.mark.slow
def test_a_killed_server_loses_no_acknowledged_answer(tmp_path: Path) -> None:
    """SIGKILL under a load of many shoppers, twice: every acknowledged add is in the recovered cart."""
    store = tmp_path / "store"
    crowds: list[Shopper] = []
    for _ in range(2):
        with served(store, "--no-access-log") as (url, process):
            crowds += shop_until(url, 16, lambda process=process: kill(process))
    with served(store) as (url, _), httpx.Client(base_url=url) as client:
        for shopper in crowds:
            assert shopper.acknowledged
            assert not shopper.refused
            cart = client.get(f"/v1/cart/{shopper.cart_id}").json()
            assert products(cart) >= set(shopper.acknowledged)
            assert len(cart["items"]) <= len(shopper.acknowledged) + 1
            again = client.post(f"/v1/cart/{shopper.cart_id}/add", json={**SOAP, "productId": "after"})
            assert again.json() == {"version": cart["version"] + 1}
    with CartStore.open(store) as opened:
        assert opened.verify().ok


@pytest.mark.slow
def test_a_stopped_server_answers_what_is_in_flight(tmp_path: Path) -> None:
    """SIGTERM under load: what was written was acknowledged, and the other way round."""
    store = tmp_path / "store"
    with served(store, "--no-access-log") as (url, process):
        crowd = shop_until(url, 8, lambda: process.send_signal(signal.SIGTERM))
        process.communicate(timeout=60)
        assert process.returncode == 0
    with CartStore.open(store) as opened:
        for shopper in crowd:
            held = {line.product_id for line in opened.cart(shopper.cart_id).lines}
            assert held == set(shopper.acknowledged)


@pytest.mark.slow
def test_several_workers_share_one_store(tmp_path: Path) -> None:
    """Shoppers of one cart over two processes: versions have no gap, no line is lost, the metrics are of both."""
    cart_id = str(uuid4())
    with (
        served(tmp_path / "store", "--workers", "2", "--no-access-log") as (url, process),
        httpx.Client(base_url=url, timeout=60) as client,
    ):

        def shop(number: int) -> list[str]:
            added = []
            for item in range(20):
                product = f"{number}-{item}"
                body = {**SOAP, "productId": product}
                answer = client.post(f"/v1/cart/{cart_id}/add", json=body)
                if answer.status_code == 200:
                    added.append(product)
                else:
                    assert answer.json()["code"] == "conflict"
            return added

        with ThreadPoolExecutor(8) as pool:
            added = [product for each in pool.map(shop, range(8)) for product in each]
        shown = client.get(f"/v1/cart/{cart_id}").json()
        route = 'cart_requests_total{method="POST",route="/v1/cart/{cartId}/add",status="200"}'
        counted = f"{route} {float(len(added))}"
        # A call is counted once its answer is on its way, by another process maybe: the last may be a moment late.
        was_counted = any(counted in client.get("/metrics").text for _ in range(200))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert products(shown) == set(added)
    assert shown["version"] == len(added)
    assert was_counted


def test_a_long_cart_is_shown_and_changed(tmp_path: Path) -> None:
    """A cart of thousands of events, after a restart."""
    cart_id = str(uuid4())
    with CartStore.open(tmp_path / "store") as store:
        store.append(cart_id, [{"type": "ItemAdded", **ITEM}], "local", 0)
        store.append(cart_id, [QuantityChanged("soap", 1, 1 + n % 9) for n in range(2999)], "local", 1)
        with (
            serving(create_app(Settings(Path("unused")), store)) as url,
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            assert client.get(f"/v1/cart/{cart_id}").json()["version"] == 3000
            assert client.post(f"/v1/cart/{cart_id}/undo").json() == {
                "undone": "QuantityChanged",
                "version": 3001,
            }


ITEM = {"productId": "soap", "productName": "Soap", "quantity": 1, "pricePerUnitCents": 2900, "currency": "USD"}
