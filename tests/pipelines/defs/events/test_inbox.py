"""Files dropped into the inbox are imported once, and each ends where a person looks for it."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from cart_core.events import ItemAdded
from cart_core.store import CartStore
from pipelines.defs.events import inbox
from tests.builders import NOON, history

SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def store(tmp_path):
    """An empty store in a folder of its own."""
    with CartStore.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def box(store) -> Path:
    """The inbox of that store."""
    folder = store.path / "inbox"
    folder.mkdir()
    return folder


def drop(path: Path, content: str | bytes | None = None) -> Path:
    """Put a file that was last written at noon; by default one with the events of a cart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(each.to_json()) + "\n" for each in history(SHIRT)) if content is None else content
    path.write_bytes(lines.encode() if isinstance(lines, str) else lines)
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    return path


def take_all(store, box):
    """What becomes of everything that lies there an hour later."""
    return [inbox.take(store, box, each, LATER) for each in inbox.arrivals(box, LATER)]


def test_a_dropped_file_is_imported_and_filed(store, box):
    """Its events are in the store, and the file is under done."""
    drop(box / "today.jsonl")
    (taken,) = take_all(store, box)
    assert taken.counts["events"] == 1
    assert store.position() == 1
    assert taken.moved_to == box / "done" / "jsonl" / "today.jsonl"
    assert inbox.arrivals(box, LATER) == []


def test_dropping_it_again_adds_nothing(store, box):
    """The same file a second time is known, and both copies are kept apart."""
    drop(box / "today.jsonl")
    take_all(store, box)
    drop(box / "today.jsonl")
    (taken,) = take_all(store, box)
    assert (taken.counts["events"], taken.counts["already_known"]) == (0, 1)
    assert taken.moved_to.name == "today-2.jsonl"


def test_a_crash_before_the_move_does_no_harm(store, box):
    """A file that was imported but not moved is taken again without a double."""
    path = drop(box / "jsonl" / "a.jsonl")
    inbox.import_files(store, "jsonl", [path], now=LATER)
    (taken,) = take_all(store, box)
    assert taken.problem is None
    assert store.position() == 1


def test_a_bad_file_is_put_aside_with_its_reason(store, box):
    """What is no Parquet goes to failed, with the reason in a file beside it; the good ones are imported."""
    drop(box / "bad.parquet", b"no parquet at all")
    drop(box / "good.jsonl")
    bad, good = take_all(store, box)
    assert "bad.parquet" in str(bad.problem)
    assert bad.moved_to == box / "failed" / "parquet" / "bad.parquet"
    assert (box / "failed" / "parquet" / "bad.parquet.reason.txt").read_text().strip() == bad.problem
    assert good.counts["events"] == 1


def test_a_file_that_nobody_knows_is_put_aside(store, box):
    """The reason says where such a file should be put."""
    drop(box / "notes.txt", "hello")
    (taken,) = take_all(store, box)
    assert "put it into a folder of the inbox that is named after its source" in str(taken.problem)
    assert taken.moved_to == box / "failed" / "unknown" / "notes.txt"


def test_a_handed_in_table_replaces_the_old_one(store, box):
    """Contacts dropped into the inbox are what jobs read from then on."""
    contacts = pl.DataFrame({"user_id": ["u1"], "email": ["u1@shop.test"], "consent": [True], "time_zone": ["UTC"]})
    contacts.write_parquet(drop(box / "contacts.parquet", b""))
    os.utime(box / "contacts.parquet", (0, 0))
    (taken,) = take_all(store, box)
    assert (taken.counts["rows"], taken.counts["standing"]) == (1, 1)
    assert pl.read_parquet(store.path / "inputs" / "contacts.parquet").to_dicts() == contacts.to_dicts()


def test_views_are_added_once(store, box):
    """Views handed in twice are there once, beside those that were there."""
    row = {"product_id": "p1", "user_id": "u1", "session": None, "at": NOON}
    views = pl.DataFrame(
        [{"view_id": "v1", **row}, {"view_id": "v2", **row}], schema_overrides={"at": pl.Datetime("us", "UTC")}
    )
    for _ in range(2):
        views.write_parquet(drop(box / "views.parquet", b""))
        os.utime(box / "views.parquet", (0, 0))
        (taken,) = take_all(store, box)
        assert taken.problem is None
    stored = pl.read_parquet(store.path / "views" / "*.parquet")
    assert sorted(stored["view_id"]) == ["v1", "v2"]


def test_a_table_that_breaks_its_contract_is_put_aside(store, box):
    """Contacts without a column that they need are refused by the column's name, and what was there stays."""
    pl.DataFrame({"email": ["u1@shop.example"]}).write_parquet(drop(box / "contacts.parquet", b""))
    os.utime(box / "contacts.parquet", (0, 0))
    (taken,) = take_all(store, box)
    assert "columns missing ['user_id']" in str(taken.problem)
    assert not (store.path / "inputs" / "contacts.parquet").exists()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.jsonl", "jsonl"),
        ("A.NDJSON", "jsonl"),
        ("events.parquet", "parquet"),
        ("rees46-2019-Oct.csv", "rees46"),
        ("retailrocket.parquet", "retailrocket"),
        ("exposures.parquet", "exposures"),
        ("ga4/2026-01-31.json", "ga4"),
        ("stock/today.parquet", "stock"),
        ("readme.txt", None),
    ],
)
def test_what_a_file_is(box, name: str, source: str | None):
    """The folder decides, else the name, else the ending."""
    assert inbox.source_of(box / name, box) == source


@pytest.mark.parametrize("name", [".hidden.jsonl", "half.jsonl.part", "half.tmp"])
def test_files_on_their_way_are_left_alone(box, name: str):
    """Hidden files and those with an ending of unfinished ones are not taken."""
    drop(box / name)
    assert inbox.arrivals(box, LATER) == []


def test_a_file_that_still_grows_is_left_alone(box):
    """A file is taken only once nobody has written to it for some seconds."""
    drop(box / "a.jsonl")
    assert inbox.arrivals(box, NOON + timedelta(seconds=9)) == []
    assert len(inbox.arrivals(box, NOON + timedelta(seconds=10))) == 1


def test_filed_files_are_no_arrivals(box):
    """What lies under done and failed is not taken again."""
    drop(box / "done" / "jsonl" / "a.jsonl")
    drop(box / "failed" / "jsonl" / "b.jsonl")
    assert inbox.arrivals(box, LATER) == []


def test_a_store_without_an_inbox_has_no_arrivals(tmp_path):
    """No folder is no error."""
    assert inbox.arrivals(tmp_path / "none", LATER) == []


def test_the_digest_tells_files_apart(box):
    """The key of a set of files changes with their content's size and time, and with nothing else."""
    drop(box / "a.jsonl")
    first = inbox.digest(inbox.arrivals(box, LATER))
    assert inbox.digest(inbox.arrivals(box, LATER + timedelta(days=1))) == first
    drop(box / "a.jsonl", "{}\n")
    assert inbox.digest(inbox.arrivals(box, LATER)) != first
