"""How commands print: one JSON document, or text for people; progress goes to standard error on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cart_core import rules, settings

if TYPE_CHECKING:
    from cart_core.store import CartStore

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ToCatalog = Annotated[
    str | None,
    typer.Option(metavar="URL", help="postgresql://user@host/database; without it a SQLite file in the folder."),
]
ToSegments = Annotated[
    str | None,
    typer.Option(metavar="PLACE", help="A folder or s3://bucket/prefix; without it a folder in the folder."),
]
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Session:
    """What the options before the command said."""

    path: Path

    def store(self, *, create: bool = False) -> CartStore:
        """Open the store. Raises StoreNotFound where there is none and none may be made."""
        from cart_core.store import CartStore

        return CartStore.open(self.path, **settings.parts(), create=create)


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found: Session = context.obj
    return found


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time given as an option. Raises typer.BadParameter where it is none."""
    if text is None:
        return None
    try:
        return rules.parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def document(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def lines(*texts: str) -> None:
    """Print lines of text."""
    sys.stdout.writelines(f"{text}\n" for text in texts)


def verdict(problems: Sequence[str], holds: str, *, as_json: bool) -> None:
    """What a check found, or that all ``holds``; exits 1 where anything is wrong."""
    if as_json:
        document({"ok": not problems, "problems": problems})
    else:
        lines(*(problems or [holds]))
    if problems:
        raise typer.Exit(1)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> None:
    """Print rows under headers, columns aligned; ``right`` lists the columns that hold numbers."""
    texts = [[("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in [list(headers), *texts]) for place in range(len(headers))]
    for row in (headers, ["-" * width for width in widths], *texts):
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines("  ".join(cells).rstrip())


def money(cents: int | None, currency: str | None) -> str:
    """An amount of minor units as people read it, two decimals."""
    if cents is None:
        return "-"
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d} {currency or ''}".rstrip()


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A progress bar on standard error where that is a terminal; a call says how much is done, and of how much."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
