"""What the shop does to every cart that it touches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import polars as pl
import pytest

from cart_core.commands import AddItem, ApplyCoupon, CompleteCheckout, RemoveItem, StartCheckout, UpdatePrice
from cart_core.errors import ConcurrencyError, SourceError
from cart_core.events import CouponRemoved
from cart_core.service import (
    Answer,
    Ask,
    CartService,
    Changed,
    Price,
    Who,
    carry_out,
    expiry_asks,
    price_asks,
    read_coupon_ends,
    system,
)
from cart_core.store import CartStore

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cart_id(number: int) -> str:
    """The id of a test's cart."""
    return str(uuid5(UUID(int=0), str(number)))


@pytest.fixture
def service(tmp_path: Path, clock: Any) -> CartService:
    """A service over an empty store."""
    return CartService(CartStore.open(tmp_path / "store", clock=clock))


def fill(service: CartService, number: int, *commands: Any) -> str:
    """A cart of its own user with these commands."""
    for command in commands:
        service.ask(Ask(cart_id(number), command, Who(f"u{number}")))
    return cart_id(number)


SOAP = AddItem("soap", "Soap", 2900)
PAID = (StartCheckout(), CompleteCheckout("o1", 2900))


@pytest.mark.parametrize("few", [500, 0])
def test_a_price_reaches_every_open_cart_that_holds_the_product(
    service: CartService, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Not the paid ones, nor those that had it once, nor those in another currency, nor those at that price."""
    monkeypatch.setattr(system, "FEW_CARTS", few)
    holding = [fill(service, number, SOAP, AddItem("tea", "Tea", 500)) for number in range(3)]
    others = [
        fill(service, 10, SOAP, *PAID),
        fill(service, 11, SOAP, RemoveItem("soap")),
        fill(service, 12, AddItem("soap", "Soap", 2900, currency="EUR")),
        fill(service, 13, AddItem("soap", "Soap", 3900)),
        fill(service, 14, AddItem("tea", "Tea", 500)),
    ]
    before = [service.store.cart(each) for each in others]
    asks = price_asks(service.store, [Price("soap", 3900, "USD", reason="supplier"), Price("tea", 500, "USD")])
    assert carry_out(service.ask_all, asks) == Changed(carts=3, events=3, passed=0)
    lines = [service.store.cart(each).line("soap") for each in holding]
    assert [(line.price_cents, line.original_price_cents) for line in lines if line] == [(3900, 2900)] * 3
    assert [service.store.cart(each) for each in others] == before


def test_a_forgotten_users_cart_is_left_alone(service: CartService) -> None:
    """Nobody will see the new price."""
    fill(service, 1, SOAP)
    service.store.forget("u1")
    assert list(price_asks(service.store, [Price("soap", 3900, "USD")])) == []


def test_shoppers_come_in_between(service: CartService) -> None:
    """A cart that was paid or emptied after it was found is passed over."""
    carts = [fill(service, number, SOAP) for number in range(3)]
    asks = list(price_asks(service.store, [Price("soap", 3900, "USD")]))
    fill(service, 0, *PAID)
    fill(service, 1, RemoveItem("soap"))
    assert carry_out(service.ask_all, asks) == Changed(carts=1, events=1, passed=2)
    assert [service.store.cart(each).version for each in carts] == [3, 2, 2]


def test_a_busy_cart_is_asked_again() -> None:
    """A conflict after all of the service's tries is not the end of it."""
    outcomes: list[list[Any]] = [[ConcurrencyError(cart_id(1), 1, 2), Answer(2, {"a": "b"})], [Answer(5, {"a": "b"})]]
    asks = [Ask(cart_id(number), UpdatePrice("soap", 5, "x"), Who("shop")) for number in (1, 2)]
    assert carry_out(lambda _: outcomes.pop(0), asks) == Changed(carts=2, events=2, passed=0)


def test_a_cart_that_never_rests_is_told() -> None:
    """Nothing is passed over in silence."""
    with pytest.raises(ConcurrencyError):
        carry_out(lambda group: [ConcurrencyError(cart_id(1), 1, 2)] * len(group), [Ask(cart_id(1), SOAP, Who("shop"))])


def test_coupons_past_their_end_leave_open_carts(service: CartService) -> None:
    """Each as expired, at the moment given; the end itself is past."""
    coupons = [ApplyCoupon(code, "fixed", 5) for code in ("OLD", "NOW", "NEW", "EVER")]
    open_cart = fill(service, 1, SOAP, *coupons)
    paid = fill(service, 2, SOAP, *coupons, StartCheckout(), CompleteCheckout("o1", 2880))
    hour = timedelta(hours=1)
    ends = {"OLD": START - hour, "NOW": START, "NEW": START + hour}
    done = carry_out(service.ask_all, expiry_asks(service.store, ends, START))
    assert done == Changed(carts=1, events=2, passed=0)
    gone = service.store.read(open_cart)[5:]
    assert {each.event for each in gone} == {CouponRemoved("OLD", "expired"), CouponRemoved("NOW", "expired")}
    assert {each.timestamp for each in gone} == {START}
    assert [coupon.code for coupon in service.store.cart(open_cart).coupons] == ["NEW", "EVER"]
    assert len(service.store.cart(paid).coupons) == 4
    assert list(expiry_asks(service.store, ends, START)) == []


def test_coupon_ends_are_read_from_the_shops_table(tmp_path: Path) -> None:
    """Coupons without an end never expire."""
    path = tmp_path / "coupons.parquet"
    frame = pl.DataFrame(
        {"code": ["A", "B"], "ends_at": [START, None]}, {"code": pl.String, "ends_at": pl.Datetime("us", "UTC")}
    )
    frame.write_parquet(path)
    assert read_coupon_ends(path) == {"A": START}
    frame.with_columns(pl.col("ends_at").dt.replace_time_zone(None)).write_parquet(path)
    with pytest.raises(SourceError, match="zone"):
        read_coupon_ends(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_coupon_ends(tmp_path / "missing.parquet")
