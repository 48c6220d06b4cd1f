"""Random events, envelopes and histories for hypothesis.

``histories()`` draws from few products and coupons, so that re-adds, updates of missing lines and repeated coupons
are common; every event type may come at any place, also after a checkout, and time may run backwards.
``events()`` and ``envelopes()`` draw from the whole range that the rules allow.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid5

from hypothesis import strategies as st

from cart_core import rules
from cart_core.events import (
    CartAbandoned,
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    CouponRemoved,
    Envelope,
    Event,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
FEW_PRODUCTS = ("p1", "p2", "p10", "\uffee", "\U0001f6d2")
FEW_COUPONS = ("TEN", "FIVE", "ten")
FEW_CURRENCIES = ("USD", "USD", "USD", "EUR", "JPY")

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
names = st.text(letters, min_size=1, max_size=12) | st.just("n" * rules.TEXT_CHARS)
texts = st.text(letters, max_size=12) | st.just("t" * rules.TEXT_CHARS)
uuids = st.uuids().map(str)
quantities = st.integers(1, 9) | st.integers(1, rules.INT32_MAX)
prices = st.integers(1, 99_999) | st.integers(1, rules.INT64_MAX)
cents = st.integers(0, 99_999) | st.integers(0, rules.INT64_MAX)
signed_cents = st.integers(-rules.INT64_MAX - 1, rules.INT64_MAX)
signed_quantities = st.integers(-rules.INT32_MAX - 1, rules.INT32_MAX)
currencies = st.text("abcXYZ", min_size=3, max_size=3)
urls = st.just("https://shop.example/a.png?size=1#top") | st.text("abc/?#%é", max_size=9).map("http://h".__add__)
percentages = st.integers(1, 100 * rules.PERCENT_STEPS).map(lambda steps: steps / rules.PERCENT_STEPS)
fixed_discounts = st.integers(1, 5_000) | st.integers(1, rules.EXACT_FLOAT_MAX)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11))])
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones)
metadata_maps = st.dictionaries(names, texts, max_size=3)


def events(
    products: st.SearchStrategy[str] = names,
    coupons: st.SearchStrategy[str] = names,
    currency: st.SearchStrategy[str] = currencies,
    happened: st.SearchStrategy[datetime] = moments,
) -> st.SearchStrategy[Event]:
    """Any valid event of any of the nine types."""
    return st.one_of(
        st.builds(ItemAdded, products, texts, quantities, prices, currency, st.none() | urls),
        st.builds(ItemRemoved, products),
        st.builds(QuantityChanged, products, signed_quantities, quantities),
        st.builds(CouponApplied, coupons, st.just("percentage"), percentages | st.integers(1, 100)),
        st.builds(CouponApplied, coupons, st.just("fixed"), fixed_discounts | fixed_discounts.map(float)),
        st.builds(CouponRemoved, coupons, st.sampled_from([None, "shopper", "expired", "invalid"])),
        st.builds(PriceUpdated, products, cents, cents, texts),
        st.builds(CartAbandoned, happened),
        st.just(CheckoutStarted()),
        st.builds(CheckoutCompleted, names, signed_cents),
    )


def envelopes(event: st.SearchStrategy[Event] | None = None) -> st.SearchStrategy[Envelope]:
    """Any valid envelope, as it comes in or as the store gives it back."""
    return st.builds(
        Envelope,
        event_id=uuids,
        cart_id=uuids,
        user_id=names,
        timestamp=moments,
        version=st.integers(1, rules.INT32_MAX),
        event=events() if event is None else event,
        metadata=metadata_maps,
        recorded_at=st.none() | moments,
    )


recent_moments = st.integers(-3_600, 3 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))
ages = recent_moments.map(rules.format_time) | st.sampled_from(["yesterday", "2026-01-01", "2026-01-01T05:45:00+05:45"])
few_events = events(
    st.sampled_from(FEW_PRODUCTS), st.sampled_from(FEW_COUPONS), st.sampled_from(FEW_CURRENCIES), recent_moments
)


@st.composite
def histories(
    draw: st.DrawFn,
    carts: st.SearchStrategy[str] = uuids,
    min_size: int = 0,
    max_size: int = 24,
    event: st.SearchStrategy[Event] = few_events,
) -> list[Envelope]:
    """One cart's events, versions 1, 2, 3 ..., in order."""
    cart = draw(carts)
    drawn = draw(st.lists(st.tuples(event, recent_moments, st.none() | ages), min_size=min_size, max_size=max_size))
    return [
        Envelope(
            event_id=str(uuid5(UUID(cart), str(version))),
            cart_id=cart,
            user_id="u1",
            timestamp=happened,
            version=version,
            event=each,
            metadata={} if age is None else {"added_at": age},
        )
        for version, (each, happened, age) in enumerate(drawn, 1)
    ]


@st.composite
def shops(draw: st.DrawFn, max_carts: int = 5, max_size: int = 12, *, shuffled: bool = True) -> list[Envelope]:
    """The events of several carts together; shuffled, or in an order that keeps each cart's versions ascending."""
    ids = draw(st.lists(uuids, max_size=max_carts, unique=True))
    together = [each for cart in ids for each in draw(histories(st.just(cart), max_size=max_size))]
    order = draw(st.permutations(range(len(together))))
    if shuffled:
        return [together[place] for place in order]
    waiting = {cart: iter([each for each in together if each.cart_id == cart]) for cart in ids}
    return [next(waiting[together[place].cart_id]) for place in order]


@st.composite
def splits(draw: st.DrawFn, history: list[Envelope]) -> tuple[list[Envelope], list[Envelope]]:
    """One history cut in two at any place, for folds that go on from a kept state."""
    place = draw(st.integers(0, len(history)))
    return history[:place], history[place:]
