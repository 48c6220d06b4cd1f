"""Forgetting a person: the link to their pseudonym goes, and their id in every other file of the store's folder."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cart_core.store.at_rest import FORGOTTEN

KEPT_ELSEWHERE = ("segments", "cache")
LINE_FILES = (".jsonl", ".csv", ".txt")
WHOLE_FILES = (".html", ".json")


def scrub(home: Path, user_id: str, pseudonym: int, segments: Path) -> list[Path]:
    """Take a user id out of every file of a store's folder but its ``segments``; returns the files that changed.

    In Parquet files the id becomes the pseudonym, and rows that hold it inside lists or structures go. Lines of
    text files that hold it go; pages and documents that hold it go whole, as the next run makes them again.
    Each file is replaced in one step.
    """
    home, segments = home.absolute(), segments.absolute()
    changed = []
    for path in sorted(each for each in home.rglob("*") if each.is_file() and not each.is_symlink()):
        kept = path.parent == segments or path.relative_to(home).parts[0] in KEPT_ELSEWHERE
        if kept or path.name.startswith("catalog.sqlite"):
            continue
        if path.suffix == ".parquet":
            done = _scrub_parquet(path, user_id, f"{FORGOTTEN}{pseudonym}")
        elif path.suffix in LINE_FILES:
            done = _scrub_lines(path, user_id.encode())
        else:
            done = path.suffix in WHOLE_FILES and _remove(path, user_id.encode())
        changed += [path] if done else []
    return changed


def _scrub_parquet(path: Path, user_id: str, pseudonym: str) -> bool:
    table = pq.read_table(path)
    scrubbed = table
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            hit = pc.fill_null(pc.equal(scrubbed[place], user_id), False)
            if pc.any(hit).as_py():
                column = pc.if_else(hit, pa.scalar(pseudonym, field.type), scrubbed[place])
                scrubbed = scrubbed.set_column(place, field, column)
        elif pa.types.is_nested(field.type):
            hit = [user_id in str(each) for each in scrubbed[place].to_pylist()]
            if any(hit):
                scrubbed = scrubbed.filter(pa.array([not each for each in hit]))
    if scrubbed is table:
        return False
    temporary = _beside(path)
    pq.write_table(scrubbed, temporary)
    os.replace(temporary, path)
    return True


def _scrub_lines(path: Path, user_id: bytes) -> bool:
    temporary, dropped = _beside(path), False
    with path.open("rb") as old, temporary.open("wb") as new:
        for line in old:
            if user_id in line:
                dropped = True
            else:
                new.write(line)
    if dropped:
        os.replace(temporary, path)
    else:
        temporary.unlink()
    return dropped


def _remove(path: Path, user_id: bytes) -> bool:
    if user_id not in path.read_bytes():
        return False
    path.unlink()
    return True


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
