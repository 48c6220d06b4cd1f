from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from cart_core.events import CheckoutStarted
from cart_core.schema import to_table
from pipelines.derive.experiments import acts, assign, exposures_by_hash, exposures_from_metadata, first_exposures
from pipelines.tables import INPUTS, TableError
from tests.builders import cart_id, envelope

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVEN = {"control": 0.5, "treatment": 0.5}


def shown(*rows, experiment="e"):
    """Exposures from (user, variant, minutes after noon)."""
    return pl.DataFrame(
        [(user, experiment, variant, NOON + timedelta(minutes=minutes)) for user, variant, minutes in rows],
        schema=INPUTS["exposures"].schema,
        orient="row",
    )


def test_the_first_exposure_counts():
    """A user has one row, with the moment of the earliest exposure, whatever the order of rows."""
    found = first_exposures(shown(("u1", "control", 9), ("u1", "control", 3), ("u2", "treatment", 5)), "e", EVEN)
    assert found.users.rows() == [
        ("u1", "control", NOON + timedelta(minutes=3)),
        ("u2", "treatment", NOON + timedelta(minutes=5)),
    ]
    assert found.counts == {"control": 1, "treatment": 1}


def test_who_saw_two_variants_is_left_out_and_counted_by_the_first():
    """A user seen in two variants is in no arm, and counted once, under the variant seen first."""
    found = first_exposures(
        shown(("u1", "treatment", 1), ("u1", "control", 2), ("u1", "treatment", 3), ("u2", "control", 1)), "e", EVEN
    )
    assert found.users["user_id"].to_list() == ["u2"]
    assert found.multiple == {"treatment": 1}


def test_who_saw_an_unplanned_variant_is_left_out_and_counted():
    """A variant that is not planned, or has weight 0, puts its user aside."""
    found = first_exposures(
        shown(("u1", "old", 1), ("u1", "control", 2), ("u2", "off", 1), ("u3", "control", 1)), "e", {**EVEN, "off": 0}
    )
    assert found.users["user_id"].to_list() == ["u3"]
    assert found.unplanned == 2
    assert found.multiple == {}


def test_only_exposures_of_the_experiment_in_its_time_count():
    """Other experiments, and exposures before the start or at the end, are none of this experiment."""
    rows = pl.concat(
        [
            shown(("u1", "control", 0), ("u2", "control", 10), ("u3", "control", 20)),
            shown(("u4", "control", 10), experiment="x"),
        ]
    )
    found = first_exposures(rows, "e", EVEN, start=NOON + timedelta(minutes=10), end=NOON + timedelta(minutes=20))
    assert found.users["user_id"].to_list() == ["u2"]


def test_users_without_an_id_are_skipped():
    """An exposure of nobody known is no user."""
    assert first_exposures(shown((None, "control", 0)), "e", EVEN).users.is_empty()


def test_a_missing_column_is_named():
    """A frame that is no exposures table is refused."""
    with pytest.raises(TableError, match="exposed_at"):
        first_exposures(shown().drop("exposed_at"), "e", EVEN)


def test_events_may_carry_exposures_in_their_metadata():
    """``experiment.<key>`` in an event's metadata is an exposure of its user at its time."""
    events = to_table(
        [
            envelope(CheckoutStarted(), 1, user="u1", at=NOON, metadata={"experiment.e": "treatment", "session": "s"}),
            envelope(CheckoutStarted(), 2, user="u1", at=NOON, metadata={"experiment.other": "control"}),
            envelope(CheckoutStarted(), 1, cart=cart_id(2), user="u2", at=NOON),
        ]
    )
    found = exposures_from_metadata(events, "e")
    assert found.schema == INPUTS["exposures"].schema
    assert found.rows() == [("u1", "e", "treatment", NOON)]


def test_exposures_by_hash_are_first_acts_and_assigned_variants():
    """Every user who acts from the start on is exposed then, to the variant that ``assign`` gives."""
    minutes = {"u1": (1, 7), "u2": (9,), "u3": (1,)}
    events = to_table(
        [
            envelope(CheckoutStarted(), version, cart=cart_id(int(user[1])), user=user, at=NOON + timedelta(minutes=at))
            for user, times in minutes.items()
            for version, at in enumerate(times, 1)
        ]
    )
    found = exposures_by_hash(acts(events), "e", EVEN, NOON + timedelta(minutes=5))
    variants = assign(["u1", "u2"], EVEN, "e")
    assert found.rows() == [
        ("u1", "e", variants[0], NOON + timedelta(minutes=7)),
        ("u2", "e", variants[1], NOON + timedelta(minutes=9)),
    ]
