from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cart_core.store.views import STAGED, VIEWS, ViewStage

START = datetime(2026, 1, 1, tzinfo=UTC)


def views(*numbers):
    """Views by number, a minute apart."""
    rows = [
        {
            "view_id": f"v{n}",
            "product_id": "p",
            "user_id": "u1",
            "session": None,
            "at": START + timedelta(minutes=n),
            "counts": True,
        }
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, schema=STAGED)


def add(folder, *numbers):
    """Commit views; returns how many were new."""
    with ViewStage(folder / "views", folder / "cache") as stage:
        stage.add(views(*numbers))
        return stage.commit()


def test_the_same_view_never_stands_twice(tmp_path):
    """Only views that the folder does not hold are added, and counted."""
    assert [add(tmp_path, 1, 2), add(tmp_path, 3, 2), add(tmp_path, 1, 2, 3)] == [2, 1, 0]
    files = list((tmp_path / "views").glob("*.parquet"))
    kept = pa.concat_tables([pq.read_table(file) for file in files])
    assert (len(files), sorted(kept["view_id"].to_pylist())) == (2, ["v1", "v2", "v3"])
    assert (kept.schema.names, kept.schema.types) == (VIEWS.names, VIEWS.types)


def test_nothing_is_seen_or_left_of_views_that_are_not_committed(tmp_path):
    """An import that fails leaves no view and no temporary file."""
    with pytest.raises(KeyError), ViewStage(tmp_path / "views", tmp_path / "cache") as stage:
        stage.add(views(1))
        raise KeyError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_views_make_no_folder(tmp_path):
    """A shop without views has no empty folder of them."""
    assert add(tmp_path) == 0
    assert not (tmp_path / "views").exists()
