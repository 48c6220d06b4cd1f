"""P10: whatever is changed, dropped, swapped or added in the catalog behind the store's back, ``verify`` finds.

Triggers do not stop who may drop them; what is put back as a whole is found by an anchor.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from cart_core.store import CartStore
from tests.cart_core.store.builders import named
from tests.cart_core.store.conftest import SteppingClock
from tests.cart_core.store.tampering import OTHER, alter, files, make, problems


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to tamper with copies of."""
    return make(tmp_path_factory.mktemp("original") / "store")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(original, tmp_path / "store")


JOURNAL_VALUES = {
    "event_id": "x'07070707070707070707070707070707'",
    "cart_id": "x'07070707070707070707070707070707'",
    "metadata": '\'{"session":"other"}\'',
    **{
        name: f"'{value}'" if isinstance(value, str) else str(value)
        for name, value in OTHER.items()
        if isinstance(value, str | int | float)
    },
    "timestamp": "0",
    "recorded_at": "0",
    "last_activity_at": "0",
    "user_key": "99",
    "running_hash": "zeroblob(32)",
}


@pytest.mark.parametrize("column", JOURNAL_VALUES)
def test_p10_a_value_changed_in_the_journal_is_found_with_its_position(folder: Path, column: str):
    """The journal's row is named by its position."""
    alter(folder, f"UPDATE journal SET {column} = {JOURNAL_VALUES[column]} WHERE position = 21")
    found = problems(folder)
    assert any("journal, position 21" in each for each in found), found


@pytest.mark.parametrize(
    ("column", "value"), [("cart_id", "x'07'"), ("version", "'two'"), ("metadata", "'{'"), ("quantity", "'many'")]
)
def test_p10_a_journal_row_that_is_no_event_at_all_is_found(folder: Path, column: str, value: str):
    """Nonsense does not keep ``verify`` from naming its place."""
    alter(folder, f"UPDATE journal SET {column} = {value} WHERE position = 21")
    found = problems(folder)
    assert any("journal, position 21" in each for each in found), found


JOURNAL_TRICKS = {
    "first row dropped": ["DELETE FROM journal WHERE position = 20"],
    "a row dropped": ["DELETE FROM journal WHERE position = 22"],
    "last row dropped": ["DELETE FROM journal WHERE position = 25"],
    "last row dropped, and the position with it": [
        "DELETE FROM journal WHERE position = 25",
        "UPDATE state SET position = 24",
    ],
    "two rows swapped": [
        "UPDATE journal SET position = -1 WHERE position = 21",
        "UPDATE journal SET position = 21 WHERE position = 22",
        "UPDATE journal SET position = 22 WHERE position = -1",
    ],
    "a row moved": ["UPDATE journal SET position = 26 WHERE position = 21"],
    "a row added": [
        "CREATE TEMP TABLE forged AS SELECT * FROM journal WHERE position = 25",
        "UPDATE forged SET position = 26, event_id = x'07', version = version + 1",
        "INSERT INTO journal SELECT * FROM forged",
        "UPDATE state SET position = 26",
    ],
    "all rows dropped": ["DELETE FROM journal", "UPDATE state SET position = 19"],
}


@pytest.mark.parametrize("trick", JOURNAL_TRICKS)
def test_p10_events_dropped_swapped_or_added_in_the_journal_are_found(folder: Path, trick: str):
    """The journal or the positions that are missing are named."""
    alter(folder, *JOURNAL_TRICKS[trick])
    found = problems(folder)
    assert any("journal" in each or "positions" in each for each in found), found


BATCH_VALUES = {
    "batch": "9",
    "first_position": "first_position - 1",
    "last_position": "last_position - 1",
    "rows": "rows - 1",
    "root": "zeroblob(32)",
    "recorded": "zeroblob(32)",
    "sealed_at": "sealed_at + 1",
    "previous": "zeroblob(32)",
    "entry": "zeroblob(32)",
    "journal_anchor": "zeroblob(32)",
}


@pytest.mark.parametrize("column", BATCH_VALUES)
def test_p10_a_value_changed_in_the_chain_is_found(folder: Path, column: str):
    """The batch, or the journal that goes on from it, is named."""
    alter(folder, f"UPDATE batches SET {column} = {BATCH_VALUES[column]} WHERE batch = 2")
    found = problems(folder)
    wanted = "journal, position 20" if column == "journal_anchor" else "batch 2"
    assert any(wanted in each for each in found), found


BATCH_TRICKS = {
    "first link dropped": ["DELETE FROM batches WHERE batch = 1"],
    "a link dropped": ["DELETE FROM batches WHERE batch = 2"],
    "last link dropped": ["DELETE FROM batches WHERE batch = 3"],
    "two links swapped": [
        "UPDATE batches SET batch = 9 WHERE batch = 1",
        "UPDATE batches SET batch = 1 WHERE batch = 2",
        "UPDATE batches SET batch = 2 WHERE batch = 9",
    ],
    "a link added": [
        "CREATE TEMP TABLE forged AS SELECT * FROM batches WHERE batch = 3",
        "UPDATE forged SET batch = 4, first_position = 20, last_position = 24, rows = 5, previous = entry",
        "INSERT INTO batches SELECT * FROM forged",
    ],
}


@pytest.mark.parametrize("trick", BATCH_TRICKS)
def test_p10_links_dropped_swapped_or_added_are_found(folder: Path, trick: str):
    """The chain's own order gives it away, or the positions that are then in no batch."""
    alter(folder, *BATCH_TRICKS[trick])
    assert any("batch" in each for each in problems(folder))


SEGMENT_VALUES = {
    "file": "'other.parquet'",
    "first_position": "first_position + 1",
    "last_position": "last_position - 1",
    "rows": "rows - 1",
    "size_bytes": "size_bytes - 1",
    "sha256": "'00'",
    "min_timestamp": "min_timestamp + 1",
    "max_timestamp": "max_timestamp - 1",
    "position_shift": "1",
    "recorded_at": "1",
    "retired_at": "1",
}


@pytest.mark.parametrize("column", SEGMENT_VALUES)
def test_p10_a_value_changed_in_the_list_of_segments_is_found(folder: Path, column: str):
    """The file, or the positions that it held, are named."""
    alter(folder, f"UPDATE segments SET {column} = {SEGMENT_VALUES[column]} WHERE first_position = 6")
    name = "other.parquet" if column == "file" else files(folder)[1].name
    wanted = "positions 6 to 9 are missing" if column == "retired_at" else name
    found = problems(folder)
    assert any(wanted in each for each in found), found


@pytest.mark.parametrize("column", ["position", "recorded_at", "running_hash"])
def test_p10_a_value_changed_in_the_state_is_found(folder: Path, column: str):
    """What the next append goes on from is held to the last event."""
    value = "zeroblob(32)" if column == "running_hash" else f"{column} + 1"
    alter(folder, f"UPDATE state SET {column} = {value}")
    assert problems(folder)


def test_p10_a_damaged_file_does_not_hide_what_else_is_wrong(folder: Path):
    """Two faults are two findings."""
    files(folder)[0].write_bytes(b"")
    alter(folder, "UPDATE journal SET quantity = 99 WHERE position = 21")
    found = problems(folder)
    assert any(files(folder)[0].name in each for each in found)
    assert any("journal, position 21" in each for each in found)


def test_p10_a_cart_whose_version_is_missing_is_named(folder: Path):
    """A cart, and the version that it lacks."""
    alter(folder, "UPDATE journal SET version = 9 WHERE position = 25")
    assert f"cart {named('e')}: version 5 is missing (position 25 has version 9)" in problems(folder)


def test_p10_a_store_put_back_to_an_earlier_copy_is_found_by_an_anchor_alone(folder: Path, tmp_path: Path):
    """An old copy is sound in itself; what was anchored meanwhile tells that it is old."""
    earlier = shutil.copytree(folder, tmp_path / "earlier")
    with CartStore.open(folder, clock=SteppingClock()) as store:
        store.seal()
        store.anchor(tmp_path / "anchors")
    shutil.rmtree(folder)
    shutil.copytree(earlier, folder)
    with CartStore.open(folder) as store:
        assert store.verify().problems == []
        assert any("anchor" in each for each in store.verify(tmp_path / "anchors").problems)


def test_p10_a_catalog_put_back_alone_is_found_by_an_anchor_alone(folder: Path, tmp_path: Path):
    """The files that came later are then without a name, which nobody but the anchor can tell from leftovers."""
    shutil.copy(folder / "catalog.sqlite", tmp_path / "catalog")
    with CartStore.open(folder, clock=SteppingClock()) as store:
        store.seal()
        store.compact(grace=timedelta(hours=1))
        store.anchor(tmp_path / "anchors")
    for path in folder.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "catalog", folder / "catalog.sqlite")
    with CartStore.open(folder) as store:
        assert store.verify().problems == []
        assert any("anchor" in each for each in store.verify(tmp_path / "anchors").problems)
