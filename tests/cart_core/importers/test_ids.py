from __future__ import annotations

from uuid import UUID, uuid5

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules
from cart_core.importers import ids


@given(st.uuids(), st.lists(st.text(max_size=40), max_size=6))
def test_named_ids_are_the_uuids_of_version_5_that_anybody_can_compute(space, names):
    """Every derived id equals the standard library's UUIDv5 of the same namespace and name."""
    raw = ids.named_all(space.bytes, [name.encode("utf-8", "ignore") for name in names])
    sound = [name.encode("utf-8", "ignore").decode() for name in names]
    assert [UUID(bytes=row.tobytes()) for row in raw] == [uuid5(space, name) for name in sound]


@given(
    st.lists(st.uuids().map(str) | st.uuids().map(lambda each: str(each).upper()) | st.text(max_size=40) | st.none())
)
def test_text_is_read_as_the_rule_for_ids_reads_it(texts):
    """A text is an id exactly where the rule says so, and then has the bytes of that UUID."""
    raw, sound = ids.from_text(pa.array(texts, pa.string()))
    wanted = [text is not None and rules.UUID_TEXT.fullmatch(text) is not None for text in texts]
    assert sound.tolist() == wanted
    assert [UUID(bytes=row.tobytes()) for row in raw[sound]] == [UUID(text) for text in texts if _is_id(text)]


@given(st.lists(st.uuids()))
def test_ids_survive_the_way_to_text_and_back(uuids):
    """Bytes to text to bytes changes nothing."""
    raw = ids.joined([each.bytes for each in uuids])
    texts = ids.to_text(raw)
    assert texts.to_pylist() == [str(each) for each in uuids]
    assert np.array_equal(ids.from_text(texts)[0], raw)


def test_a_slice_of_a_column_is_read_like_the_column():
    """Offsets into a larger buffer are respected."""
    texts = pa.array(["x", str(UUID(int=7)), None, str(UUID(int=9))])
    raw, sound = ids.from_text(texts.slice(1))
    assert sound.tolist() == [True, False, True]
    assert raw[2].tobytes() == UUID(int=9).bytes


def _is_id(text):
    return text is not None and rules.UUID_TEXT.fullmatch(text) is not None
