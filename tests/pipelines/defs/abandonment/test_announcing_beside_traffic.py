"""The job that tells silent carts so runs beside a busy API, and may be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event

import httpx
import pytest

from cart_core.events import CartAbandoned, Envelope, ItemAdded
from cart_core.store import CartStore
from pipelines.defs.abandonment import announcing
from pipelines.defs.abandonment.announcing import announce
from tests.builders import NOON, cart_id, history
from tests.cart_core.api.processes import served

SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
HOUR = timedelta(hours=1)
CARTS = [cart_id(number) for number in range(60)]
SHOPPERS = 3


@pytest.fixture
def place(tmp_path):
    """A store of carts that have been silent for long."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many([each for cart in CARTS for each in history(SHIRT, cart=cart)])
    return tmp_path / "store"


def doubles(events: list[Envelope]) -> list[Envelope]:
    """The announcements of one cart that state a silence that was announced before."""
    told = [each for each in events if isinstance(each.event, CartAbandoned)]
    return [then for first, then in pairwise(told) if first.event == then.event]


def over_a_shoppers_head(events: list[Envelope]) -> list[Envelope]:
    """The announcements of one cart that state another last activity than the one before them in the cart's order."""
    wrong, last = [], None
    for each in events:
        if not isinstance(each.event, CartAbandoned):
            last = each.timestamp
        elif each.event.last_activity_at != last:
            wrong.append(each)
    return wrong


def shop(url: str, number: int, begun: Event, over: Event) -> Iterator[tuple[str, int]]:
    """A shopper changes a quantity in one cart after the other until the job is done; gives each answered version."""
    with httpx.Client(base_url=url, timeout=60) as client:
        quantity = SHIRT.quantity
        while not over.is_set():
            for cart in CARTS[number::SHOPPERS]:
                quantity = quantity % 900 + 1
                answer = client.post(f"/v1/cart/{cart}/quantity", json={"productId": "p1", "quantity": quantity})
                assert answer.status_code == 200, answer.text
                begun.set()
                yield cart, answer.json()["version"]


@pytest.mark.slow
def test_shoppers_and_the_job_never_harm_each_other(place, monkeypatch):
    """Every answered change stands, versions have no gap, no silence is told twice, none over a shopper's head."""
    monkeypatch.setattr(announcing, "GROUP", 5)
    over, begun = Event(), [Event() for _ in range(SHOPPERS)]
    with served(place, "--no-access-log") as (url, _), ThreadPoolExecutor(SHOPPERS) as pool:
        crowd = [pool.submit(lambda n=n: list(shop(url, n, begun[n], over))) for n in range(SHOPPERS)]
        assert all(each.wait(60) for each in begun)
        with CartStore.open(place) as store:
            told = [announce(store, datetime.now(UTC) + HOUR, HOUR) for _ in range(3)]
        over.set()
        answered = [each for done in crowd for each in done.result()]
    with CartStore.open(place) as store:
        for cart in CARTS:
            events = store.read(cart)
            assert [each.version for each in events] == list(range(1, len(events) + 1))
            assert not doubles(events)
            assert not over_a_shoppers_head(events)
            changes = {each.version for each in events if each.event.type == "QuantityChanged"}
            assert changes == {version for changed, version in answered if changed == cart}
        kinds = store.scan(columns=["type"]).collect()["type"].to_list()
        assert kinds.count("CartAbandoned") == sum(each.appended for each in told) > 0
        assert store.verify().ok


KILLED_AFTER = """
    import os, signal, sys
    from datetime import datetime, timedelta
    from cart_core.store import CartStore
    from pipelines.defs.abandonment import announcing

    announcing.GROUP = 7
    with CartStore.open(sys.argv[1]) as store:
        send, left = store.admit, [int(sys.argv[2])]

        def send_or_die(group):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return send(group)

        store.admit = send_or_die
        announcing.announce(store, datetime.fromisoformat(sys.argv[3]), timedelta(hours=1))
"""


@pytest.mark.crash
@pytest.mark.parametrize("groups", [0, 1, 4])
def test_a_killed_run_is_completed_without_doubles(place, groups):
    """After SIGKILL in the middle of the job the next run tells the rest: each silence stands announced once."""
    as_of = NOON + 2 * HOUR
    command = [sys.executable, "-c", textwrap.dedent(KILLED_AFTER), str(place), str(groups), as_of.isoformat()]
    killed = subprocess.run(command, check=False, capture_output=True, env=dict(os.environ), timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with CartStore.open(place) as store:
        before = store.position() - len(CARTS)
        assert before == 7 * groups
        assert announce(store, as_of, HOUR).appended == len(CARTS) - before
        assert announce(store, as_of, HOUR).appended == 0
        for cart in CARTS:
            assert [each.event.type for each in store.read(cart)] == ["ItemAdded", "CartAbandoned"]
        assert store.verify().ok
