from __future__ import annotations

import pyarrow as pa
import pytest

from cart_core.importers import spill
from cart_core.importers.spill import Spill


def tables():
    """Rows of seven keys, numbered."""
    return [
        pa.table({"key": [f"k{(start + at) % 7}" for at in range(40)], "n": range(start, start + 40)})
        for start in (0, 40, 80)
    ]


def parts(spill_):
    """The numbers of each part, by key."""
    found = []
    for part in spill_.parts():
        rows = {}
        for key, number in zip(part["key"].to_pylist(), part["n"].to_pylist(), strict=True):
            rows.setdefault(key, []).append(number)
        found.append(rows)
    return found


@pytest.mark.parametrize("memory_bytes", [0, 1500, 2**30])
def test_rows_of_one_key_come_back_together_and_in_order(tmp_path, monkeypatch, memory_bytes):
    """Whether rows went to disk or not, each key is in one part, with its rows in the order they came in."""
    monkeypatch.setattr(spill, "MEMORY_BYTES", memory_bytes)
    with Spill(tmp_path, "key") as rows:
        for table in tables():
            rows.add(table)
        found = parts(rows)
    whole = {key: numbers for part in found for key, numbers in part.items()}
    assert sum(len(part) for part in found) == 7
    assert whole == {f"k{key}": [n for n in range(120) if n % 7 == key] for key in range(7)}


def test_nothing_stays_on_disk(tmp_path, monkeypatch):
    """The temporary folder is gone afterwards, also after an error."""
    monkeypatch.setattr(spill, "MEMORY_BYTES", 0)
    with pytest.raises(KeyError), Spill(tmp_path, "key") as rows:
        rows.add(tables()[0])
        assert list(tmp_path.iterdir())
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_what_a_dead_process_left_is_removed(tmp_path, monkeypatch):
    """The next import sweeps after a crash."""
    monkeypatch.setattr(spill, "MEMORY_BYTES", 0)
    left = tmp_path / "import-999999999-abc"
    left.mkdir()
    with Spill(tmp_path, "key") as rows:
        rows.add(tables()[0])
        assert not left.exists()


def test_an_empty_spill_has_no_parts(tmp_path):
    """No rows, no parts, no folder."""
    with Spill(tmp_path / "cache", "key") as rows:
        assert list(rows.parts()) == []
    assert not (tmp_path / "cache").exists()
