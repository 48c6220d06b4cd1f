"""Very long carts cost in proportion to their events: nothing is done again for what was there before."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from cart_core.events import CouponApplied, CouponRemoved, Envelope, Event, ItemAdded, ItemRemoved, QuantityChanged
from cart_core.projector import CartFold, fold, fold_table
from cart_core.schema import to_table
from cart_core.store import CartStore
from cart_core.store.reading.reader import Reader
from tests.builders import CART, history

PARTS = ("/cart_core/projector/", "/cart_core/store/reading/live.py")


def lines(count: int) -> list[Event]:
    """A cart of so many different products, each changed once, every other one taken out again."""
    added = [ItemAdded(f"p{number}", f"No. {number}", 1, 100 + number, "USD") for number in range(count)]
    changed = [QuantityChanged(f"p{number}", 1, 2) for number in range(count)]
    return [*added, *changed, *(ItemRemoved(f"p{number}") for number in range(0, count, 2))]


def coupons(count: int) -> list[Event]:
    """A cart whose coupon comes and goes so many times, while another one stays."""
    steps: list[Event] = [CouponApplied("TEN", "percentage", 10), CouponRemoved("TEN")]
    return [ItemAdded("p", "Soap", 1, 999, "USD"), CouponApplied("STAYS", "fixed", 5), *(steps * count)]


def work(done: Callable[[], object]) -> int:
    """How many lines of the fold and of the live states are run."""
    count = 0

    def look(frame, event, _argument):
        nonlocal count
        if not any(part in frame.f_code.co_filename for part in PARTS):
            return None
        count += event == "line"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        done()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("cart", [lines, coupons])
def test_the_fold_of_a_cart_grows_with_its_events(cart):
    """Twice as many lines, or comings and goings of a coupon, are at most twice as much work."""
    few, many = history(*cart(250)), history(*cart(500))
    assert work(lambda: fold(many)) < 2.1 * work(lambda: fold(few))


@pytest.mark.parametrize("cart", [lines, coupons])
def test_the_next_event_costs_the_same_in_a_long_cart(cart):
    """Taking in one more event of a cart does not depend on what it holds."""
    counts = []
    for size in (10, 1_000):
        events = history(*cart(size), ItemAdded("last", "The last", 1, 5, "USD"))
        building = CartFold()
        for each in events[:-1]:
            building.apply(each)
        counts.append(work(lambda building=building, events=events: building.apply(events[-1])))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("cart", [lines, coupons])
def test_the_compiled_fold_tells_of_long_carts_what_the_plain_one_tells(cart):
    """5,000 lines, or a coupon applied and removed 10,000 times, give the same cart either way."""
    envelopes = history(*cart(5_000 if cart is lines else 10_000))
    state, (row,) = fold(envelopes), fold_table(to_table(envelopes)).carts.to_pylist()
    told = (row["version"], row["line_count"], row["subtotal_cents"], row["discount_cents"], row["total_cents"])
    whole = (state.version, len(state.lines), state.subtotal_cents, state.discount_cents, state.total_cents)
    assert told == whole
    assert [each["code"] for each in row["coupons"]] == [each.code for each in state.coupons]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each look into the store's history gave."""
    found: list[int] = []
    whole = Reader.history

    def counted(*words, **named) -> list[Envelope]:
        events = whole(*words, **named)
        found.append(len(events))
        return events

    monkeypatch.setattr(Reader, "history", counted)
    return found


def test_a_cart_of_10_000_events_is_read_once(tmp_path, read):
    """The first read takes each event once, sealed or not; later ones only what came since."""
    envelopes = history(*coupons(4_999))
    with CartStore.open(tmp_path) as store:
        store.append_many(envelopes[:6_000])
        store.seal()
        store.append_many(envelopes[6_000:])
        assert store.cart(CART).version == len(envelopes) == 10_000
        assert sum(read) == 10_000
        read.clear()
        assert store.cart(CART).total_cents == 994
        store.append(CART, [ItemAdded("q", "Sponge", 1, 100, "USD")], "u1", 10_000)
        assert store.cart(CART).total_cents == 1_094
        assert sum(read) <= 1
    with CartStore.open(tmp_path) as other:
        assert other.cart(CART).version == 10_001
    assert sum(read) <= 10_002
