"""Several hosts, one store: the catalog in PostgreSQL, the segments in a bucket, and nothing else in common."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from cart_core.errors import ConcurrencyError
from cart_core.store import CartStore
from tests import postgres
from tests.cart_core.store import buckets
from tests.cart_core.store.builders import MUG, life, named

pytestmark = [pytest.mark.postgres, pytest.mark.s3]
HOSTS = 3
CARTS = 5
STEPS = 120


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[CartStore]]:
    """Stores in folders of their own, as on machines of their own; the first one named the place of the segments."""
    with buckets.credentials(), ExitStack() as stack:
        catalog, bucket = postgres.server().fresh(), buckets.new_bucket()
        places = [bucket.address(), *[None] * (HOSTS - 1)]
        yield [
            stack.enter_context(CartStore.open(tmp_path / f"host {number}", catalog=catalog, segments=place))
            for number, place in enumerate(places)
        ]


def test_what_one_host_writes_every_host_reads(hosts: list[CartStore]):
    """Journal rows at once, sealed ones from the bucket, compacted ones from new files."""
    first, second, third = hosts
    first.append_many(life("a"))
    first.seal()
    second.append(named("a"), [MUG], "bob", 5)
    assert [each.version for each in third.read(named("a"))] == [1, 2, 3, 4, 5, 6]
    second.seal()
    third.compact(grace=timedelta(0))
    assert [host.scan().collect().height for host in hosts] == [6, 6, 6]
    assert [host.verify().problems for host in hosts] == [[], [], []]
    assert (third.publish().version, first.publish().added, second.publish().rows) == (0, 0, 6)


@pytest.mark.parametrize("seed", [1, 2])
def test_hosts_agree_whatever_each_does(hosts: list[CartStore], seed: int):
    """Random appends, seals, compactions and reads on any host: versions race as on one, positions have no gap."""
    draw = random.Random(seed)
    heads = dict.fromkeys(range(CARTS), 0)
    for _ in range(STEPS):
        host, cart = draw.choice(hosts), draw.randrange(CARTS)
        name = named(f"cart {cart}")
        step = draw.choice(["append", "append", "append", "stale", "seal", "compact", "read"])
        if step == "append":
            heads[cart] = host.append(name, [MUG], f"user {cart}", heads[cart])
        elif step == "stale" and heads[cart]:
            with pytest.raises(ConcurrencyError):
                host.append(name, [MUG], f"user {cart}", heads[cart] - 1)
        elif step == "seal":
            host.seal()
        elif step == "compact":
            host.compact(grace=timedelta(hours=1))
        else:
            assert host.cart(name).version == heads[cart]
    events = [host.scan().collect().sort("position") for host in hosts]
    assert events[0]["position"].to_list() == list(range(1, sum(heads.values()) + 1))
    assert all(each.equals(events[0]) for each in events)
    assert hosts[0].verify().problems == []
