"""P9 and P10: sealers, importers and sweeps that run at once keep the chain in order and each other's files."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from cart_core import ledger
from cart_core.errors import StoreBusy
from cart_core.store import CartStore, at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.upkeep.compaction import ABANDONED
from cart_core.store.writing import sealing
from tests.cart_core.store.builders import MUG, life, named


@pytest.fixture
def small(tmp_path: Path):
    """A store in which batches of more than five events become files at once."""
    with CartStore.open(tmp_path / "store", journal_rows=5) as store:
        yield store


def after_writing(store: CartStore, monkeypatch: pytest.MonkeyPatch, then: Callable[[Segment], object]) -> None:
    """Let something happen each time that a file of this store is written and not yet named."""
    write = store.folder.write_laid_out

    def written(table: pa.Table) -> Segment:
        segment = write(table)
        then(segment)
        return segment

    monkeypatch.setattr(store.folder, "write_laid_out", written)


def test_p10_a_sealer_that_was_overtaken_leaves_later_rows_to_the_other(
    small: CartStore, monkeypatch: pytest.MonkeyPatch
):
    """The running hash goes on from the last sealed row, so no row is sealed before an earlier one."""
    small.append_many(life("a"))
    with small.catalog.reading() as db:
        first = at_rest.from_journal(catalog.journal(db))
    overtaking = small.folder.write(first)
    small.append(named("a"), [MUG], "ann", 5)
    small.append_many(life("b") + life("c"))
    small.append(named("a"), [MUG], "ann", 6)

    def overtake(_: Segment) -> None:
        root = ledger.merkle_root(ledger.leaf_hashes(first))
        sealing._commit(small.catalog, small.folder, overtaking, root, first, 0)

    after_writing(small, monkeypatch, overtake)
    assert small.seal().rows == 0
    assert small.verify().problems == []
    monkeypatch.undo()
    assert small.seal().rows == 2
    small.append(named("a"), [MUG], "ann", 7)
    assert small.verify().problems == []


@pytest.mark.parametrize("action", ["import", "seal", "compact"])
def test_p9_a_file_that_a_sweep_took_before_it_was_named_is_never_named(
    small: CartStore, monkeypatch: pytest.MonkeyPatch, action: str
):
    """However slow its writer was: nothing is written, the error says so, and the next try succeeds."""
    small.append_many(life("a") + life("b"))
    small.append_many(life("c") + life("d"))
    small.append(named("a"), [MUG], "ann", 5)
    call = {
        "import": lambda: small.append_many(life("e") + life("f")),
        "seal": small.seal,
        "compact": small.compact,
    }[action]

    def sweep(segment: Segment) -> None:
        path = small.folder.folder / segment.file
        os.utime(path, (0, 0))
        with CartStore.open(small.path) as other:
            monkeypatch.setattr("cart_core.store.upkeep.compaction.groups", lambda _: [])
            other.compact(grace=timedelta(0))
            monkeypatch.undo()
        assert not path.exists()

    after_writing(small, monkeypatch, sweep)
    with pytest.raises(StoreBusy, match="nothing was written"):
        call()
    assert (small.position(), small.verify().problems) == (21, [])
    call()
    assert small.verify().problems == []


def test_p9_a_file_in_the_making_is_not_swept(small: CartStore, monkeypatch: pytest.MonkeyPatch):
    """Without a grace, replaced files go at once; but what was written lately is about to be named."""

    def sweep(_: Segment) -> None:
        with CartStore.open(small.path) as other:
            other.compact(grace=timedelta(0))

    after_writing(small, monkeypatch, sweep)
    small.append_many(life("a") + life("b"))
    assert (small.position(), small.verify().problems) == (10, [])


def test_p9_what_dead_writers_left_is_swept_with_its_index(small: CartStore):
    """Files and indexes that the catalog does not name, half-written ones too, after an hour."""
    small.append_many(life("a") + life("b"))
    leftovers = [
        small.path / "segments" / "000000000011-0badcafe.parquet",
        small.path / "segments" / "000000000011-0badcafe.parquet.tmp",
        small.path / "cache" / "index" / "000000000011-0badcafe.parquet.index",
        small.path / "cache" / "index" / "000000000011-0badcafe.parquet.index.12345678.tmp",
    ]
    for path in leftovers:
        path.write_bytes(b"PAR1")
    small.compact()
    assert all(path.exists() for path in leftovers)
    for path in leftovers:
        os.utime(path, (path.stat().st_mtime - ABANDONED.total_seconds() - 1,) * 2)
    small.compact()
    assert not any(path.exists() for path in leftovers)
    assert small.verify().problems == []
