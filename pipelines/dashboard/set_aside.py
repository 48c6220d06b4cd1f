"""Rows that imports could not take: how many there are for which reason, and the latest of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from cart_core.importers.set_aside import REASONS
from pipelines.dashboard import words
from pipelines.dashboard.listings import Column, listed

SCHEMA = {"file": pl.String, "row": pl.Int64, "reason": pl.String, "problems": pl.String, "raw": pl.String}
KEPT_ROWS, SHOWN_ROWS = 1_000, 50
RAW_CHARS = 160
LARGEST_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class SetAside:
    """Rows set aside: how many by reason, the first of them as a frame, and the files too large to be read here."""

    counts: Counter[str]
    rows: pl.DataFrame
    unread: tuple[Path, ...] = ()


def read(folder: Path) -> SetAside:
    """What lies in a folder of set-aside rows; nothing where there is no such folder. Read again where it changed."""
    found = [(path, path.stat()) for path in sorted(folder.glob("*.jsonl"))]
    return _read(tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in found))


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, int, int], ...]) -> SetAside:
    """The rows of files, told by path, bytes and time of their last change."""
    unread = tuple(path for path, size_bytes, _ in files if size_bytes > LARGEST_BYTES)
    counts: Counter[str] = Counter()
    kept: list[dict[str, Any]] = []
    for each in _rows([path for path, _, _ in files if path not in unread]):
        counts[each["reason"]] += 1
        if len(kept) < KEPT_ROWS:
            kept.append({**{name: each[name] for name in SCHEMA if name != "problems"}, "problems": _problems(each)})
    return SetAside(counts, pl.DataFrame(kept, schema=SCHEMA), unread)


def lead(found: SetAside) -> str:
    """How many rows lie there, and which files are too large to be counted here."""
    total = found.counts.total()
    large = f" Not counted, as too large: {', '.join(path.name for path in found.unread)}." if found.unread else ""
    return (f"{words.count(total)} rows could not be imported; each is kept." if total else "") + large


def by_reason(found: SetAside) -> list[tuple[str, str, str]]:
    """Each reason with how many rows, and what it says; most frequent first."""
    return [
        (words.words(name), words.count(number), REASONS.get(name, "").capitalize() + ".")
        for name, number in found.counts.most_common()
    ]


def listing_of(found: SetAside) -> str:
    """The first rows, each with file, line, what is wrong, and its text."""
    return listed(
        "Rows set aside",
        found.rows.head(SHOWN_ROWS).iter_rows(named=True),
        {
            "where": Column(
                "File and row",
                lambda row: f'<b>{escape(row["file"])}</b><span class="aside">row {words.count(row["row"])}</span>',
            ),
            "reason": Column("Reason", lambda row: escape(words.words(row["reason"]))),
            "problems": Column("What is wrong", lambda row: escape(row["problems"] or words.NOTHING)),
            "raw": Column("Text", lambda row: f"<code>{escape(words.short_id(row['raw'], RAW_CHARS))}</code>"),
        },
    )


def _rows(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.endswith("\n"))


def _problems(row: dict[str, Any]) -> str:
    return "; ".join(f"{each['field']} is {each['value']!r}, but must be {each['rule']}" for each in row["problems"])
