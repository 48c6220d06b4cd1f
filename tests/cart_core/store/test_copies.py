"""Copies of segment files: bounded in size, and never taken from under a reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cart_core.store.segments.copies import Copies
from tests.conftest import REPOSITORY

SIZE = 100


def take_in(copies: Copies, name: str, age_s: int = 0) -> None:
    """Put a copy of SIZE bytes into the folder, last asked for so many seconds ago."""
    temporary = copies.folder / f"{name}.tmp"
    temporary.write_bytes(b"x" * SIZE)
    copies.take_in(temporary, name)
    asked = 1_700_000_000 - age_s
    os.utime(copies.path(name), (asked, asked))


def kept(copies: Copies) -> list[str]:
    """The names of the copies there are."""
    return sorted(path.name for path in copies.folder.glob("*.parquet"))


def nothing() -> None:
    """What brings a copy that is there already."""
    pytest.fail("the copy was there")


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    """Room for two copies and a half."""
    return Copies(tmp_path / "copies", 250)


def test_what_was_asked_for_longest_ago_goes_first(copies: Copies):
    """Asking for a copy keeps it."""
    take_in(copies, "a.parquet", age_s=30)
    take_in(copies, "b.parquet", age_s=20)
    assert copies.has("a.parquet")
    take_in(copies, "c.parquet")
    assert kept(copies) == ["a.parquet", "c.parquet"]


def test_a_copy_that_was_handed_out_stays_until_close(copies: Copies):
    """However small the room is, and whoever makes it."""
    other = Copies(copies.folder, 0)
    take_in(copies, "a.parquet", age_s=30)
    assert copies.hold("a.parquet", nothing) == copies.folder / "a.parquet"
    take_in(other, "b.parquet", age_s=20)
    take_in(other, "c.parquet")
    assert kept(copies) == ["a.parquet", "c.parquet"]
    copies.close()
    take_in(other, "d.parquet")
    assert kept(copies) == ["d.parquet"]


def test_what_is_missing_is_fetched_and_held(copies: Copies):
    """The path that comes back has a file behind it."""
    assert copies.hold("a.parquet", lambda: take_in(copies, "a.parquet", age_s=9)).read_bytes() == b"x" * SIZE
    take_in(Copies(copies.folder, 0), "b.parquet")
    assert kept(copies) == ["a.parquet", "b.parquet"]


def test_a_dead_process_holds_nothing(copies: Copies):
    """Its list is locked by the system for as long as it lives, and no longer."""
    take_in(copies, "a.parquet", age_s=30)
    held = f"mine = Copies(Path({str(copies.folder)!r}), 0); mine.hold('a.parquet', None); os._exit(9)"
    names = "import os; from pathlib import Path; from cart_core.store.segments.copies import Copies"
    assert subprocess.run([sys.executable, "-c", f"{names}; {held}"], cwd=REPOSITORY, check=False).returncode == 9
    assert len(list((copies.folder / ".held").iterdir())) == 1
    take_in(Copies(copies.folder, 0), "b.parquet")
    assert kept(copies) == ["b.parquet"]
    assert list((copies.folder / ".held").iterdir()) == []


def test_a_child_that_ends_does_not_let_its_parents_copies_go(copies: Copies):
    """A forked process has the parent's lists in memory; they stay the parent's."""
    take_in(copies, "a.parquet", age_s=30)
    copies.hold("a.parquet", nothing)
    child = os.fork()
    if not child:
        copies.close()
        os._exit(0)
    os.waitpid(child, 0)
    take_in(Copies(copies.folder, 0), "b.parquet")
    assert kept(copies) == ["a.parquet", "b.parquet"]


def test_a_store_that_is_forgotten_without_a_close_lets_go(tmp_path: Path):
    """Nobody has to remember to close."""
    copies = Copies(tmp_path, 0)
    take_in(copies, "a.parquet", age_s=30)
    Copies(tmp_path, 0).hold("a.parquet", nothing)
    take_in(copies, "b.parquet")
    assert kept(copies) == ["b.parquet"]
