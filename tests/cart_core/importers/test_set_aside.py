from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from cart_core.errors import InvalidEvent, Problem
from cart_core.events import Envelope
from cart_core.importers import set_aside
from cart_core.importers.set_aside import SetAside, SetAsideFiles

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def records(path):
    """The rows that a file holds."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def keep(folder, *rows, single=None):
    """Set rows aside and close the files."""
    files = SetAsideFiles(folder, single, NOW)
    files.add(rows)
    files.close()
    return files.paths


def row(number=1, reason="bad_price", raw=b"raw", file="shop/oct.csv"):
    """One row that was not taken."""
    return SetAside(file, number, reason, [Problem("price", "-1", "an amount above 0")], raw)


def test_a_row_is_kept_with_everything_needed_to_mend_it(tmp_path):
    """File, row, reason, problems and text stand in the file that bears the source's name."""
    (path,) = keep(tmp_path, row(7))
    assert path == tmp_path / "oct.csv.jsonl"
    (record,) = records(path)
    del record["id"]
    assert record == {
        "file": "oct.csv",
        "row": 7,
        "reason": "bad_price",
        "problems": [{"field": "price", "value": "-1", "rule": "an amount above 0"}],
        "raw": "raw",
        "set_aside_at": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("source", ["shop/oct.jsonl", "oct"])
def test_the_ending_is_not_doubled(tmp_path, source: str):
    """Rows of a JSON Lines file are set aside under its very name."""
    assert keep(tmp_path, row(file=source)) == [tmp_path / "oct.jsonl"]


def test_a_row_stands_once_however_often_it_is_set_aside(tmp_path):
    """Importing a file again piles up no doubles."""
    keep(tmp_path, row(1), row(2))
    (path,) = keep(tmp_path, row(2), row(3), row(3, reason="bad_time"))
    assert [(each["row"], each["reason"]) for each in records(path)] == [
        (1, "bad_price"),
        (2, "bad_price"),
        (3, "bad_price"),
        (3, "bad_time"),
    ]


def test_a_torn_last_line_is_replaced_by_the_whole_one(tmp_path):
    """What a crash tears is cut off, and importing again brings the row back whole."""
    (path,) = keep(tmp_path, row(1), row(2))
    path.write_bytes(path.read_bytes()[:-9])
    keep(tmp_path, row(1), row(2))
    assert [each["row"] for each in records(path)] == [1, 2]


def test_one_file_can_be_named_for_all_rows(tmp_path):
    """With a file given, rows of every source go there."""
    single = tmp_path / "deep" / "aside.jsonl"
    assert keep(tmp_path, row(1), row(1, file="nov.csv"), single=single) == [single]
    assert [each["file"] for each in records(single)] == ["oct.csv", "nov.csv"]


def test_bytes_that_are_no_text_are_shown_escaped_and_long_ones_cut(tmp_path):
    """A file of set-aside rows is always readable text of bounded size."""
    (path,) = keep(tmp_path, row(1, raw=b"a\xffb"), row(2, raw=b"x" * 100_000))
    first, second = records(path)
    assert first["raw"] == "a\\xffb"
    assert second["raw"] == "x" * 2000 + "..."


def test_reasons_follow_from_the_first_problem():
    """Each kind of broken rule has the reason that names it."""
    sound = {
        "eventId": "00000000-0000-4000-8000-000000000001",
        "cartId": "00000000-0000-4000-8000-000000000002",
        "userId": "u",
        "timestamp": "2026-01-01T00:00:00Z",
        "version": 1,
        "event": {"type": "ItemRemoved", "productId": "p"},
    }
    broken = {
        "bad_id": {"cartId": "x"},
        "bad_user": {"userId": 3},
        "bad_time": {"timestamp": "2026-01-01 00:00:00"},
        "bad_version": {"version": 0},
        "bad_metadata": {"metadata": {"a": 1}},
        "unknown_field": {"shop": "x"},
        "unknown_type": {"event": {"type": "ItemBought"}},
        "missing_field": {"event": {"type": "ItemRemoved"}},
        "bad_value": {"event": {"type": "ItemRemoved", "productId": ""}},
    }
    assert {reason: reason_of(sound | change) for reason, change in broken.items()} == {
        reason: reason for reason in broken
    }
    assert set(broken) <= set(set_aside.REASONS)


def reason_of(document):
    """The reason for which an envelope is refused."""
    try:
        Envelope.from_json(document)
    except InvalidEvent as error:
        return set_aside.reason_of(error.problems)
    return None
