"""Publishing: other engines read the Delta table, none of them with our code, and see what the store shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from cart_core.errors import StoreBusy
from cart_core.store import CartStore
from cart_core.store.results import Published
from cart_core.store.upkeep.delta_log import CHECKPOINT_EVERY, DeltaLog
from tests.cart_core.store import buckets
from tests.cart_core.store.builders import MUG, life, named
from tests.cart_core.store.conftest import SteppingClock

BOTH = ["local", pytest.param("s3", marks=pytest.mark.s3)]


@dataclass
class Shop:
    """A store, and how others get at its segments."""

    store: CartStore
    table: str
    options: dict[str, str] = field(default_factory=dict)

    def delta(self, version: int | None = None) -> DeltaTable:
        """The table as deltalake sees it."""
        return DeltaTable(self.table, version=version, storage_options=self.options)

    def rows(self, version: int | None = None) -> pl.DataFrame:
        """The table's rows as Polars reads them, by position."""
        frame = pl.read_delta(self.table, version=version, storage_options=self.options)
        return frame.drop("user_key").sort("position")


@pytest.fixture(params=BOTH)
def shop(request: pytest.FixtureRequest, tmp_path: Path, ticking: SteppingClock) -> Iterator[Shop]:
    """A store with a bulk segment, a sealed one and a row in the journal, on a disk and on an object store."""
    with buckets.credentials():
        segments, options = None, {}
        if request.param == "s3":
            bucket = buckets.new_bucket()
            segments = bucket.address()
            options = {"AWS_ENDPOINT_URL": bucket.endpoint, "AWS_ALLOW_HTTP": "true"}
        with CartStore.open(tmp_path / "store", segments=segments, clock=ticking, journal_rows=0) as bulk:
            bulk.append_many(life("bulk"))
            bulk.append_many(life("later bulk", "eve"))
        with CartStore.open(tmp_path / "store", clock=ticking) as store:
            store.append_many(life("sealed", "bob"))
            store.seal()
            store.append(named("journal"), [MUG], "joe", 0)
            yield Shop(store, store.folder.place, options)


def shown(store: CartStore, until: int) -> pl.DataFrame:
    """What the store shows, but for the users, by position."""
    return store.scan(until=until).collect().drop("user_id").sort("position")


def test_other_engines_see_what_the_store_shows(shop: Shop):
    """Polars lazily, Polars at once and deltalake itself: every row and column up to the last sealed position."""
    done = shop.store.publish()
    assert (done.version, done.files, done.rows, done.unsealed) == (0, 3, 15, 1)
    expected = shown(shop.store, until=15)
    assert shop.rows().equals(expected)
    lazy = pl.scan_delta(shop.table, storage_options=shop.options).drop("user_key").sort("position")
    assert lazy.collect().equals(expected)
    arrow = pl.from_arrow(shop.delta().to_pyarrow_table()).drop("user_key").sort("position")
    assert arrow.equals(expected)
    files = pl.DataFrame(shop.delta().get_add_actions(flatten=True))
    assert files["num_records"].to_list() == [5, 5, 5]


def test_duckdb_reads_the_files_that_the_table_lists(tmp_path: Path, ticking: SteppingClock):
    """Without its delta extension, which would have to be downloaded."""
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        store.append_many(life("a") + life("b", "bob"))
        store.seal()
        store.publish()
        files = DeltaTable(store.folder.place).file_uris()
        sql = "SELECT position, event_id::VARCHAR, recorded_at FROM read_parquet(?) ORDER BY position"
        with duckdb.connect() as db, store.duckdb() as ours:
            db.execute("SET TimeZone = 'UTC'")
            expected = ours.execute("SELECT position, event_id, recorded_at FROM events ORDER BY position").fetchall()
            assert db.execute(sql, [files]).fetchall() == expected


def test_nothing_is_copied(shop: Shop):
    """The table's files are the store's own; what only the catalog knew is written into new ones first, once."""
    done = shop.store.publish()
    with shop.store.catalog.reading() as db:
        live = shop.store.reader.segments(db)
    assert done.rewritten == 2
    assert sorted(uri.rpartition("/")[2] for uri in shop.delta().file_uris()) == sorted(each.file for each in live)
    assert shop.store.verify().problems == []
    assert shop.store.publish().rewritten == 0


def test_publishing_again_adds_what_is_new_and_nothing_when_nothing_is(shop: Shop):
    """A version for each change, and the versions before stay readable."""
    shop.store.publish()
    assert shop.store.publish() == Published(shop.table, 0, 3, 15, 0, 0, 0, 1)
    shop.store.seal()
    done = shop.store.publish()
    assert (done.version, done.added, done.removed, done.unsealed) == (1, 1, 0, 0)
    assert shop.rows().equals(shown(shop.store, until=16))
    assert shop.rows(version=0).equals(shown(shop.store, until=15))


def test_compaction_removes_files_in_a_new_version_that_changes_no_data(shop: Shop):
    """Who follows the table as a stream is not told the same events again."""
    shop.store.seal()
    shop.store.publish()
    shop.store.compact()
    done = shop.store.publish()
    assert (done.version, done.files, done.added, done.removed) == (1, 2, 1, 3)
    assert shop.rows().equals(shown(shop.store, until=16))
    table = DeltaLog(*shop.store.folder.files()).read()
    assert [each["dataChange"] for each in table.files.values()] == [True, False]
    assert [each["dataChange"] for each in table.removed.values()] == [False, False, False]


def test_new_events_are_data_even_below_the_last_position(tmp_path: Path, ticking: SteppingClock):
    """Rows that were in the journal when later positions were published already."""
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        store.append(named("journal"), [MUG], "joe", 0)
    with CartStore.open(tmp_path / "store", clock=ticking, journal_rows=0) as bulk:
        bulk.append_many(life("bulk"))
        bulk.publish()
        bulk.seal()
        done = bulk.publish()
        table = DeltaLog(*bulk.folder.files()).read()
    changes = {json.loads(each["stats"])["minValues"]["position"]: each["dataChange"] for each in table.files.values()}
    assert (done.added, changes[1]) == (1, True)


def test_a_file_stays_while_the_table_names_it(shop: Shop):
    """Compaction and sweep do not break the table; they clear up once a later version let the files go."""
    shop.store.seal()
    shop.store.publish()
    shop.store.compact(grace=timedelta(seconds=-9))
    assert shop.rows().height == 16
    shop.store.publish()
    assert shop.store.compact(grace=timedelta(hours=1)).swept == 0
    assert shop.rows(version=0).height == 16
    assert shop.store.compact(grace=timedelta(seconds=-9)).swept == 3
    assert shop.rows().height == 16


def test_no_engine_may_write_to_the_table(tmp_path: Path, ticking: SteppingClock):
    """A vacuum would remove files that are live and not yet published: it is refused before it begins."""
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        store.append_many(life("a"))
        store.seal()
        store.publish()
        store.append_many(life("b"))
        store.seal()
        table = DeltaTable(store.folder.place)
        with pytest.raises(CommitFailedError, match="cartWorkbench"):
            table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
        with pytest.raises(CommitFailedError, match="cartWorkbench"):
            table.delete()
        assert store.scan().collect().height == 10
        assert store.verify().ok


def test_a_long_log_is_read_from_a_checkpoint(tmp_path: Path, ticking: SteppingClock):
    """Commits before it are needed by nobody, neither by others nor by the store."""
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        done: Published | None = None
        for number in range(CHECKPOINT_EVERY + 2):
            store.append(named(f"cart {number}"), [MUG], "ann", 0)
            store.seal()
            done = store.publish()
        log = store.path / "segments" / "_delta_log"
        for path in sorted(log.glob("*.json"))[:CHECKPOINT_EVERY]:
            path.unlink()
        assert done is not None
        assert done.version == DeltaTable(store.folder.place).version() == CHECKPOINT_EVERY + 1
        assert pl.read_delta(store.folder.place).height == CHECKPOINT_EVERY + 2
        assert store.publish() == Published(store.folder.place, done.version, done.files, done.rows, 0, 0, 0, 0)
        assert list(log.glob(".*")) == []


def test_users_are_pseudonyms_in_the_table(shop: Shop):
    """Forgetting a user needs no new version: their id was never in it."""
    shop.store.publish()
    rows = pl.read_delta(shop.table, storage_options=shop.options)
    assert "user_id" not in rows.columns
    assert rows["user_key"].n_unique() == 3


def test_two_who_publish_at_once_do_not_write_the_same_version(tmp_path: Path, ticking: SteppingClock):
    """The second is told to try again, and the table is whole."""
    with CartStore.open(tmp_path / "store", clock=ticking) as store:
        store.append_many(life("a"))
        store.seal()
        log = DeltaLog(*store.folder.files())
        stale = log.read()
        store.publish()
        with pytest.raises(StoreBusy, match="somebody else publishes"):
            log.commit(stale, {"createdTime": 0}, [], [])
        assert DeltaTable(store.folder.place).to_pyarrow_table().num_rows == 5
