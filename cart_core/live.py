"""Shoppers who drive a running server, for demos and load tests: bounded in number and in requests a second."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from random import Random
from time import monotonic, sleep
from uuid import UUID

from cart_core.client import CartClient
from cart_core.errors import CartError, Refused

PRODUCTS = tuple((f"p{number:03d}", f"Product {number}", 199 + 137 * number % 9_000) for number in range(1, 61))
CHECK_OUT, COUPON, SECOND_THOUGHTS = 0.35, 0.2, 0.25
ClientOf = Callable[[str], CartClient]


@dataclass(slots=True)
class LiveReport:
    """What became of the shoppers: ``carts`` begun, ``orders`` placed, answers by call, refusals by name, failures."""

    carts: int = 0
    orders: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: int = 0


class Pace:
    """Lets callers through at most so many times a second, in whatever thread they are."""

    def __init__(
        self, per_second: float, *, now: Callable[[], float] = monotonic, pause: Callable[[float], None] = sleep
    ) -> None:
        self._gap_s = 1 / per_second
        self._now, self._pause = now, pause
        self._lock = threading.Lock()
        self._next = now()

    def wait(self) -> None:
        """Wait for the next place in line."""
        with self._lock:
            mine = max(self._next, self._now())
            self._next = mine + self._gap_s
        self._pause(max(0.0, mine - self._now()))


def shop_live(client_of: ClientOf, *, carts: int, pace: Pace, seed: int, at_once: int = 8) -> LiveReport:
    """Let ``carts`` shoppers shop on a running server, ``at_once`` of them together.

    ``client_of`` makes the client of a user. The same seed gives the same shoppers; what they meet there is the
    server's. Returns when all are done.
    """
    report, lock = LiveReport(), threading.Lock()

    def shop(number: int) -> None:
        random = Random(f"{seed}-{number}")  # noqa: S311 - shoppers, no secrets
        with client_of(f"shopper-{random.randrange(carts * 2)}") as client:
            mine = _Shopper(client, random, pace).shop()
        with lock:
            _add(report, mine)

    with ThreadPoolExecutor(at_once) as pool:
        for end in [pool.submit(shop, number) for number in range(carts)]:
            end.result()
    return report


class _Shopper:
    """One visit to the shop."""

    def __init__(self, client: CartClient, random: Random, pace: Pace) -> None:
        self._client = client
        self._random = random
        self._pace = pace
        self._cart_id = str(UUID(int=random.getrandbits(128), version=4))
        self._report = LiveReport(carts=1)

    def shop(self) -> LiveReport:
        """Fill a cart, think again, and perhaps pay."""
        wanted = self._random.sample(PRODUCTS, self._random.randint(1, 4))
        for product in wanted:
            self._call("add", partial(self._client.add, self._cart_id, *product, self._random.randint(1, 3)))
        self._think_again([product_id for product_id, _, _ in wanted])
        if self._random.random() < COUPON:
            self._call("coupon", lambda: self._client.apply_coupon(self._cart_id, "TEN", "percentage", 10))
        if self._random.random() < CHECK_OUT:
            self._pay()
        return self._report

    def _think_again(self, products: Sequence[str]) -> None:
        if self._random.random() < SECOND_THOUGHTS:
            product = self._random.choice(products)
            units = self._random.randint(0, 5)
            self._call("quantity", lambda: self._client.set_quantity(self._cart_id, product, units))
        if self._random.random() < SECOND_THOUGHTS:
            self._call("undo", lambda: self._client.undo(self._cart_id))
            if self._random.random() < SECOND_THOUGHTS:
                self._call("redo", lambda: self._client.redo(self._cart_id))

    def _pay(self) -> None:
        if not self._call("checkout/start", lambda: self._client.start_checkout(self._cart_id)):
            return
        order = f"order-{self._random.getrandbits(48):012x}"

        def pay() -> None:
            total_cents = self._client.cart(self._cart_id).total_cents or 0
            self._client.complete_checkout(self._cart_id, order, total_cents)

        self._report.orders += self._call("checkout/complete", pay)

    def _call(self, name: str, call: Callable[[], object]) -> bool:
        """Whether a call succeeded, made when its time has come."""
        self._pace.wait()
        try:
            call()
        except Refused as refusal:
            self._report.refused[refusal.code] += 1
            return False
        except CartError:
            self._report.failed += 1
            return False
        self._report.calls[name] += 1
        return True


def _add(report: LiveReport, more: LiveReport) -> None:
    report.carts += more.carts
    report.orders += more.orders
    report.calls += more.calls
    report.refused += more.refused
    report.failed += more.failed
