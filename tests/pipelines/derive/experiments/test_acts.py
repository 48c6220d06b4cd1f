from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from cart_core.events import CheckoutCompleted, CheckoutStarted, ItemAdded, ItemRemoved
from cart_core.schema import to_table
from pipelines.derive.abandonment import episodes
from pipelines.derive.experiments import acts, unit_metrics
from pipelines.tables import TableError, ids_as_bytes
from tests.builders import cart_id, envelope

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


def added(product="p1"):
    """A product put into the cart."""
    return ItemAdded(product, "A product", 1, 500, "USD")


def cart(number, user, *steps):
    """The envelopes of one cart from (hours after noon, event)."""
    return [
        envelope(event, version, cart=cart_id(number), user=user, at=NOON + hours * HOUR)
        for version, (hours, event) in enumerate(steps, 1)
    ]


def exposed(**hours):
    """Users with the hour after noon at which each was exposed."""
    return pl.DataFrame(
        {
            "user_id": list(hours),
            "variant": ["control"] * len(hours),
            "exposed_at": [NOON + at * HOUR for at in hours.values()],
        },
        schema_overrides={"user_id": pl.String, "variant": pl.String, "exposed_at": pl.Datetime("us", "UTC")},
    )


def told(envelopes, users, *, window=WEEK, as_of=NOON + 10 * WEEK, **more):
    """The one row of metrics of the only exposed user."""
    (row,) = unit_metrics(acts(to_table(envelopes), **more), users, window=window, as_of=as_of).to_dicts()
    return row


def test_only_what_happens_at_or_after_the_exposure_counts():
    """An order at the very moment of the exposure counts, one before it is history."""
    history = [
        *cart(1, "u1", (0, added()), (1, CheckoutStarted()), (2, CheckoutCompleted("o1", 700))),
        *cart(2, "u1", (3, added()), (4, CheckoutStarted()), (5, CheckoutCompleted("o2", 900))),
    ]
    row = told(history, exposed(u1=5))
    assert (row["orders"], row["revenue_cents"], row["converted"]) == (1, 900, True)
    assert (row["orders_before"], row["revenue_before_cents"], row["converted_before"]) == (1, 700, True)


def test_the_window_is_inclusive():
    """An order exactly ``window`` after the exposure counts, one a microsecond later does not."""
    history = cart(1, "u1", (0, added()), (24 * 7, CheckoutCompleted("o1", 700)))
    assert told(history, exposed(u1=0))["orders"] == 1
    assert told(history, exposed(u1=0), window=WEEK - timedelta(microseconds=1))["orders"] == 0
    assert told(history, exposed(u1=0), window=None)["orders"] == 1


def test_nothing_after_the_moment_counts():
    """As of an earlier moment what came later is not there, and users exposed later are not either."""
    history = cart(1, "u1", (0, added()), (2, CheckoutCompleted("o1", 700)))
    assert told(history, exposed(u1=0), as_of=NOON + HOUR)["orders"] == 0
    assert unit_metrics(acts(to_table(history)), exposed(u1=0), window=WEEK, as_of=NOON - HOUR).is_empty()


def test_who_did_nothing_has_zeros():
    """An exposed user without any act has a row of zeros and falses."""
    row = told(cart(1, "u2", (0, added())), exposed(u1=0))
    counts = [value for value in row.values() if type(value) is int]
    flags = [value for name, value in row.items() if type(value) is bool and name != "mature"]
    assert counts == [0] * len(counts)
    assert flags == [False] * len(flags)


def test_a_row_is_mature_when_its_window_is_over():
    """Maturity comes with the last moment of the window; without a window it never does."""
    history = cart(1, "u1", (0, added()))
    assert told(history, exposed(u1=0), as_of=NOON + WEEK)["mature"]
    assert not told(history, exposed(u1=0), as_of=NOON + WEEK - timedelta(microseconds=1))["mature"]
    assert not told(history, exposed(u1=0), window=None)["mature"]


def test_an_order_is_counted_once_per_cart():
    """A foreign history with two completions of one cart has one order, the first."""
    history = cart(1, "u1", (0, added()), (1, CheckoutCompleted("o1", 700)), (2, CheckoutCompleted("o1", 800)))
    row = told(history, exposed(u1=0))
    assert (row["orders"], row["revenue_cents"]) == (1, 700)


def test_removals_count_in_carts_begun_since_the_exposure():
    """A removal belongs to its cart: one from an older cart is no removal per cart of these."""
    history = [
        *cart(1, "u1", (0, added()), (3, ItemRemoved("p1"))),
        *cart(2, "u1", (2, added()), (4, ItemRemoved("p1")), (5, ItemRemoved("p1"))),
    ]
    row = told(history, exposed(u1=1))
    assert (row["carts"], row["removals"]) == (1, 2)


def test_an_abandoned_cart_counts_once_if_it_began_since_the_exposure():
    """Carts begun since the exposure are the denominator, those of them with any episode the numerator."""
    history = [
        *cart(1, "u1", (0, added())),
        *cart(2, "u1", (2, added()), (5, added("p2")), (9, added("p3"))),
        *cart(3, "u1", (2, added()), (2.5, CheckoutCompleted("o", 500))),
    ]
    silent = episodes(to_table(history), NOON + WEEK)
    row = told(history, exposed(u1=1), episodes=silent)
    assert (row["carts"], row["abandoned_carts"]) == (2, 1)


@pytest.mark.parametrize("form", [pl.DataFrame, ids_as_bytes], ids=["text", "bytes"])
def test_episodes_may_name_carts_by_text_or_bytes(form):
    """Episodes find their carts whichever way ids are written, and the first of a cart counts, by any events' form."""
    history = cart(1, "u1", (2, added()), (5, added("p2")), (9, added("p3")))
    silent = form(episodes(to_table(history), NOON + WEEK))
    (at,) = acts(to_table(history), episodes=silent).filter(act="abandoned")["at"]
    assert at == NOON + 3 * HOUR


def test_funnel_steps_share_the_exposed_users():
    """Each step is a flag of the exposed user: viewed, added, checkout started, purchased."""
    history = cart(1, "u1", (1, added()), (2, CheckoutStarted()))
    views = pl.DataFrame({"user_id": ["u1", "u1"], "at": [NOON, NOON + HOUR]})
    row = told(history, exposed(u1=0.5), views=views)
    assert [row[step] for step in ("viewed", "added", "checkout_started", "purchased")] == [True, True, True, False]


def test_users_stand_as_given():
    """Rows come in the order of the users."""
    users = exposed(b=0, a=0, c=0)
    found = unit_metrics(acts(to_table(cart(1, "c", (0, added())))), users, window=WEEK, as_of=NOON + WEEK)
    assert found["user_id"].to_list() == ["b", "a", "c"]


def test_forgotten_users_act_no_more():
    """Events whose user was forgotten are nobody's acts."""
    events = pl.from_arrow(to_table(cart(1, "u1", (0, added()))))
    assert acts(events.with_columns(user_id=pl.lit(None, pl.String))).is_empty()


@pytest.mark.parametrize("form", ["arrow", "frame", "lazy"])
def test_events_may_come_in_any_form(form):
    """Arrow, DataFrame and LazyFrame give the same acts."""
    table = to_table(cart(1, "u1", (0, added()), (1, CheckoutCompleted("o1", 700))))
    frame = pl.from_arrow(table)
    found = acts({"arrow": table, "frame": frame, "lazy": frame.lazy()}[form])
    assert sorted(found["act"]) == ["add", "cart", "order"]


def test_a_frame_that_is_no_events_table_is_refused():
    """A missing column is named."""
    with pytest.raises(TableError, match="total_cents"):
        acts(pl.from_arrow(to_table(cart(1, "u1", (0, added())))).drop("total_cents"))
