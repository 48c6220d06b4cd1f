"""Night after night tables are carried on from how they stand, and are those that are derived from nothing."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl

from cart_core.events import CheckoutCompleted, CheckoutStarted, Event, ItemAdded, QuantityChanged
from cart_core.store import CartStore
from pipelines import by_cart
from pipelines.defs.in_process import Refreshed, refresh
from pipelines.files import read_notes, read_table
from tests.builders import NOON, cart_id

DAY = timedelta(days=1)
SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
FIRST, LAST = 22, 24
CARRIED = ("abandonment_episodes", "abandonment_events")
TABLES = (
    *CARRIED, "abandonment_daily", "abandonment_hourly", "cart_cohorts", "restatements", "recovery_candidates",
    "recovery_assignments", "recovery_outcomes", "recovery_lift",
)  # fmt: skip
GIVEN_ANEW = ("event_id", "recorded_at")


def live_a_day(folder: Path, day: int) -> None:
    """Six carts begin; some shoppers buy, and some come back to carts of any age, also late and out of order."""
    chance = Random(day)
    with CartStore.open(folder) as store:
        for number in range(6 * day, 6 * day + 6):
            write(store, number, [SHIRT], NOON + day * DAY + timedelta(minutes=chance.randrange(700)))
        for number in chance.sample(range(6 * day + 6), 4):
            at = NOON + day * DAY - timedelta(minutes=chance.randrange(3_000)) + timedelta(minutes=700)
            acts = [[QuantityChanged("p1", 2, 3)], [CheckoutStarted(), CheckoutCompleted(f"o{number}-{day}", 5_800)]]
            write(store, number, chance.choice(acts), at)


def write(store: CartStore, number: int, events: list[Event], at: datetime) -> None:
    """Append to a cart, whatever was told to it in between."""
    store.append(cart_id(number), events, f"u{number % 50}", store.cart(cart_id(number)).version, timestamp=at)


def night(folder: Path, day: int) -> Refreshed:
    """The run after a day."""
    return refresh(folder, NOON + (day + 1) * DAY, TABLES)


def test_nights_go_on_from_each_other(tmp_path, monkeypatch):
    """After nights with late events, returns and orders every table is the one that is derived from nothing."""
    monkeypatch.setattr(by_cart, "MOSTLY", 1.0)
    went_on, anew = tmp_path / "went_on", tmp_path / "anew"
    for day in range(FIRST):
        live_a_day(went_on, day)
    for day in range(FIRST, LAST):
        live_a_day(went_on, day)
        night(went_on, day)
    live_a_day(went_on, LAST)
    shutil.copytree(went_on, anew, symlinks=True)
    shutil.rmtree(anew / "cache" / "by_cart")
    for name in CARRIED:
        (anew / "derived" / f"{name}.parquet").unlink()
    told, told_anew = night(went_on, LAST).told, night(anew, LAST).told
    for name in CARRIED:
        assert 0 < told[name]["carts_read"] < told_anew[name]["carts_read"] == 6 * (LAST + 1)
    for name in TABLES:
        tables = [read_table(folder / "derived", name).drop(GIVEN_ANEW, strict=False) for folder in (went_on, anew)]
        assert tables[0].equals(tables[1]), name
    assert read_table(went_on / "derived", "recovery_candidates").height > 0


def test_a_table_notes_what_it_is_carried_on_from(tmp_path):
    """Moment, position and the event there stand in the table itself, so that they change together."""
    live_a_day(tmp_path, 0)
    refresh(tmp_path, NOON + 2 * DAY, ["abandonment_episodes", "abandonment_daily"])
    notes = read_notes(tmp_path / "derived", "abandonment_episodes")
    with CartStore.open(tmp_path) as store:
        last = store.scan(columns=["position", "event_id"]).filter(pl.col("position") == store.position()).collect()
    assert (notes["position"], notes["last_event_id"]) == (str(last["position"][0]), last["event_id"][0].hex())
    assert notes["as_of"] == "2026-01-03T12:00:00Z"
