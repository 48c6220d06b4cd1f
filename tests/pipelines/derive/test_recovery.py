from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from cart_core.events import (
    CheckoutCompleted,
    CheckoutStarted,
    CouponApplied,
    Envelope,
    ItemAdded,
    ItemRemoved,
    PriceUpdated,
    QuantityChanged,
)
from cart_core.projector import fold
from cart_core.schema import to_table
from pipelines.derive.abandonment import episodes
from pipelines.derive.recovery import Inputs, Policy, candidates
from pipelines.derive.recovery_content import content
from pipelines.tables import INPUTS, TABLES, conformed
from tests.builders import NOON, cart_id, envelope
from tests.strategies import shops

MINUTE = timedelta(minutes=1)
AS_OF = NOON + 100 * MINUTE
BOOK = ItemAdded("p1", "Book", 2, 1_000, "USD")
PEN = ItemAdded("p2", "Pen", 1, 300, "USD")
NO_HOLDOUT = Policy(holdout=0)


def cart(*events: tuple[float, Any], number: int = 1, user: str = "u1") -> list[Envelope]:
    """One cart's events, each given as (minutes after noon, event)."""
    return [
        envelope(event, version, cart=cart_id(number), user=user, at=NOON + MINUTE * minute)
        for version, (minute, event) in enumerate(events, 1)
    ]


def table(name: str, *rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of a table that the shop hands in."""
    return pl.DataFrame(rows, schema=INPUTS[name].schema)


def contact(user: str = "u1", **changed: Any) -> dict[str, Any]:
    """A shopper who may be written to."""
    return {"user_id": user, "email": f"{user}@mail.example", "consent": True, "time_zone": "UTC"} | changed


def listed(*carts: list[Envelope], policy: Policy = NO_HOLDOUT, as_of: Any = AS_OF, **inputs: Any) -> Any:
    """The candidates of these carts as rows; u1 may be written to unless contacts are given."""
    events = to_table([each for events in carts for each in events])
    given_ = {"contacts": table("contacts", contact())} | inputs
    found = candidates(events, as_of, Inputs(**given_), policy)
    return conformed(TABLES["recovery_candidates"], found).to_dicts()


def reasons(*carts: list[Envelope], **options: Any) -> list[str]:
    """Why the only candidate is not written to."""
    [row] = listed(*carts, **options)
    assert row["eligible"] == (row["reasons"] == [])
    return list(row["reasons"])


def test_an_open_episode_of_a_reachable_shopper_is_eligible() -> None:
    """With consent, address, value and nothing against it, the cart is ranked first and sent at once."""
    [row] = listed(cart((0, BOOK)))
    told = {name: row[name] for name in ("eligible", "reasons", "assignment", "rank", "send_after", "hours_since")}
    assert told == {
        "eligible": True,
        "reasons": [],
        "assignment": "treatment",
        "rank": 1,
        "send_after": AS_OF,
        "hours_since": pytest.approx(100 / 60),
    }


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"consent": False}, ["no_consent"]),
        ({"consent": None}, ["no_consent"]),
        ({"email": None}, ["no_address"]),
        ({"email": " "}, ["no_address"]),
        ({"consent": False, "email": None}, ["no_consent", "no_address"]),
    ],
)
def test_who_may_not_be_reached_is_left_alone(changed: dict[str, Any], expected: list[str]) -> None:
    """Without consent or address the row stays, with every reason."""
    assert reasons(cart((0, BOOK)), contacts=table("contacts", contact(**changed))) == expected


def test_a_shopper_without_a_contact_has_neither_consent_nor_address() -> None:
    """A guest of whom nothing is known is listed, and not written to."""
    assert reasons(cart((0, BOOK)), contacts=table("contacts")) == ["no_consent", "no_address"]


def test_a_shopper_who_bought_since_in_any_cart_is_left_alone() -> None:
    """An order in another cart after the silence began stands against it; one before does not."""
    silent = cart((10, BOOK))
    assert reasons(silent, cart((11, BOOK), (12, CheckoutCompleted("o1", 1)), number=2)) == ["bought_since"]
    assert reasons(silent, cart((8, BOOK), (9, CheckoutCompleted("o1", 1)), number=2)) == []


def test_the_frequency_cap_counts_sends_of_every_campaign() -> None:
    """As many sends as the cap allows within its period stand against another; older ones and later ones do not."""

    def sent(*minutes: float) -> pl.DataFrame:
        rows = [{"campaign": "other", "user_id": "u1", "cart_id": None, "sent_at": NOON + MINUTE * m} for m in minutes]
        return table("sends", *rows)

    week = 7 * 24 * 60
    assert reasons(cart((0, BOOK)), sends=sent(50)) == ["contacted"]
    assert reasons(cart((0, BOOK)), sends=sent(101 - week)) == ["contacted"]
    assert reasons(cart((0, BOOK)), sends=sent(100 - week, 101)) == []
    assert reasons(cart((0, BOOK)), sends=sent(50), policy=Policy(holdout=0, cap=2)) == []


def test_a_cart_below_the_minimum_is_left_alone() -> None:
    """2000 is below a minimum of 2001 and not below 2000."""
    assert reasons(cart((0, BOOK)), policy=Policy(holdout=0, min_value_cents=2_001)) == ["below_minimum"]
    assert reasons(cart((0, BOOK)), policy=Policy(holdout=0, min_value_cents=2_000)) == []


def test_mixed_currencies_have_no_value_to_write_about() -> None:
    """A cart of dollars and yen is listed with that reason."""
    assert reasons(cart((0, BOOK), (1, ItemAdded("p2", "Pen", 1, 90, "JPY")))) == ["mixed_currency"]


def test_an_old_silence_is_left_alone() -> None:
    """Beyond the oldest age since the last activity; at it, the mail still goes."""
    policy = Policy(holdout=0, max_age=100 * MINUTE)
    assert reasons(cart((0, BOOK)), policy=policy) == []
    assert reasons(cart((0, BOOK)), policy=policy, as_of=AS_OF + MINUTE) == ["too_old"]


def test_only_a_cart_of_which_nothing_is_in_stock_is_left_alone() -> None:
    """One line that can be sold is enough, and a product whose stock nobody knows can be."""
    gone, there = {"product_id": "p1", "available": 0}, {"product_id": "p2", "available": 3}
    assert reasons(cart((0, BOOK)), stock=table("stock", gone)) == ["out_of_stock"]
    assert reasons(cart((0, BOOK), (1, PEN)), stock=table("stock", gone, there)) == []
    assert reasons(cart((0, BOOK), (1, PEN)), stock=table("stock", gone)) == []


def test_one_shopper_gets_one_mail_for_two_carts() -> None:
    """Of two open carts the one with the higher expected value is written about while the cap is 1."""
    rows = listed(cart((0, PEN)), cart((1, BOOK), number=2))
    assert [(row["cart_id"], row["reasons"]) for row in rows] == [(cart_id(2), []), (cart_id(1), ["another_cart"])]
    both = listed(cart((0, PEN)), cart((1, BOOK), number=2), policy=Policy(holdout=0, cap=2))
    assert [row["rank"] for row in both] == [1, 2]


def test_the_holdout_is_drawn_among_the_eligible_only() -> None:
    """With everybody in the holdout an eligible shopper's arm is the holdout; one ruled out has no arm."""
    policy = Policy(holdout=1)
    [row] = listed(cart((0, BOOK)), policy=policy)
    assert (row["eligible"], row["reasons"], row["assignment"]) == (False, ["holdout"], "holdout")
    [row] = listed(cart((0, BOOK)), policy=policy, contacts=table("contacts"))
    assert (row["reasons"], row["assignment"]) == (["no_consent", "no_address"], None)


def test_quiet_hours_are_no_reason_but_a_later_send() -> None:
    """At night the row is eligible and says when the shopper's quiet hours end."""
    [row] = listed(cart((0, BOOK)), contacts=table("contacts", contact(time_zone="Asia/Tokyo")))
    assert row["eligible"]
    assert row["send_after"] == NOON + timedelta(hours=11)


def test_what_is_over_is_no_candidate() -> None:
    """Recovered, resumed and lost episodes, and carts that are still active, are not listed."""
    assert listed(cart((0, BOOK), (70, CheckoutCompleted("o1", 1)))) == []
    assert listed(cart((0, BOOK), (70, PEN))) == []
    assert listed(cart((0, BOOK)), as_of=NOON + timedelta(days=8)) == []


def test_the_content_tells_prices_then_and_now() -> None:
    """A price drop shows on its line and in the sum over all units, with the versions behind it."""
    sale = PriceUpdated("p1", 1_000, 900, "sale")
    [row] = listed(cart((0, BOOK), (1, PEN), (2, QuantityChanged("p1", 2, 3)), (80, sale)))
    [book, pen] = row["lines"]
    prices = [book[name] for name in ("original_price_cents", "price_cents", "price_change_cents")]
    assert (book["quantity"], prices) == (3, [1_000, 900, -100])
    assert (book["added_version"], book["version"], pen["added_version"], pen["version"]) == (1, 4, 2, 2)
    assert (row["value_cents"], row["price_drop_cents"], row["versions"]) == (3_000, 300, [1, 2, 3, 4])


def test_the_content_tells_what_was_taken_out() -> None:
    """A product that left and did not come back is listed with its last price and the moment it left."""
    sale, later = PriceUpdated("p2", 300, 250, "sale"), PriceUpdated("p2", 250, 9, "sale")
    events = cart((0, BOOK), (1, PEN), (2, sale), (3, ItemRemoved("p2")), (4, later))
    [row] = listed(events)
    assert row["removed_lines"] == [
        {
            "product_id": "p2",
            "product_name": "Pen",
            "price_cents": 250,
            "removed_at": NOON + 3 * MINUTE,
            "removed_version": 4,
        }
    ]
    [row] = listed([*events, envelope(PEN, 6, cart=cart_id(1), at=NOON + 5 * MINUTE)])
    assert row["removed_lines"] == []


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (AS_OF, "expired"),
        (AS_OF + MINUTE, "expiring"),
        (AS_OF + timedelta(days=2, minutes=1), "active"),
        (None, "active"),
    ],
)
def test_the_content_tells_when_a_coupon_ends(ends: Any, state: str) -> None:
    """A coupon on the cart is expired, expiring within two days, or active."""
    coupons = table("coupons", {"code": "TEN", "discount_type": "percentage", "discount_value": 10.0, "ends_at": ends})
    [row] = listed(cart((0, BOOK), (1, CouponApplied("TEN", "percentage", 10))), coupons=coupons)
    assert row["coupons"] == [
        {"code": "TEN", "discount_type": "percentage", "discount_value": 10.0, "ends_at": ends, "state": state}
    ]
    assert (row["subtotal_cents"], row["discount_cents"], row["value_cents"]) == (2_000, 200, 1_800)


def test_the_expected_value_is_chance_times_value() -> None:
    """Rows are ranked by it."""
    people = table("contacts", contact(), contact("u2"))
    rows = listed(cart((0, PEN)), cart((0, CheckoutStarted()), (1, BOOK), number=2, user="u2"), contacts=people)
    assert [row["rank"] for row in rows] == [1, 2]
    for row in rows:
        assert row["expected_value_cents"] == pytest.approx(row["recover_p"] * row["value_cents"])
    assert rows[0]["value_cents"] > rows[1]["value_cents"]


@settings(max_examples=40)
@given(shops(max_carts=4))
def test_every_open_episode_has_one_row(events: list[Envelope]) -> None:
    """On any histories the candidates are the open episodes, each once, and eligible exactly without a reason."""
    as_of = max((each.timestamp for each in events), default=NOON) + timedelta(hours=2)
    found = candidates(to_table(events), as_of, Inputs(contacts=table("contacts", contact())))
    conformed(TABLES["recovery_candidates"], found)
    waiting = episodes(to_table(events), as_of).filter(pl.col("outcome") == "open").select("cart_id", "episode_no")
    assert found.select("cart_id", "episode_no").sort("cart_id").equals(waiting.sort("cart_id"))
    assert found["eligible"].equals((found["reasons"].list.len() == 0).alias("eligible"))


@settings(max_examples=60)
@given(shops(max_carts=3))
def test_content_is_the_fold(events: list[Envelope]) -> None:
    """Lines, coupons and money are those of the fold, and what was removed is what was once added and is not there."""
    as_of = NOON + timedelta(days=40)
    rows = content(to_table(events), as_of).to_dicts()
    assert sorted(row["cart_id"] for row in rows) == sorted({each.cart_id for each in events})
    for row in rows:
        history = [each for each in events if each.cart_id == row["cart_id"]]
        state = fold(history)
        told = [(line["product_id"], line["quantity"], line["price_cents"], line["currency"]) for line in row["lines"]]
        assert told == [(line.product_id, line.quantity, line.price_cents, line.currency) for line in state.lines]
        assert row["value_cents"] == state.total_cents
        assert [coupon["code"] for coupon in row["coupons"]] == [coupon.code for coupon in state.coupons]
        added = {each.event.product_id for each in history if isinstance(each.event, ItemAdded)}
        standing = {line.product_id for line in state.lines}
        assert {line["product_id"] for line in row["removed_lines"]} == added - standing
