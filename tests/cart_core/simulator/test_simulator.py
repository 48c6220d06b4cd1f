import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cart_core import schema
from cart_core.errors import Refused
from cart_core.projector import fold
from cart_core.simulator import Behaviour, Shop, chunks, compiled, simulate
from cart_core.simulator.parts import CHUNK_CARTS
from cart_core.simulator.shoppers import play

SHOP = Shop(carts=600, days=14, seed=7)


@pytest.fixture(scope="module")
def chunk():
    """The shop that most tests look at, in its one part."""
    (only,) = chunks(SHOP)
    return only


@pytest.fixture(scope="module")
def histories(chunk):
    """Its envelopes by cart, versions ascending."""
    return grouped(chunk.events)


def grouped(events):
    """The envelopes of a table of events by cart."""
    by_cart = defaultdict(list)
    for envelope in schema.to_envelopes(events):
        by_cart[envelope.cart_id].append(envelope)
    return by_cart


def rows(table, **wanted):
    """The rows of a table whose columns have the wanted values."""
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    return table.to_pylist()


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    """Two runs with the same seed write the same bytes into every file."""
    for name in ("one", "two"):
        simulate(tmp_path / name, carts=300, days=9, seed=11)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert len(files) == 9
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_another_seed_gives_another_shop():
    """No event of one seed's shop is an event of another's."""
    one, two = (next(chunks(Shop(carts=50, days=5, seed=seed))).events["event_id"] for seed in (1, 2))
    assert not set(one.to_pylist()) & set(two.to_pylist())


def test_a_larger_shop_begins_as_a_smaller_one():
    """What the first shoppers do does not depend on how many come after them."""
    small = next(chunks(Shop(carts=CHUNK_CARTS, days=3, seed=5)))
    large = next(chunks(Shop(carts=CHUNK_CARTS + 100, days=3, seed=5)))
    assert large.events.equals(small.events)


def test_every_event_keeps_every_rule(chunk):
    """The events table has no violation."""
    assert chunk.events.schema.equals(schema.EVENTS)
    assert schema.violations(chunk.events).to_pylist() == []


def test_as_many_carts_as_asked_each_with_versions_without_gaps(histories):
    """Exactly the asked number of carts, versions 1, 2, 3 ... and times ascending within each."""
    assert len(histories) == SHOP.carts
    for history in histories.values():
        assert [envelope.version for envelope in history] == list(range(1, len(history) + 1))
        times = [envelope.timestamp for envelope in history]
        assert times == sorted(times)


def test_everything_happens_within_the_period(chunk):
    """No event lies before the start, and none at or after the end."""
    times = chunk.events["timestamp"]
    assert pc.min(times).as_py() >= SHOP.start
    assert pc.max(times).as_py() < SHOP.end


def test_event_ids_are_unlike_each_other(chunk):
    """No two events share an id."""
    ids = chunk.events["event_id"].to_pylist()
    assert len(set(ids)) == len(ids)


def test_carts_are_charged_what_they_add_up_to_but_for_the_listed_ones():
    """A checked-out cart's charge is its projected total, except in the carts that the truth lists."""
    shop = Shop(carts=1_500, days=14, seed=3, behaviour=Behaviour(overcharged=0.05))
    (chunk,) = chunks(shop)
    states = [fold(history) for history in grouped(chunk.events).values()]
    done = [state for state in states if state.status == "checked_out"]
    wrong = {
        (state.cart_id, state.order_id, state.charged_total_cents, state.total_cents)
        for state in done
        if state.charged_total_cents != state.total_cents
    }
    listed = {tuple(row.values()) for row in chunk.overcharged}
    assert len(done) == chunk.completed
    assert len(wrong) > 5
    assert wrong == listed
    assert all(row["charged_cents"] > row["projected_cents"] for row in chunk.overcharged)


def test_nothing_happens_to_a_cart_after_its_checkout(histories):
    """CheckoutCompleted is the last event of its cart, and a CheckoutStarted stands before it."""
    for history in histories.values():
        kinds = [envelope.event.type for envelope in history]
        if "CheckoutCompleted" in kinds:
            assert kinds.index("CheckoutCompleted") == len(kinds) - 1
            assert "CheckoutStarted" in kinds


def test_events_agree_with_the_cart_they_happen_to(histories):
    """Old quantities and old prices are those of the line; only products in the cart are changed or removed."""
    for history in histories.values():
        for place, envelope in enumerate(history):
            event = envelope.event
            lines = {line.product_id: line for line in fold(history[:place]).lines}
            if event.type == "ItemAdded":
                assert event.product_id not in lines
            elif event.type == "ItemRemoved":
                assert event.product_id in lines
            elif event.type == "QuantityChanged":
                assert event.old_quantity == lines[event.product_id].quantity != event.new_quantity
            elif event.type == "PriceUpdated":
                assert event.old_price_cents == lines[event.product_id].price_cents != event.new_price_cents


def test_adding_again_at_another_price_is_one_command():
    """A re-add whose price changed is a QuantityChanged and a PriceUpdated with one command_id."""
    (chunk,) = chunks(Shop(carts=4_000, days=30, seed=1))
    updates = rows(chunk.events.select(["cart_id", "version", "reason", "metadata", "product_id"]), reason="re-added")
    assert len(updates) > 3
    before = {(row["cart_id"], row["version"] + 1): row for row in chunk.events.to_pylist()}
    for update in updates:
        change = before[update["cart_id"], update["version"]]
        assert change["type"] == "QuantityChanged"
        assert change["product_id"] == update["product_id"]
        assert change["metadata"] == update["metadata"]
        assert [key for key, _ in update["metadata"]] == ["command_id"]


def test_coupons_expire_when_they_end_and_shoppers_react(tmp_path):
    """Expiries come within minutes of a coupon's end; the share of them with a removal after is the one set."""
    behaviour = Behaviour(expiry_removal=0.5)
    simulate(tmp_path, carts=12_000, days=20, seed=2, behaviour=behaviour)
    ends = {row["code"]: row["ends_at"] for row in pq.read_table(tmp_path / "coupons.parquet").to_pylist()}
    columns = ["cart_id", "timestamp", "type", "coupon_code", "reason"]
    events = pq.read_table(tmp_path / "events.parquet", columns=columns)
    removed = defaultdict(list)
    for row in rows(events, type="ItemRemoved"):
        removed[row["cart_id"]].append(row["timestamp"])
    expiries = rows(events, reason="expired")
    for row in expiries:
        assert timedelta(0) <= row["timestamp"] - ends[row["coupon_code"]] < timedelta(minutes=2)
    reacted = [
        any(timedelta(0) < at - row["timestamp"] <= timedelta(minutes=30) for at in removed[row["cart_id"]])
        for row in expiries
    ]
    error = np.sqrt(0.25 / len(expiries))
    assert len(expiries) > 300
    assert 0.5 - 6 * error < np.mean(reacted) < 0.5 + 3.5 * error


def test_shoppers_look_before_they_add(chunk):
    """Every product that a cart took up was viewed by its user before."""
    viewed = defaultdict(list)
    for row in chunk.views.to_pylist():
        viewed[row["user_id"], row["product_id"]].append(row["at"])
    for row in rows(chunk.events, type="ItemAdded"):
        assert min(viewed[row["user_id"], row["product_id"]]) < row["timestamp"]


def test_views_have_ids_of_their_own_across_parts():
    """No two views share an id, also across parts."""
    names = [name for part in chunks(Shop(carts=CHUNK_CARTS + 50, days=2, seed=1)) for name in part.views["view_id"]]
    assert len(set(names)) == len(names)


def test_shoppers_come_by_day_rather_than_by_night():
    """In each zone carts begin far more often between 18 and 22 o'clock than between 1 and 5, on the zone's clock."""
    (chunk,) = chunks(Shop(carts=6_000, days=14, seed=4))
    zones = {row["user_id"]: row["time_zone"] for row in chunk.contacts.to_pylist()}
    hours = defaultdict(list)
    for row in rows(chunk.events.select(["version", "user_id", "timestamp"]), version=1):
        if row["user_id"] in zones:
            zone = zones[row["user_id"]]
            hours[zone].append(row["timestamp"].astimezone(ZoneInfo(zone)).hour)
    assert len(hours) == 10
    for found in hours.values():
        assert sum(18 <= hour < 22 for hour in found) > 5 * sum(1 <= hour < 5 for hour in found)


def test_contacts_are_the_registered_shoppers_some_without_address_or_consent(chunk):
    """One row per shopper who is no guest; some have no address, some gave no consent."""
    people = chunk.contacts.to_pylist()
    users = {name for name in chunk.events["user_id"].to_pylist() if name.startswith("user-")}
    assert {row["user_id"] for row in people} == users
    assert len(people) == len(users)
    assert any(row["email"] is None for row in people)
    assert {row["consent"] for row in people} == {True, False}


def test_shoppers_come_back_and_guests_do_not(chunk):
    """Some registered shoppers have several carts, every guest has one."""
    carts = defaultdict(set)
    for row in chunk.events.select(["user_id", "cart_id"]).to_pylist():
        carts[row["user_id"]].add(row["cart_id"])
    assert max(map(len, carts.values())) > 3
    assert {len(owned) for user, owned in carts.items() if user.startswith("guest-")} == {1}


def test_exposures_begin_with_the_experiments(chunk):
    """Both experiments expose users from their start on, most into one variant and a few into two."""
    seen = defaultdict(set)
    for row in chunk.exposures.to_pylist():
        assert SHOP.experiment_start <= row["exposed_at"] < SHOP.end
        seen[row["experiment"], row["user_id"]].add(row["variant"])
    assert {name for name, _ in seen} == {"checkout_button", "aa_check"}
    assert set().union(*seen.values()) == {"control", "treatment"}
    assert 0 < sum(len(variants) == 2 for variants in seen.values()) < 0.05 * len(seen)


def test_treatment_makes_only_treated_carts_bought_more_often():
    """Without a lift the shop is the same but for the orders of treated users, which a lift makes more."""
    (plain,), (lifted,) = (chunks(Shop(carts=2_000, days=20, seed=6, lift=lift)) for lift in (0.0, 1.0))
    treated = {
        row["user_id"]
        for row in plain.exposures.to_pylist()
        if (row["experiment"], row["variant"]) == ("checkout_button", "treatment")
    }
    orders = [
        {row["order_id"]: row["user_id"] for row in rows(part.events, type="CheckoutCompleted")}
        for part in (plain, lifted)
    ]
    assert set(orders[0]) < set(orders[1])
    assert {orders[1][order] for order in set(orders[1]) - set(orders[0])} <= treated
    assert plain.exposures.equals(lifted.exposures)


def test_a_shop_without_lift_has_no_true_effect(tmp_path):
    """Both variants have the same expectation where the lift is 0."""
    truth = simulate(tmp_path, carts=500, days=10, seed=1, lift=0.0)
    assert truth.effects["conversion"].absolute == 0.0
    assert truth.effects["revenue_cents"].relative == 0.0


def test_the_truth_is_written_as_it_is_returned(tmp_path):
    """truth.json is the returned truth, and its counts are those of the files."""
    truth = simulate(tmp_path, carts=400, days=10, seed=1, lift=0.3)
    assert json.loads((tmp_path / "truth.json").read_text()) == truth.to_json()
    for name in ("events", "views", "exposures", "contacts"):
        assert pq.read_metadata(tmp_path / f"{name}.parquet").num_rows == truth.counts[name]
    assert truth.counts["carts"] == 400
    assert sum(truth.episodes.values()) == truth.counts["episodes"]
    assert 0 < truth.effects["conversion"].relative <= 0.3


def test_progress_is_told_in_carts(tmp_path):
    """The callback hears how many carts are done, of how many."""
    told = []
    simulate(tmp_path, carts=120, days=3, seed=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(120, 120)]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"carts": 0}, "carts"), ({"days": 0}, "days"), ({"seed": -1}, "seed"), ({"lift": -2.0}, "lift")],
)
def test_a_shop_that_cannot_be_is_refused_by_name(tmp_path, wrong, field):
    """A size out of range is refused with its field, its value and its rule, and nothing is written."""
    arguments = {"carts": 10, "days": 2, "seed": 1} | wrong
    with pytest.raises(Refused, match=f"{field} is .* but must be from") as caught:
        simulate(tmp_path / "out", **arguments)
    assert caught.value.code == "bad_shop"
    assert not (tmp_path / "out").exists()


def test_a_start_without_a_zone_is_refused():
    """A start must say where it is that early."""
    with pytest.raises(Refused, match="time zone"):
        Shop(carts=1, days=1, seed=1, start=datetime(2026, 1, 1))


def test_the_smallest_shop_is_one_cart_on_one_day(tmp_path):
    """One cart over one day is a shop."""
    truth = simulate(tmp_path, carts=1, days=1, seed=0, start=datetime(2024, 2, 29, tzinfo=UTC))
    events = pq.read_table(tmp_path / "events.parquet")
    assert truth.counts["carts"] == 1
    assert pa.types.is_timestamp(events.schema.field("timestamp").type)
    assert len(events) == truth.counts["events"] > 0


def test_what_was_compiled_belongs_to_these_sources():
    """The compiled shop is renewed when any of its sources changes, not only the file of its entry."""
    kept_for = play._cache._cache_file._source_stamp  # type: ignore[attr-defined]
    assert kept_for == compiled.digest()
