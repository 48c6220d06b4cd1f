from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.derive.recovery_outcomes import assignments, difference, lift, outcomes
from pipelines.tables import INPUTS, TABLES, conformed
from tests.builders import NOON, cart_id

DAY = timedelta(days=1)
LATER = NOON + 30 * DAY


def drawn(number: int = 1, user: str = "u1", arm: str | None = "treatment", at: datetime = NOON) -> pl.DataFrame:
    """One candidate that was drawn (or ruled out) at a moment."""
    schema = TABLES["recovery_candidates"].schema
    row = dict.fromkeys(schema) | {
        "campaign": "recovery",
        "cart_id": cart_id(number),
        "episode_no": 1,
        "user_id": user,
        "assignment": arm,
        "as_of": at,
        "last_activity_at": NOON - DAY,
        "value_cents": 1_000,
        "recover_p": 0.1,
    }
    return pl.DataFrame([row], schema=schema)


def order(number: int, at: datetime) -> dict[str, Any]:
    """A cart's order at a moment."""
    return {"cart_id": cart_id(number), "completed_at": at, "order_id": f"o{number}", "charged_cents": 1_000}


def orders(*rows: dict[str, Any]) -> pl.DataFrame:
    """Orders as ``recovery.orders`` gives them, as far as outcomes read them."""
    schema = {
        "cart_id": pl.String(),
        "completed_at": pl.Datetime("us", "UTC"),
        "order_id": pl.String(),
        "charged_cents": pl.Int64(),
    }
    return pl.DataFrame(rows, schema=pl.Schema(schema))


def sends(*moments: datetime, number: int = 1) -> pl.DataFrame:
    """Mails about one cart."""
    rows = [{"campaign": "recovery", "user_id": "u1", "cart_id": cart_id(number), "sent_at": at} for at in moments]
    return pl.DataFrame(rows, schema=INPUTS["sends"].schema)


def outcome(bought: list[datetime], sent: list[datetime], as_of: datetime = LATER) -> dict[str, Any]:
    """What became of cart 1, drawn at noon."""
    ordered = orders(*(order(1, at) for at in bought))
    rows = outcomes(assignments(drawn()), ordered, sends(*sent), as_of)
    return conformed(TABLES["recovery_outcomes"], rows).row(0, named=True)


def test_the_first_draw_stands() -> None:
    """An episode is assigned once, at the moment it first could be written about, whatever later runs say."""
    first = assignments(drawn())
    later = assignments(pl.concat([drawn(at=NOON + DAY), drawn(2, at=NOON + DAY)]), first)
    assert later["assigned_at"].to_list() == [NOON, NOON + DAY]
    conformed(TABLES["recovery_assignments"], later)


def test_an_episode_renumbered_by_late_events_is_not_drawn_twice() -> None:
    """The same silence under another number is known again by its last activity."""
    renumbered = drawn(at=NOON + DAY).with_columns(episode_no=pl.lit(2, pl.Int32))
    assert assignments(renumbered, assignments(drawn())).height == 1


def test_who_was_ruled_out_is_not_assigned() -> None:
    """A candidate with another reason against it has no arm."""
    assert assignments(drawn(arm=None)).height == 0


@pytest.mark.parametrize(
    ("bought", "sent", "expected"),
    [
        ([NOON + 2 * DAY], [NOON + DAY], (True, True)),
        ([NOON + DAY], [NOON + 2 * DAY], (True, False)),
        ([NOON + DAY], [], (True, False)),
        ([], [NOON + DAY], (False, False)),
        ([NOON + 7 * DAY], [NOON], (True, True)),
        ([NOON + 7 * DAY + timedelta(microseconds=1)], [NOON], (False, False)),
        ([NOON - DAY], [NOON], (False, False)),
    ],
    ids=["after a send", "before the send", "no send", "no order", "last moment", "too late", "before the draw"],
)
def test_an_order_is_recovered_and_maybe_attributed(bought: Any, sent: Any, expected: tuple[bool, bool]) -> None:
    """Any order in the window recovers; it is attributed where a send came first."""
    row = outcome(bought, sent)
    assert (row["recovered_any"], row["recovered_attributed"]) == expected


def test_maturity_is_the_end_of_the_window() -> None:
    """Mature seven days after the assignment."""
    assert not outcome([], [], NOON + 7 * DAY - timedelta(microseconds=1))["mature"]
    assert outcome([], [], NOON + 7 * DAY)["mature"]


def test_lift_compares_shoppers() -> None:
    """Two carts of one shopper are one; an order in either recovers the shopper; immature ones are left out."""
    rows = pl.concat(
        [
            drawn(1, "ann"),
            drawn(2, "ann"),
            drawn(3, "bob"),
            drawn(4, "eve", "holdout"),
            drawn(5, "dan", "holdout", at=NOON + 9 * DAY),
        ]
    )
    found = outcomes(assignments(rows), orders(order(2, NOON + DAY)), sends(NOON, number=2), NOON + 10 * DAY)
    row = conformed(TABLES["recovery_lift"], lift(found)).row(0, named=True)
    told = {name: row[name] for name in row if name not in ("lift_low", "lift_high", "p_value", "campaign")}
    assert told == {
        "treatment_users": 2,
        "holdout_users": 1,
        "contacted_users": 1,
        "treatment_recovered": 1,
        "holdout_recovered": 0,
        "attributed": 1,
        "treatment_rate": 0.5,
        "holdout_rate": 0.0,
        "lift_abs": 0.5,
        "incremental_orders": 1.0,
        "immature_users": 1,
    }


def test_without_a_holdout_there_is_no_lift() -> None:
    """With one arm only, rates are told and the difference is not."""
    row = lift(outcomes(assignments(drawn()), orders(), sends(), LATER)).row(0, named=True)
    assert (row["treatment_rate"], row["holdout_rate"], row["lift_abs"], row["p_value"]) == (0.0, None, None, None)


@pytest.mark.parametrize(
    ("recovered", "users", "low", "high"),
    [
        ((56, 48), (70, 80), 0.0524, 0.3339),
        ((9, 3), (10, 10), 0.1705, 0.8090),
        ((10, 0), (10, 20), 0.6791, 1.0),
        ((10, 0), (10, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_is_the_published_one(
    recovered: tuple[int, int], users: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe 1998, Table II, method 10, for his examples."""
    told = difference(recovered, users)
    assert told["lift_low"] == pytest.approx(low, abs=5e-5)
    assert told["lift_high"] == pytest.approx(high, abs=5e-5)


counts = st.integers(1, 400).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))


@given(counts, counts)
def test_an_interval_holds_its_difference(one: tuple[int, int], other: tuple[int, int]) -> None:
    """The interval stays in [-1, 1] around the difference, and swapping the arms turns it round."""
    told, turned = (difference((a[0], b[0]), (a[1], b[1])) for a, b in ((one, other), (other, one)))
    assert told["lift_low"] is not None
    assert told["lift_abs"] is not None
    assert told["lift_high"] is not None
    assert turned["lift_low"] is not None
    assert -1 - 1e-9 <= told["lift_low"] <= told["lift_abs"] <= told["lift_high"] <= 1 + 1e-9
    assert turned["lift_low"] == pytest.approx(-told["lift_high"])
    assert 0 <= (told["p_value"] or 0) <= 1
