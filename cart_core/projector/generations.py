"""Generations of kept tables on disk: each complete, one of them current, unchanged parts shared between them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq

from cart_core import schema
from cart_core.projector.kernel import Array
from cart_core.projector.streaming import TableFile, sync_folder
from cart_core.projector.tables import CARTS, LINES, CartTables

FORMAT = 1
GENERATIONS = 3
SCHEMAS = {"carts": CARTS, "lines": LINES}


@dataclass(frozen=True, slots=True)
class Watermark:
    """What the tables hold: all events up to ``position``, whose event is ``last_event_id``."""

    position: int
    last_event_id: str
    forgotten: int
    part_positions: int
    format: int = FORMAT


class Part:
    """The files of one part in the making."""

    def __init__(self, generation: Path, number: int) -> None:
        self._files = {table: TableFile(generation / table / part_name(number), SCHEMAS[table]) for table in SCHEMAS}

    def write(self, tables: CartTables) -> None:
        """Add carts with their lines."""
        self._files["carts"].write(tables.carts)
        self._files["lines"].write(tables.lines)

    def finish(self) -> None:
        """Complete both files and sync what is in them."""
        for file in self._files.values():
            file.finish()
            file.publish()


def write_part(generation: Path, number: int, tables: CartTables) -> None:
    """Write a part that is at hand as a whole."""
    part = Part(generation, number)
    part.write(tables)
    part.finish()


def read_part(generation: Path, number: int) -> CartTables:
    """A part of a generation; without rows where it has no such part."""
    files = {table: generation / table / part_name(number) for table in SCHEMAS}
    if not files["carts"].exists():
        return CartTables(CARTS.empty_table(), LINES.empty_table())
    return CartTables(*(pq.read_table(file, schema=SCHEMAS[table]) for table, file in files.items()))


def part_ids(generation: Path, number: int) -> Array:
    """The carts of a part as (n, 16) bytes, in order of key."""
    return schema.id_bytes(pq.read_table(generation / "carts" / part_name(number), columns=["cart_id"])["cart_id"])


def part_numbers(generation: Path) -> list[int]:
    """The parts of a generation, ascending."""
    return sorted(int(path.stem.removeprefix("part-")) for path in (generation / "carts").glob("part-*.parquet"))


def part_name(number: int) -> str:
    """The name of a part's file."""
    return f"part-{number:05d}.parquet"


def home_of(folder: Path) -> Path:
    """Where the generations of the tables in a folder lie."""
    return folder / ".kept"


def watermark_of(generation: Path) -> Watermark | None:
    """What a generation holds, or None where it is none of ours, or not all of it is there."""
    try:
        told = json.loads((generation / "watermark.json").read_text())
        files = told.pop("files")
        return Watermark(**told) if files == _files(generation) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _files(generation: Path) -> list[str]:
    return sorted(str(path.relative_to(generation)) for path in generation.glob("*/*.parquet"))


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Wait until no other process writes generations here, and keep others waiting."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def new_generation(home: Path, mark: Watermark) -> Iterator[Path]:
    """A folder to fill, which becomes the current one when it is complete and synced; old ones go, but for a few."""
    name = f"{mark.position:012d}-{uuid4().hex[:8]}"
    trial = home / f".{name}"
    for table in SCHEMAS:
        (trial / table).mkdir(parents=True)
    try:
        yield trial
        with (trial / "watermark.json").open("w") as file:
            json.dump({**asdict(mark), "files": _files(trial)}, file)
            file.flush()
            os.fsync(file.fileno())
        for folder in (*(trial / table for table in SCHEMAS), trial):
            sync_folder(folder)
        trial.rename(home / name)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    link(home / "current", name)
    _sweep(home, name)


def _sweep(home: Path, newest: str) -> None:
    folders = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink() and path.name != newest]
    by_age = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in by_age[GENERATIONS - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)


def share_part(old: Path, generation: Path, number: int) -> None:
    """Take a part over as it is."""
    for table in SCHEMAS:
        share_file(old / table / part_name(number), generation / table / part_name(number))


def share_file(file: Path, place: Path) -> None:
    """Give a file that never changes another name, without copying it where the file system can."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copy2(file, place)


def link(path: Path, target: str) -> None:
    """Point a name at something, in one step, whatever the name meant before."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    fresh = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    fresh.symlink_to(target)
    os.replace(fresh, path)
    sync_folder(path.parent)
