import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from cart_core import ledger
from cart_core.events import Envelope
from tests.strategies import envelopes, letters

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(letters | st.just("\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(letters, max_size=3), inner, max_size=6),
    max_leaves=20,
)


def test_the_example_of_rfc_8785_comes_out_as_printed_there():
    """Section 3.2.2: numbers, literals and every kind of escape."""
    document = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }

    actual = ledger.canonical_json(document)

    assert actual.decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf_16_code_units():
    """RFC 8785, section 3.2.3: a letter beyond U+FFFF sorts before U+FB33, though its code point is larger."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]

    actual = json.loads(ledger.canonical_json(dict.fromkeys(keys, 0)))

    assert list(actual) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_doubles_print_as_in_the_table_of_rfc_8785(bits, text):
    """Appendix B: the samples of serialised IEEE 754 numbers."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))

    assert ledger.canonical_json(value).decode() == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_without_a_json_form_are_refused(value):
    """RFC 8785 has no form for NaN and infinities."""
    with pytest.raises(ValueError, match="has no JSON form"):
        ledger.canonical_json({"price": [value]})


def test_what_json_cannot_hold_is_refused_by_its_type():
    """A set, a date or bytes have no canonical form."""
    with pytest.raises(TypeError, match="bytes has no JSON form"):
        ledger.canonical_json({"id": b""})


@given(json_values)
def test_any_json_value_comes_out_as_another_library_writes_it(value):
    """The package rfc8785 gives the same bytes."""
    assert ledger.canonical_json(value) == rfc8785.dumps(value)


def test_integers_keep_all_their_digits():
    """An integer beyond 2**53, for which RFC 8785 has no form, is not rounded to a double."""
    assert ledger.canonical_json(2**63 - 1) == b"9223372036854775807"


@given(envelopes(), st.integers(0, 2**63 - 1))
def test_an_event_comes_out_as_its_json_with_the_key_of_its_user(envelope: Envelope, user_key):
    """The quick form of one event is the canonical JSON of the envelope with userKey in place of userId."""
    document = envelope.to_json()
    del document["userId"]
    document.pop("recordedAt", None)

    actual = ledger.canonical(envelope, user_key)

    assert actual == ledger.canonical_json({**document, "userKey": user_key})


@given(envelopes(), st.integers(0, 2**53 - 1))
def test_an_event_can_be_written_again_from_json_by_another_library(envelope: Envelope, user_key):
    """Parsed and written by rfc8785, the bytes are the same, but for integers that it refuses."""
    text = ledger.canonical(envelope, user_key)
    try:
        again = rfc8785.dumps(json.loads(text))
    except rfc8785.IntegerDomainError:
        return

    assert text == again
