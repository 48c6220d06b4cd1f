"""What a product cost in a cart, and when."""

from datetime import timedelta

from hypothesis import given

from cart_core.events import CouponRemoved, ItemAdded, ItemRemoved, PriceUpdated, QuantityChanged
from cart_core.prices import price_history, was_price_at
from cart_core.projector import fold
from tests.builders import NOON, envelope, event_id, history
from tests.strategies import FEW_PRODUCTS, histories

LIFE = history(
    ItemAdded("a", "the a", 1, 2900, "EUR"),
    QuantityChanged("a", 1, 5),
    PriceUpdated("a", 2900, 3900, "sale over"),
    ItemAdded("b", "the b", 1, 100, "EUR"),
    ItemRemoved("a"),
    PriceUpdated("a", 3900, 4900, "season"),
    ItemRemoved("a"),
    ItemAdded("a", "the a", 1, 4900, "EUR"),
)


def test_a_price_history_tells_every_price_that_a_line_had() -> None:
    """Additions and updates set a price, a removal names the last one; what touched no standing line is left out."""
    told = price_history(LIFE, "a")
    assert told["productId"] == "a"
    assert [(row["type"], row["priceCents"], row["version"]) for row in told["priceHistory"]] == [
        ("ItemAdded", 2900, 1),
        ("PriceUpdated", 3900, 3),
        ("ItemRemoved", 3900, 5),
        ("ItemAdded", 4900, 8),
    ]


def test_a_row_names_its_event_time_and_currency() -> None:
    """Each row can be traced to its event, and its price read without guessing the currency."""
    assert price_history(LIFE, "a")["priceHistory"][1] == {
        "type": "PriceUpdated",
        "timestamp": "2026-01-01T12:03:00Z",
        "priceCents": 3900,
        "currency": "EUR",
        "version": 3,
        "eventId": event_id(LIFE[0].cart_id, 3),
    }


def test_a_product_that_was_never_added_has_no_history() -> None:
    """Updates and removals of an absent product leave nothing to tell."""
    events = history(PriceUpdated("a", 1, 2, "sale"), ItemRemoved("a"), CouponRemoved("a"))
    assert price_history(events, "a") == {"productId": "a", "priceHistory": []}


def test_the_price_at_a_moment_is_that_of_the_line_then() -> None:
    """The moment is inclusive; before the addition and after the removal there is no price."""

    def price(minutes: float) -> int | None:
        return was_price_at(LIFE, "a", NOON + timedelta(minutes=minutes))

    assert [price(0.9), price(1), price(2.9), price(3), price(5), price(7.9), price(8)] == [
        None,
        2900,
        2900,
        3900,
        None,
        None,
        4900,
    ]


def test_what_happened_later_counts_for_nothing_whatever_its_version() -> None:
    """A late event with an early time is part of the past, an early version with a late time is not."""
    events = [
        envelope(ItemAdded("a", "the a", 1, 100, "USD"), 1, at=NOON),
        envelope(PriceUpdated("a", 100, 200, "sale"), 2, at=NOON + timedelta(hours=2)),
        envelope(PriceUpdated("a", 200, 300, "late"), 3, at=NOON + timedelta(hours=1)),
    ]
    assert was_price_at(events, "a", NOON + timedelta(hours=1)) == 300
    assert was_price_at(events, "a", NOON + timedelta(hours=2)) == 300


@given(histories())
def test_a_history_ends_with_the_price_that_the_cart_shows(events: list) -> None:
    """The last row is the current price of a standing line, or the removal of one."""
    state = fold(events)
    for product in FEW_PRODUCTS:
        rows, line = price_history(events, product)["priceHistory"], state.line(product)
        if line is None:
            assert not rows or rows[-1]["type"] == "ItemRemoved"
        else:
            assert (rows[-1]["priceCents"], rows[-1]["currency"]) == (line.price_cents, line.currency)
