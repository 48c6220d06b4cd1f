"""Forgetting a person: the link to their pseudonym goes, and their id in every other file of the store's folder."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pyarrow.compute as pc

from cart_core.processes import is_running
from cart_core.store import at_rest
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Connection
from cart_core.store.reading.reader import Reader
from cart_core.store.upkeep.traces import Traces, clean_json, clean_lines, clean_parquet, holds

WITHOUT_USERS = ("catalog.sqlite", "store.toml", "decided.sqlite", "verified.json")
"""What holds no user id by construction, or is the shop's own setting; the catalog is erased by its own means."""

CACHES_WITHOUT_USERS = ("index", "copies")
LINE_FILES = (".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".log")
LEFTOVER = re.compile(r"(?:import|views)-(\d+)-")
HALF_CLEANED = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp")

Cleaner = Callable[[Path, Path, Traces], bool]


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """Files that were cleaned or removed, and files that hold the id, or may hold it, and that nobody can clean."""

    changed: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)


def scrub(home: Path, traces: Traces, segments: Path) -> Scrubbed:
    """Take a user id out of every file of a store's folder but its ``segments``, which hold none.

    In tables the id becomes the pseudonym. Lines of text files that hold it go, gzipped or not, and so do entries of
    lists in JSON documents; pages that hold it go whole, as the next run makes them again. Carts and lines kept for
    queries go, and what dead processes left. Each file is replaced in one step.
    """
    home, segments = home.absolute(), segments.absolute()
    shutil.rmtree(home / "cache" / "projection", ignore_errors=True)
    _drop_leftovers(home / "cache")
    done = Scrubbed()
    for path in sorted(each for each in home.rglob("*") if each.is_file() and not each.is_symlink()):
        if path.parent == segments or _is_without_users(path.relative_to(home)):
            continue
        try:
            if _is_left_by_the_dead(path, HALF_CLEANED):
                path.unlink(missing_ok=True)
            elif _clean(path, traces):
                done.changed.append(path)
            elif _cleaner(path) is None and holds(path, traces):
                done.left.append(path)
        except (OSError, ValueError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            done.left.append(path)  # it is torn or not what its name says, so nobody can tell what it holds
    return done


def events_naming(db: Connection, reader: Reader, user_key: int, traces: Traces) -> list[int]:
    """The positions of a user's events whose metadata or order id holds the user's id, ascending."""
    columns = ["position", "user_key", "order_id", "metadata"]
    parts = chain(
        (reader.folder.read(each, columns) for each in reader.segments(db)),
        [at_rest.from_journal(catalog.journal(db)).select(columns)],
    )
    mine = chain.from_iterable(each.filter(pc.equal(each["user_key"], user_key)).to_pylist() for each in parts)
    return sorted(row["position"] for row in mine if traces.in_value((row["order_id"], row["metadata"])))


def _is_without_users(path: Path) -> bool:
    if path.name.startswith(WITHOUT_USERS):
        return True
    return len(path.parts) > 1 and (
        path.parts[0] == "segments" or (path.parts[0] == "cache" and path.parts[1] in CACHES_WITHOUT_USERS)
    )


def _cleaner(path: Path) -> Cleaner | None:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in LINE_FILES:
        return clean_lines
    return {".parquet": clean_parquet, ".json": clean_json, ".html": _clean_page}.get(suffix)


def _clean(path: Path, traces: Traces) -> bool:
    """Take the id out of one file; False where it did not hold it, or nobody knows how."""
    cleaner = _cleaner(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}.tmp")
    try:
        if cleaner is None or not cleaner(path, temporary, traces):
            return False
        if temporary.exists():
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        else:
            path.unlink()
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _clean_page(path: Path, _target: Path, traces: Traces) -> bool:
    return holds(path, traces)


def _drop_leftovers(cache: Path) -> None:
    """Remove what imports that are dead left behind."""
    for path in cache.glob("*"):
        if _is_left_by_the_dead(path, LEFTOVER):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _is_left_by_the_dead(path: Path, name: re.Pattern[str]) -> bool:
    found = name.match(path.name)
    return found is not None and not is_running(int(found[1]))
