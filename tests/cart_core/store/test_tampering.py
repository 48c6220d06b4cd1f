"""P10: whatever is changed, dropped, swapped or added behind the store's back, ``verify`` finds, and names the place.

They have write access to every file; triggers and permissions do not stop them.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cart_core.events import CheckoutCompleted, ItemAdded, PriceUpdated
from cart_core.store import CartStore
from cart_core.store.at_rest import AT_REST
from cart_core.store.index import FIELDS
from cart_core.store.segments import write_parquet
from tests.cart_core.store.builders import MUG, POT, START, envelope, life, named
from tests.cart_core.store.conftest import SteppingClock

LATER = START + timedelta(days=1)
RICH = (
    ItemAdded("pan", "Pan", 1, 5900, "USD", "https://shop.example/pan.png"),
    PriceUpdated("pan", 5900, 4900, "sale"),
    CheckoutCompleted("order 1", 4900),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two batches from the journal, one that came as a file of its own, and a journal of six events."""
    folder = tmp_path_factory.mktemp("original") / "store"
    with CartStore.open(folder, clock=SteppingClock(), journal_rows=8) as store:
        store.append_many(life("a", "ann"))
        store.seal()
        store.append_many([envelope("b", place, event, user="bob") for place, event in enumerate(RICH, 1)])
        store.append(named("b"), [MUG], "bob", 3, metadata={"session": "s"}, timestamp=START)
        store.seal()
        store.append_many(life("c", "eve") + life("d", "eve"))
        store.append(named("a"), [POT], "ann", 5, metadata={"session": "t"}, timestamp=START)
        store.append_many(life("e", "ann"))
        assert store.verify().problems == []
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return shutil.copytree(original, tmp_path / "store")


def problems(folder: Path) -> list[str]:
    """What ``verify`` finds."""
    with CartStore.open(folder) as store:
        return store.verify().problems


def alter(folder: Path, *statements: str) -> None:
    """Run statements on the catalog as its owner can: triggers dropped."""
    db = sqlite3.connect(folder / "catalog.sqlite")
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        assert db.execute(statement).rowcount != 0
    db.commit()
    db.close()


def files(folder: Path) -> list[Path]:
    """The segment files by position, writable."""
    found = sorted((folder / "segments").iterdir())
    for each in found:
        each.chmod(0o644)
    return found


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


PAGES = [(name, page) for name in AT_REST.names for page in ("page header", "page body")]


@pytest.mark.parametrize(("column", "part"), PAGES)
def test_p10_a_bit_turned_in_a_column_of_a_segment_is_found_with_its_row_group(folder: Path, column: str, part: str):
    """The file and the row group are named, whichever column and whichever part of a page it is."""
    path = files(folder)[1]
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunks = [group.column(place) for place in range(group.num_columns)]
    chunk = next(each for each in chunks if each.path_in_schema.split(".")[0] == column)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    flip(path, start + (1 if part == "page header" else chunk.total_compressed_size - 1))
    found = problems(folder)
    assert any(path.name in each and "row group 0 (rows 0 to 3 of the file) is damaged" in each for each in found), (
        found
    )


@pytest.mark.parametrize("place", ["first magic", "footer", "footer length", "last magic"])
def test_p10_a_bit_turned_in_the_frame_of_a_segment_is_found(folder: Path, place: str):
    """Around the pages, too."""
    path = files(folder)[1]
    size = path.stat().st_size
    flip(path, {"first magic": 0, "footer": size - 40, "footer length": size - 8, "last magic": size - 1}[place])
    assert any(path.name in each and "its bytes are not those" in each for each in problems(folder))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_p10_any_bit_turned_in_any_segment_is_found(folder: Path, data: st.DataObject):
    """Wherever it is."""
    path = data.draw(st.sampled_from(files(folder)))
    offset, bit = data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7))
    flip(path, offset, bit)
    try:
        assert any(path.name in each for each in problems(folder))
    finally:
        flip(path, offset, bit)


def _swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


FILE_TRICKS: dict[str, Callable[[list[Path]], object]] = {
    "removed": lambda found: found[1].unlink(),
    "swapped with another": lambda found: _swap(found[1], found[2]),
    "replaced by an older one": lambda found: shutil.copy(found[0], found[1]),
    "cut short": lambda found: found[1].write_bytes(found[1].read_bytes()[:-9]),
    "lengthened": lambda found: found[1].write_bytes(found[1].read_bytes() + b"PAR1"),
    "emptied": lambda found: found[1].write_bytes(b""),
    "replaced by another format": lambda found: found[1].write_text("position,event_id\n1,2\n"),
    "replaced by another table": lambda found: pq.write_table(pa.table({"position": [6, 7, 8, 9]}), found[1]),
}


@pytest.mark.parametrize("trick", FILE_TRICKS)
def test_p10_a_segment_file_that_is_another_is_found(folder: Path, trick: str):
    """The file is named, whatever became of it."""
    found = files(folder)
    FILE_TRICKS[trick](found)
    assert any(found[1].name in each for each in problems(folder))


def forge(folder: Path, change: Callable[[pa.Table], pa.Table], which: int = 1) -> str:
    """Rewrite a segment with other events, and the catalog so that the file is as it says; the file's name."""
    path = files(folder)[which]
    table = change(pq.read_table(path, schema=AT_REST))
    write_parquet(table, path)
    with CartStore.open(folder) as store:
        digest = store.folder.digest(path.name)
    alter(
        folder,
        f"UPDATE segments SET sha256 = '{digest}', size_bytes = {path.stat().st_size}, rows = {len(table)} "
        f"WHERE file = '{path.name}'",
    )
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return path.name


OTHER: dict[str, object] = {
    "event_id": b"\7" * 16,
    "cart_id": b"\7" * 16,
    "version": 9,
    "user_key": 1,
    "timestamp": LATER,
    "recorded_at": LATER,
    "type": "ItemRemoved",
    "product_id": "cup",
    "product_name": "Cup",
    "quantity": 99,
    "old_quantity": 7,
    "price_cents": 1,
    "old_price_cents": 2,
    "currency": "EUR",
    "image_url": "https://shop.example/cup.png",
    "coupon_code": "HALF",
    "discount_type": "fixed",
    "discount_value": 5.0,
    "reason": "mistake",
    "last_activity_at": LATER,
    "order_id": "order 2",
    "total_cents": 1,
    "metadata": [("session", "other")],
}


def with_cell(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    """A table with another value in one cell."""
    values = table[column].to_pylist()
    if column.endswith("_id") and isinstance(value, bytes):
        values = [each.bytes for each in values]
    values[row] = value
    kind = AT_REST.field(column).type
    array = (
        pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
        if isinstance(kind, pa.UuidType)
        else pa.array(values, kind)
    )
    return table.set_column(AT_REST.names.index(column), AT_REST.field(column), array)


@pytest.mark.parametrize("column", OTHER)
def test_p10_a_value_forged_in_a_segment_and_its_digest_is_found_with_its_batch(folder: Path, column: str):
    """A file that agrees with the catalog still has not the root that was sealed."""
    name = forge(folder, lambda table: with_cell(table, column, 0, OTHER[column]))
    found = [each for each in problems(folder) if name in each]
    assert any("batch 2 (positions 6 to 9)" in each for each in found), found


FORGERIES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "an event dropped": lambda table: table.slice(1),
    "an event added": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
    "two events swapped": lambda table: table.set_column(
        0, "position", pa.array(table["position"].to_numpy()[[1, 0, *range(2, len(table))]])
    ),
    "other positions": lambda table: table.set_column(0, "position", pc.add(table["position"], 1)),
    "another order in the file": lambda table: table.take([*range(len(table))][::-1]),
    "other buckets": lambda table: table.set_column(
        len(AT_REST) - 1, "bucket", pa.array(table["bucket"].to_numpy() ^ np.uint8(1))
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_p10_events_dropped_added_or_moved_in_a_segment_are_found(folder: Path, forgery: str):
    """The file is named although it agrees with the catalog."""
    name = forge(folder, FORGERIES[forgery])
    assert any(name in each for each in problems(folder))


def test_p10_a_whole_file_added_with_its_row_in_the_catalog_is_found(folder: Path):
    """Events that no batch of the chain vouches for are named by their positions."""
    with CartStore.open(folder, journal_rows=0) as store:
        last = store.position()
        store.append_many(life("forged", "bob"))
    alter(folder, "DELETE FROM batches WHERE batch = 4")
    assert any(f"positions {last + 1} to {last + 5} are not those of one batch" in each for each in problems(folder))


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


@pytest.mark.parametrize("field", [name for name, _ in FIELDS])
def test_p10_an_index_that_leads_astray_is_found(folder: Path, field: str):
    """The file's name and the index to remove are named."""
    path = next((folder / "cache" / "index").glob(f"{files(folder)[2].name}*"))
    sizes = {"cart_key": 8, "cart_id": 16, "cart_start": 4, "cart_rows": 4, "cart_head": 4, "event_key": 8}
    offset = 24
    for name in [name for name, _ in FIELDS][: [name for name, _ in FIELDS].index(field)]:
        length = sizes[name] * (2 if name.startswith("cart") else 10)
        offset += length + -length % 8
    flip(path, offset)
    assert any(path.name in each for each in problems(folder))


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


def test_p10_what_is_added_beside_the_store_is_no_part_of_it(folder: Path):
    """A file that the catalog does not name is read by nobody."""
    shutil.copy(files(folder)[0], folder / "segments" / "000000000026-00000000.parquet")
    with CartStore.open(folder) as store:
        assert (store.verify().problems, store.position(), store.scan().collect().height) == ([], 25, 25)
