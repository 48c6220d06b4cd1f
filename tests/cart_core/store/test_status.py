"""What ``cart status`` tells: the figures are those of the catalog and of the files on disk."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cart_core import rules
from cart_core.store import CartStore
from cart_core.store.catalogs.tables import SCHEMA_VERSION
from tests.cart_core.store.builders import MORE_MUGS, life, named
from tests.cart_core.store.conftest import SteppingClock


def test_an_empty_store_has_nothing_to_tell(durable: CartStore):
    """Zeros where there is a count, None where there is no such thing yet."""
    found = durable.status()
    assert {name for name, value in found.items() if value is None} == {
        "bytes_per_event",
        "chain_head",
        "last_sealed_at",
        "last_recorded_at",
        "last_verified_at",
        "last_verified_position",
        "last_verified_problems",
    }
    assert (found["position"], found["journal_rows"], found["segments"], found["retired_bytes"]) == (0, 0, 0, 0)


def test_figures_are_those_of_the_files(durable: CartStore, ticking: SteppingClock):
    """Rows in the journal, events and bytes in segments, and what waits to be removed after a compaction."""
    for cart in ("a", "b"):
        durable.append_many(life(cart))
        durable.seal()
    sealed_at = ticking.now
    durable.append(named("a"), [MORE_MUGS], "ann", 5)
    durable.compact()
    found = durable.status()
    sizes = [path.stat().st_size for path in (durable.path / "segments").glob("*.parquet")]
    assert (found["position"], found["journal_rows"], found["sealed_events"], found["batches"]) == (11, 1, 10, 2)
    assert (found["segments"], found["retired_segments"]) == (1, 2)
    assert found["segment_bytes"] + found["retired_bytes"] == sum(sizes)
    assert found["bytes_per_event"] == round(found["segment_bytes"] / 10, 1)
    assert found["last_sealed_at"] == rules.format_time(sealed_at)
    assert found["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize("damaged", [False, True])
def test_the_last_verification_is_remembered(durable: CartStore, ticking: SteppingClock, *, damaged: bool):
    """When it was, how far it reached, and how many problems it found."""
    durable.append_many(life("a"))
    durable.seal()
    if damaged:
        segment = next((durable.path / "segments").glob("*.parquet"))
        segment.chmod(0o644)
        content = bytearray(segment.read_bytes())
        content[len(content) // 3] ^= 1
        segment.write_bytes(content)
    found = durable.verify()
    moment = rules.format_time(ticking.now)
    ticking.now += timedelta(hours=3)
    told = durable.status()
    assert told["last_verified_at"] == moment
    assert (told["last_verified_position"], told["last_verified_problems"]) == (5, len(found.problems))
    assert bool(found.problems) == damaged


def test_what_cannot_be_noted_keeps_nobody_from_verifying(durable: CartStore):
    """A cache that is no folder, and one with nonsense in it, are as good as none."""
    (durable.path / "cache").mkdir(exist_ok=True)
    (durable.path / "cache" / "verified.json").write_text("[]")
    assert durable.status()["last_verified_at"] is None
    (durable.path / "cache" / "verified.json").unlink()
    (durable.path / "cache").rmdir()
    (durable.path / "cache").write_text("in the way")
    assert durable.verify().ok
    assert durable.status()["last_verified_at"] is None
