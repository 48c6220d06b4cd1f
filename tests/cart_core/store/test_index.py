"""Indexes on disk can go, be torn or be of another layout: reads are the same, and the index is made anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cart_core.store import CartStore
from cart_core.store.segments import index_files
from tests.cart_core.store.builders import MUG, life, named

CART = named("b")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store of three segments, each with its index."""
    with CartStore.open(tmp_path / "store", journal_rows=0) as store:
        for name in "abc":
            store.append_many(life(name))
    return tmp_path / "store"


def indexes(home: Path) -> list[Path]:
    """The files of the indexes, by position."""
    return sorted((home / "cache" / "index").glob("*.index"))


def of_another_layout(content: bytes) -> bytes:
    """What an earlier version of this package left."""
    return b"cartidx3" + content[8:]


def of_another_segment(content: bytes) -> bytes:
    """An index of a file of the same name and as many rows, but other bytes."""
    head = np.frombuffer(content, index_files.HEADER, 1).copy()
    head["of_bytes"] += 1
    return head.tobytes() + content[index_files.HEADER.itemsize :]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "of another layout": of_another_layout,
    "of another segment": of_another_segment,
    "torn": lambda content: content[:-8],
    "too long": lambda content: content + bytes(8),
    "shorter than its header": lambda content: content[:20],
    "empty": lambda content: content[:0],
}


@pytest.mark.parametrize("how", SPOILT)
def test_an_index_that_does_not_fit_is_made_anew(home: Path, how: str):
    """Reads find what they found; afterwards the file is what it was before it was spoilt."""
    before = [path.read_bytes() for path in indexes(home)]
    with CartStore.open(home) as store:
        expected = store.read(CART)
    for path in indexes(home):
        path.write_bytes(SPOILT[how](path.read_bytes()))
    with CartStore.open(home) as store:
        assert store.read(CART) == expected
        assert [each.version for each in expected] == [1, 2, 3, 4, 5]
    assert [path.read_bytes() for path in indexes(home)] == before


def test_a_missing_index_is_made_anew(home: Path):
    """Whoever removes the cache folder loses nothing."""
    before = {path: path.read_bytes() for path in indexes(home)}
    for path in before:
        path.unlink()
    with CartStore.open(home) as store:
        assert len(store.read(CART)) == 5
    assert {path: path.read_bytes() for path in indexes(home)} == before


def test_events_past_a_version_are_read_from_the_segments_that_hold_them(home: Path):
    """A cart whose events stand in several segments, asked for from every version on."""
    with CartStore.open(home, journal_rows=0) as store:
        whole = store.read(CART)
        store.append(CART, [MUG], "ann", 5)
        store.seal()
        whole += store.read(CART)[5:]
        assert [each.version for each in whole] == [1, 2, 3, 4, 5, 6]
        assert [store.read(CART, after=after) for after in range(7)] == [whole[after:] for after in range(7)]
