"""Amounts to whole minor units, through integers and decimals alone: 0.29 is 29 cents, never 28."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules

# ISO 4217: currencies whose minor unit is not a hundredth.
BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF XXX",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS = {code: places for places, codes in BY_EXPONENT.items() for code in codes.split()}
USUAL_EXPONENT = 2
INT64_DIGITS = 19


def exponent(currency: str) -> int:
    """How many decimals a currency's amounts have."""
    return EXPONENTS.get(currency.upper(), USUAL_EXPONENT)


def minor_units(amount: object, currency: str) -> int | None:
    """An amount as whole minor units: "12.5" in USD is 1250.

    Text, integers and floats (taken as the shortest decimal that reads back the same) are amounts. None for what is
    no number, has a part below a minor unit, or does not fit 64 bits.
    """
    if isinstance(amount, bool) or not isinstance(amount, str | int | float | Decimal):
        return None
    try:
        exact = Decimal(str(amount)).scaleb(exponent(currency))
        whole = int(exact) if exact.adjusted() < INT64_DIGITS else None
    except (ArithmeticError, ValueError):
        return None
    return whole if whole is not None and whole == exact and abs(whole) <= rules.INT64_MAX else None


def minor_units_column(texts: pa.Array, currency: str) -> pa.Array:
    """``minor_units`` of a column of texts as int64, each different text read once; null where it is None."""
    coded = pc.dictionary_encode(texts)
    units = pa.array([minor_units(text, currency) for text in coded.dictionary.to_pylist()], pa.int64())
    return units.take(coded.indices)
