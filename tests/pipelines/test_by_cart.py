"""A table of rows by cart is carried on from how it stands: equal to one derived whole, though few carts are read."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core.events import CartAbandoned, CheckoutCompleted, Envelope, ItemAdded
from cart_core.store import CartStore
from pipelines import by_cart
from pipelines import shop as shops_module
from pipelines.activity import brought_up
from pipelines.by_cart import ByCart, kept
from pipelines.derive import abandonment, recovery
from pipelines.shop import PlainShop
from tests.builders import NOON, cart_id, envelope
from tests.strategies import START, shops

IDLES = [timedelta(minutes=10), timedelta(hours=2)]
WINDOW = timedelta(hours=8)
HOUR = timedelta(hours=1)
SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
ORDER_COLUMNS = ("cart_id", "user_id", "version", "timestamp", "type", "order_id", "total_cents")


def silences(as_of: datetime, window: timedelta = WINDOW) -> ByCart:
    """Episodes, whose rows come with a silence of two hours at most, and change when their window is over."""
    derive = partial(abandonment.episodes, as_of=as_of, idle=IDLES, window=window)
    terms, ripens = {"window": window}, ("abandoned_at", window)
    return ByCart("silences", abandonment.COLUMNS, derive, max(IDLES), terms, ripens, announcements=False)


def due(as_of: datetime) -> ByCart:
    """Carts to be told of their silence, one row each."""
    derive = partial(abandonment.due, as_of=as_of, idle=HOUR)
    return ByCart("due", abandonment.COLUMNS, derive, HOUR, announcements=False)


def orders(as_of: datetime) -> ByCart:
    """Orders, whose rows change with events alone, in an order of their own."""
    derive = partial(recovery.orders, as_of=as_of)
    return ByCart("orders", ORDER_COLUMNS, derive, timedelta(0), sort=("cart_id", "version"))


def whole(shop: PlainShop, plan: ByCart) -> pl.DataFrame:
    """The table derived from all events at once."""
    with shop.history() as history:
        found = pl.concat(history.each(plan.columns, plan.derive))
    return found.sort(plan.sort) if plan.sort else found


def fill(folder: Path, events: list[Envelope]) -> PlainShop:
    """A shop with these events too."""
    with CartStore.open(folder) as store:
        store.append_many(events)
    return PlainShop(folder)


def bought(number: int, at: datetime, versions: int = 2) -> list[Envelope]:
    """A cart that was filled and checked out."""
    events = [SHIRT, CheckoutCompleted(f"o{number}", 5_800)][:versions]
    return [envelope(each, place, cart=cart_id(number), at=at) for place, each in enumerate(events, 1)]


@pytest.fixture
def settled(tmp_path) -> PlainShop:
    """Ten carts of long ago, whose silences were derived when all windows were over."""
    shop = fill(tmp_path / "shop", [each for number in range(10) for each in bought(number, NOON, 1)])
    kept(shop, silences(NOON + 24 * HOUR), NOON + 24 * HOUR)
    return shop


nights = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30).map(lambda hours: hours * HOUR)), max_size=4)


@pytest.mark.parametrize("plan", [silences, due, orders])
@pytest.mark.parametrize("at_once", [1, 1_000])
@settings(max_examples=20)
@given(events=shops(max_carts=8, max_size=6, shuffled=False), nights=nights)
def test_a_table_carried_on_is_the_one_derived_whole(plan, at_once, events, nights):
    """Row for row and in order, over nights with late events, silent carts, events of the future and leaps of time."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(by_cart, "MOSTLY", 1.0)
        patched.setattr(shops_module, "PIECE_CARTS", at_once)
        as_of, rest = START, events
        for count, leap in [*nights, (len(events), HOUR)]:
            as_of, tonight, rest = as_of + leap, rest[:count], rest[count:]
            shop = fill(Path(folder), tonight)
            done = kept(shop, plan(as_of), as_of)
            assert done.whole_because in (None, "it was never made")
            assert done.frame.equals(whole(shop, plan(as_of)))
            assert done.rows_kept + done.fresh.height == done.frame.height


def test_only_carts_with_new_events_are_derived_again(settled):
    """A late event and a new cart among ten settled ones: two carts are read, the rows of nine are kept."""
    late = envelope(CheckoutCompleted("o3", 5_800), 2, cart=cart_id(3), at=NOON + HOUR)
    fill(settled.folder, [late, *bought(11, NOON + 23 * HOUR)])
    as_of = NOON + 25 * HOUR
    done = kept(settled, silences(as_of), as_of)
    assert (done.carts_read, done.carts, done.rows_kept) == (2, 11, 18)
    assert done.told["recomputed"] == "2 of 11 carts; 18 rows kept"
    assert done.frame.equals(whole(settled, silences(as_of)))


def test_a_cart_is_stale_when_time_changes_its_rows_and_not_between(tmp_path):
    """While its silences begin, and when the window of each is over: at 8 hours 10 minutes, and at 10 hours."""
    shop = fill(tmp_path, [*bought(1, NOON, 1), *bought(2, NOON - 48 * HOUR, 1), *bought(3, NOON - 48 * HOUR)])
    read = {}
    for hours in (1, 3, 5, 8, 9, 10, 11):
        as_of = NOON + hours * HOUR
        done = kept(shop, silences(as_of), as_of)
        assert done.frame.equals(whole(shop, silences(as_of)))
        read[hours] = done.carts_read
    assert read == {1: 3, 3: 1, 5: 0, 8: 0, 9: 1, 10: 1, 11: 0}


def test_a_cart_whose_latest_event_is_not_its_last_is_stale_as_well(tmp_path):
    """A late event has the highest version but not the latest time; what counts is the latest time."""
    late = envelope(SHIRT, 2, cart=cart_id(1), at=NOON - 48 * HOUR)
    shop = fill(tmp_path, [*bought(1, NOON, 1), late, *bought(2, NOON - 48 * HOUR), *bought(3, NOON - 48 * HOUR)])
    kept(shop, silences(NOON + HOUR), NOON + HOUR)
    again = kept(shop, silences(NOON + 3 * HOUR), NOON + 3 * HOUR)
    assert again.carts_read == 1
    assert again.frame.equals(whole(shop, silences(NOON + 3 * HOUR)))


def test_telling_a_cart_so_makes_it_no_younger(settled):
    """After the night in which a CartAbandoned came in, its silence is as settled as it was before."""
    told = envelope(CartAbandoned(NOON), 2, cart=cart_id(3), at=NOON + 24 * HOUR)
    fill(settled.folder, [told])
    read = []
    for hours in (25, 26):
        read.append(kept(settled, silences(NOON + hours * HOUR), NOON + hours * HOUR).carts_read)
        assert kept(settled, due(NOON + hours * HOUR), NOON + hours * HOUR).frame.height == 9
    assert read == [1, 0]


def test_other_parameters_derive_all(settled):
    """Rows of two windows never stand in one table."""
    as_of = NOON + 25 * HOUR
    assert kept(settled, silences(as_of, HOUR), as_of).whole_because == "parameters or code are others"
    assert kept(settled, silences(as_of, HOUR), as_of).whole_because is None


def test_other_code_derives_all(settled, monkeypatch):
    """Rows that two versions of the code made never stand in one table."""
    monkeypatch.setattr(by_cart, "code", lambda: "newer")
    as_of = NOON + 25 * HOUR
    assert kept(settled, silences(as_of), as_of).whole_because == "parameters or code are others"


def test_a_moment_that_goes_back_derives_all(settled):
    """What was decided later is unknown at an earlier moment."""
    done = kept(settled, silences(NOON + HOUR), NOON + HOUR)
    assert done.whole_because == "its moment is later"
    assert done.frame.equals(whole(settled, silences(NOON + HOUR)))


def test_a_bound_before_the_table_derives_all(settled):
    """A table of more events than are read cannot be gone on from."""
    shop = PlainShop(settled.folder, until=4)
    as_of = NOON + 25 * HOUR
    done = kept(shop, silences(as_of), as_of)
    assert done.whole_because == "it has events after those read"
    assert done.frame.equals(whole(shop, silences(as_of)))


def test_a_forgotten_user_derives_all(settled):
    """No row may go on saying who somebody was that asked to be forgotten."""
    with CartStore.open(settled.folder) as store:
        store.forget("u1")
    as_of = NOON + 25 * HOUR
    done = kept(settled, silences(as_of), as_of)
    assert done.whole_because == "a user was forgotten"
    assert "u1" not in done.frame["user_id"]


def test_another_store_derives_all(settled, tmp_path):
    """Tables that were copied beside other events are not gone on from, nor is the activity of carts."""
    other = fill(tmp_path / "other", [each for number in range(20, 40) for each in bought(number, NOON, 1)])
    (other.folder / "cache").mkdir(exist_ok=True)
    (settled.folder / "cache" / "by_cart").rename(other.folder / "cache" / "by_cart")
    as_of = NOON + 25 * HOUR
    done = kept(other, silences(as_of), as_of)
    assert (done.whole_because, done.carts) == ("the store is another one", 20)
    assert done.frame.equals(whole(other, silences(as_of)))


def test_all_are_derived_where_most_carts_are_stale(settled):
    """Picking most carts out would cost more than reading all."""
    fill(settled.folder, [each for number in range(20, 40) for each in bought(number, NOON + 24 * HOUR)])
    as_of = NOON + 25 * HOUR
    assert kept(settled, silences(as_of), as_of).whole_because == "most carts are stale"


def test_the_activity_of_carts_is_that_of_all_events(settled):
    """Latest time and last position of each cart, brought up from what was kept or read anew, are the same."""
    fill(settled.folder, [envelope(SHIRT, 2, cart=cart_id(3), at=NOON - HOUR), *bought(11, NOON)])
    with settled.history() as history:
        went_on = brought_up(history, settled.folder / by_cart.FOLDER)
        anew = brought_up(history, settled.folder / "elsewhere")
    assert len(went_on.ids) == 11
    for name in ("ids", "latest_us", "acted_us", "last_position"):
        assert (getattr(went_on, name) == getattr(anew, name)).all()
