"""A shop's inbox: which dropped files are ready, what each of them is, and where they go once they were taken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cart_core.errors import CartError
from cart_core.importers.sources import SOURCES
from cart_core.ingest import import_files
from cart_core.store import CartStore
from pipelines.handing_in import hand_in
from pipelines.tables import INPUTS

SETTLE_S = 10
DONE, FAILED = "done", "failed"
UNFINISHED = (".part", ".tmp", ".crdownload", ".filepart")
BY_ENDING = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One dropped file; ``source`` is a format of ``cart import`` or a table of INPUTS, None where nobody can tell."""

    path: Path
    source: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one dropped file: its counts, or why it failed, and where it lies now."""

    name: str
    source: str | None
    moved_to: Path
    counts: dict[str, Any]
    problem: str | None = None


def arrivals(inbox: Path, now: datetime, settle_s: float = SETTLE_S) -> list[Arrival]:
    """Dropped files that nobody has written to for ``settle_s`` seconds, by path.

    A file lies in the inbox itself or in a folder of it that names its source; hidden files and those with an ending
    such as .part are on their way still.
    """
    if not inbox.is_dir():
        return []
    places = [inbox, *(inbox / name for name in (*SOURCES, *INPUTS) if (inbox / name).is_dir())]
    found = sorted(path for place in places for path in place.iterdir() if _is_ready(path, now, settle_s))
    return [Arrival(path, source_of(path, inbox)) for path in found]


def source_of(path: Path, inbox: Path) -> str | None:
    """What a dropped file is: by its folder, else its name (contacts.parquet, rees46-2019-10.csv), else its ending."""
    if path.parent != inbox:
        return path.parent.name
    name = path.name.lower()
    named = [source for source in (*INPUTS, *SOURCES) if name.startswith(source)]
    return named[0] if named else BY_ENDING.get(path.suffix.lower())


def digest(found: Sequence[Arrival]) -> str:
    """A key of these files as they are: the same for the same names, sizes and times of change."""
    told = [f"{each.path}|{(stat := each.path.stat()).st_size}|{stat.st_mtime_ns}" for each in found]
    return sha256("\n".join(told).encode()).hexdigest()[:32]


def take(store: CartStore, inbox: Path, arrival: Arrival, now: datetime) -> Taken:
    """Import one file and move it to ``done``, or to ``failed`` with the reason in a file beside it.

    Importing the same content again adds nothing, so a crash between the import and the move does no harm.
    """
    try:
        counts = _import(store, inbox.parent, arrival, now)
    except (CartError, ValueError) as error:
        place = _move(arrival.path, inbox / FAILED / (arrival.source or "unknown"))
        place.with_name(f"{place.name}.reason.txt").write_text(f"{error}\n", "utf-8")
        return Taken(arrival.path.name, arrival.source, place, {}, str(error))
    return Taken(arrival.path.name, arrival.source, _move(arrival.path, inbox / DONE / str(arrival.source)), counts)


def _import(store: CartStore, folder: Path, arrival: Arrival, now: datetime) -> dict[str, Any]:
    if arrival.source is None:
        raise ValueError(
            f"nobody can tell what {arrival.path.name} is: put it into a folder of the inbox that is named after its "
            f"source, one of {', '.join((*SOURCES, *INPUTS))}"
        )
    if arrival.source in INPUTS:
        return asdict(hand_in(folder, arrival.source, arrival.path))
    return import_files(store, arrival.source, [arrival.path], now=now).to_json()


def _is_ready(path: Path, now: datetime, settle_s: float) -> bool:
    if not path.is_file() or path.name.startswith(".") or path.suffix.lower() in UNFINISHED:
        return False
    return now.timestamp() - path.stat().st_mtime >= settle_s


def _move(path: Path, folder: Path) -> Path:
    """Move a file into a folder under a name that is free there."""
    folder.mkdir(parents=True, exist_ok=True)
    place, number = folder / path.name, 1
    while place.exists():
        number += 1
        place = folder / f"{path.stem}-{number}{path.suffix}"
    os.replace(path, place)
    return place
