from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules
from cart_core.importers import money

CURRENCIES = ("USD", "JPY", "KWD", "CLF", "XXX")


@given(st.integers(-rules.INT64_MAX, rules.INT64_MAX), st.sampled_from(CURRENCIES))
def test_an_amount_is_read_back_to_the_unit(units, currency):
    """Any number of minor units, written as a decimal, is read as exactly that number."""
    written = f"{Decimal(units).scaleb(-money.exponent(currency)):f}"
    assert money.minor_units(written, currency) == units


@given(st.lists(st.decimals(allow_nan=True, allow_infinity=True).map(str) | st.text(max_size=6) | st.none()))
def test_a_column_is_read_like_its_texts_one_by_one(texts):
    """Columns and single amounts agree, also on what is no amount."""
    wanted = [money.minor_units(text, "USD") for text in texts]
    assert money.minor_units_column(pa.array(texts, pa.string()), "USD").to_pylist() == wanted


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        ("0.29", "USD", 29),
        (8.29, "USD", 829),
        (19, "USD", 1900),
        ("1.10", "usd", 110),
        ("4.350", "USD", 435),
        ("-79.37", "USD", -7937),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
    ],
)
def test_amounts_become_the_minor_units_of_their_currency(amount, currency, units):
    """Cents, yen and fils: each currency has its own number of decimals."""
    assert money.minor_units(amount, currency) == units


@pytest.mark.parametrize(
    "amount", ["1.005", "", "abc", "1,50", "NaN", "Infinity", "1e400", "1e999999999", True, None, [1], "9" * 30]
)
def test_what_is_no_whole_number_of_minor_units_is_no_amount(amount):
    """Half a cent, words, and numbers beyond 64 bits are refused, never rounded."""
    assert money.minor_units(amount, "USD") is None
