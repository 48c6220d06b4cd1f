from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from cart_core.simulator import Shop, chunks
from pipelines.derive.abandonment import episodes
from pipelines.derive.recovery_value import WEIGHT, learn
from pipelines.tables import TABLES
from tests.builders import NOON

HOUR = timedelta(hours=1)


def past(*rows: dict[str, Any]) -> pl.DataFrame:
    """Mature episodes, lost unless told otherwise."""
    base = {
        "stage": "cart",
        "currency": "USD",
        "value_cents": 1_000,
        "abandoned_at": NOON,
        "outcome": "lost",
        "mature": True,
    }
    schema = TABLES["abandonment_episodes"].schema
    return pl.DataFrame([dict.fromkeys(schema) | base | row for row in rows], schema=schema)


def recovered(hours: float, **more: Any) -> dict[str, Any]:
    """An episode that was recovered so many hours after it opened."""
    return {"outcome": "recovered", "recovered_at": NOON + HOUR * hours} | more


def waiting(hours: float, **more: Any) -> pl.DataFrame:
    """An episode that has been open for so many hours."""
    row = {"stage": "cart", "currency": "USD", "value_cents": 1_000, "open_s": int(hours * 3_600)} | more
    return pl.DataFrame([row])


def test_without_a_past_the_chance_is_one_in_two() -> None:
    """Where nothing is known nothing is claimed."""
    assert learn(past()).of(waiting(1)).to_list() == [0.5]


def test_a_cell_is_shrunk_towards_its_parents() -> None:
    """Each level is the mean of what it saw and the level above, which weighs as much as 40 episodes."""
    chance = learn(past(*[recovered(30)] * 10, *[{}] * 30)).of(waiting(0.2))[0]
    expected = 0.5
    for seen, won in ((30 * 7 + 10 * 4, 10 * 4), (40, 10), (40, 10), (40, 10)):
        expected = (won + WEIGHT * expected) / (seen + WEIGHT)
    assert chance == pytest.approx(expected)


def test_who_has_waited_longer_is_compared_with_those_who_had() -> None:
    """Of episodes that are mostly recovered within the first hour, one open for a day has a small chance."""
    chances = learn(past(*[recovered(0.7)] * 400, *[{}] * 400))
    assert chances.of(waiting(0.1))[0] > 0.4
    assert chances.of(waiting(30))[0] < 0.1


def test_the_stage_and_the_value_count() -> None:
    """At the checkout more is recovered here, and so is what is worth little."""
    chances = learn(
        past(
            *[recovered(30, stage="checkout")] * 300,
            *[{"stage": "checkout"}] * 100,
            *[recovered(30, value_cents=100)] * 100,
            *[{"value_cents": 9_000}] * 300,
        )
    )
    assert chances.of(waiting(0.1, stage="checkout"))[0] > chances.of(waiting(0.1))[0]
    assert chances.of(waiting(0.1, value_cents=100))[0] > chances.of(waiting(0.1, value_cents=9_000))[0]


def test_immature_episodes_teach_nothing() -> None:
    """An episode recovered early in a window that is not over would flatter the rate, so it does not count."""
    assert learn(past(*[recovered(0.2, mature=False)] * 50)).of(waiting(1)).to_list() == [0.5]


def test_order_and_unknown_values_survive() -> None:
    """Chances come in the order of the rows, also for mixed currencies and currencies never seen."""
    chances = learn(past(*[recovered(30)] * 50, *[{}] * 50))
    rows = pl.concat([waiting(1), waiting(1, currency=None, value_cents=None), waiting(1, currency="JPY"), waiting(90)])
    found = chances.of(rows)
    assert found.null_count() == 0
    assert found[0] != found[3]


def test_chances_are_calibrated_on_a_simulated_shop() -> None:
    """Over the open episodes of a later week the chances add up to the recoveries, in all and in each third."""
    shop = Shop(carts=30_000, days=60, seed=5)
    events = [chunk.events for chunk in chunks(shop)]
    as_of = shop.end - timedelta(days=8)
    learned = pl.concat([episodes(table, as_of) for table in events])
    fate = pl.concat([episodes(table, shop.end) for table in events])
    rows = learned.filter(pl.col("outcome") == "open").with_columns(
        open_s=(as_of - pl.col("abandoned_at")).dt.total_seconds()
    )
    rows = rows.with_columns(learn(learned).of(rows)).join(
        fate.select("cart_id", "last_activity_at", later="outcome"), on=["cart_id", "last_activity_at"]
    )
    thirds = rows.with_columns(third=pl.col("recover_p").rank("ordinal") * 3 // (pl.len() + 1))
    for part in [rows, *thirds.partition_by("third")]:
        expected, actual = float(part["recover_p"].sum()), int((part["later"] == "recovered").sum())
        spread = float((part["recover_p"] * (1 - part["recover_p"])).sum()) ** 0.5
        assert abs(actual - expected) < 4 * spread + 1, (expected, actual, spread)
