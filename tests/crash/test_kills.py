"""P3, P4, P5, P9 and P12 under SIGKILL: what was acknowledged is there, once and whole; the rest can be retried.

``CRASH_KILLS`` says how many kills there are in all (``make crash N=10000``).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.child import STEPS
from tests.crash.harness import Shop

KILLS = int(os.environ.get("CRASH_KILLS", "200"))
KILLS_A_STEP = max(1, KILLS // 3 // len(STEPS))
KILLS_A_STORE = 25
STORES = max(1, (KILLS - KILLS_A_STEP * len(STEPS)) // KILLS_A_STORE)

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """How many kills there were of each kind; told at the end where the number was asked for."""
    kills: Counter[str] = Counter()
    yield kills
    if "CRASH_KILLS" in os.environ:
        lines = [f"{count:6}  {name}" for name, count in sorted(kills.items())]
        print("\n".join(["", f"{kills.total():6}  kills", *lines]))  # noqa: T201 - what the harness is run for


def open_shop(tmp_path: Path, seed: int) -> Shop:
    """A shop without events whose chances are drawn from a seed."""
    (tmp_path / "store").mkdir()
    return Shop(tmp_path / "store", random.Random(seed))


@pytest.mark.parametrize("step", STEPS)
def test_p9_killed_at_a_step_the_store_is_as_before_or_after_it(tmp_path: Path, tally: Counter[str], step: str):
    """At every named step of every action: nothing acknowledged is lost, and the action can be asked for again."""
    shop = open_shop(tmp_path, list(STEPS).index(step))
    for _ in range(KILLS_A_STEP):
        shop.kill_at(step)
    shop.examine_the_rest()
    tally += shop.kills


@pytest.mark.parametrize("seed", range(STORES))
def test_p4_killed_at_any_moment_the_store_has_all_that_it_acknowledged(tmp_path: Path, tally: Counter[str], seed: int):
    """Writers and keepers die together, one after the other, again and again on the same store."""
    shop = open_shop(tmp_path, seed)
    while shop.kills.total() < KILLS_A_STORE:
        shop.kill_at_random()
    shop.examine_the_rest()
    tally += shop.kills
