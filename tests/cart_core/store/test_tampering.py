"""P10: what is changed, dropped, swapped or added in the files behind the store's back, ``verify`` finds and names.

They have write access to every file; triggers and permissions do not stop them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cart_core.store import CartStore
from cart_core.store.at_rest import AT_REST
from cart_core.store.segments import index_files
from cart_core.store.segments.folder import write_parquet
from tests.cart_core.store.builders import life
from tests.cart_core.store.tampering import OTHER, alter, files, flip, make, problems


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to tamper with copies of."""
    return make(tmp_path_factory.mktemp("original") / "store")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(original, tmp_path / "store")


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


@pytest.mark.parametrize("field", [*index_files.INDEX, *index_files.FOOTER])
def test_p10_an_index_that_leads_astray_is_found(folder: Path, field: str):
    """The file's name and the index to remove are named."""
    path = next((folder / "cache" / "index").glob(f"{files(folder)[2].name}*"))
    head = np.frombuffer(path.read_bytes(), index_files.HEADER, 1)[0]
    kept = index_files.read(index_files.opened(path), head["events"], head["of_bytes"])
    starts = {name: start for name, (start, _) in kept.starts.items()}
    starts |= {name: starts["cart"] + place for name, (_, place, *_) in dict(index_files.CART.fields).items()}
    flip(path, starts[field])
    assert any(path.name in each for each in problems(folder))


def test_p10_what_is_added_beside_the_store_is_no_part_of_it(folder: Path):
    """A file that the catalog does not name is read by nobody."""
    shutil.copy(files(folder)[0], folder / "segments" / "000000000026-00000000.parquet")
    with CartStore.open(folder) as store:
        assert (store.verify().problems, store.position(), store.scan().collect().height) == ([], 25, 25)
