"""The catalogue of prices: read from a table, asked at a moment, and held against what shoppers offer."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cart_core.commands import AddItem
from cart_core.errors import Refused, SourceError
from cart_core.service import Ask, CartService, Price, PriceCatalogue, Who, read_prices
from cart_core.store import MemoryStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CART = "00000000-0000-4000-8000-00000000000a"


def test_prices_change_at_their_moment() -> None:
    """The latest price that has begun counts, whatever the order of the rows."""
    later = Price("soap", 3900, "USD", NOON)
    first = Price("soap", 2900, "USD")
    catalogue = PriceCatalogue([later, first])
    assert catalogue.price_at("soap", NOON - timedelta(microseconds=1)) == first
    assert catalogue.price_at("soap", NOON) == later
    assert catalogue.price_at("tea", NOON) is None
    assert PriceCatalogue([later]).price_at("soap", NOON - timedelta(days=1)) is None


def test_a_shopper_cannot_name_a_price(clock: Any) -> None:
    """Another price, another currency and an unknown product are refused by name."""
    store = MemoryStore(clock)
    service = CartService(store, catalogue=PriceCatalogue([Price("soap", 2900, "USD")]))
    for item, code in (
        (AddItem("soap", "Soap", 1), "price_mismatch"),
        (AddItem("soap", "Soap", 2900, currency="JPY"), "price_mismatch"),
        (AddItem("tea", "Tea", 500), "not_in_catalogue"),
    ):
        with pytest.raises(Refused) as caught:
            service.ask(Ask(CART, item, Who("ann")))
        assert caught.value.code == code
    assert service.ask(Ask(CART, AddItem("soap", "Soap", 2900, currency="usd"), Who("ann"))).version == 1


def test_a_mismatch_tells_both_prices() -> None:
    """So that a shop can show what the product costs now."""
    with pytest.raises(Refused, match="'soap' costs 2900 USD, not 1 USD") as caught:
        PriceCatalogue([Price("soap", 2900, "USD")]).check(AddItem("soap", "Soap", 1), NOON)
    assert caught.value.details == {"offeredCents": 1, "catalogueCents": 2900, "currency": "USD"}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_read_from_csv_and_parquet(tmp_path: Path, ending: str) -> None:
    """The columns valid_from and reason may be missing or empty."""
    path = tmp_path / f"prices.{ending}"
    if ending == "csv":
        path.write_text("product_id,price_cents,currency,valid_from\nsoap,2900,usd,\n007,5,EUR,2026-01-01T12:00:00Z\n")
    else:
        rows = {"product_id": ["soap", "007"], "price_cents": [2900, 5], "currency": ["usd", "EUR"]}
        pl.DataFrame({**rows, "valid_from": [None, NOON]}).write_parquet(path)
    assert read_prices(path) == [Price("soap", 2900, "USD"), Price("007", 5, "EUR", NOON)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product_id,currency\nsoap,USD\n", "no column price_cents"),
        ("product_id,price_cents,currency\nsoap,2900,USD\nsoap,29.00,USD\n", "row 1: .*29.00"),
        ("product_id,price_cents,currency\nsoap,-1,USD\n", "row 0: priceCents is -1, but must be"),
        ("product_id,price_cents,currency\nsoap,1,EURO\n", "row 0: currency is 'EURO', but must be"),
        ("product_id,price_cents,currency,valid_from\nsoap,1,EUR,noon\n", "row 0: .*noon"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    """With its number, field, value and rule."""
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=message):
        read_prices(path)


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    """A missing file and a file that is no table are the same to a shop."""
    with pytest.raises(SourceError, match="cannot be read"):
        read_prices(tmp_path / "missing.csv")


def test_a_catalogue_follows_its_file(tmp_path: Path) -> None:
    """A new file counts without a restart."""
    path = tmp_path / "prices.csv"
    for number, price in enumerate((2900, 3900)):
        path.write_text(f"product_id,price_cents,currency\nsoap,{price},USD\n")
        os.utime(path, (number, number))
        if number == 0:
            catalogue = PriceCatalogue.read(path)
        found = catalogue.price_at("soap", NOON)
        assert found is not None
        assert found.price_cents == price
