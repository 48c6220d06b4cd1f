"""What a source of events is: the formats by name, their options, and the two kinds of batches that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from cart_core import rules
from cart_core.errors import Refused, SourceError
from cart_core.importers.set_aside import SetAside

SOURCES = ("jsonl", "parquet", "rees46", "retailrocket", "segment", "ga4", "shopify", "postgres")
CART_KEYS = ("session", "user")
DUPLICATES = ("drop", "keep")

Progress = Callable[[int, int], None]
Heads = Callable[[Sequence[str]], Sequence[int]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to read: what makes one cart, the currency where a source names none, what to do with exact duplicates.

    ``progress`` is told how many of how many bytes are read. ``heads`` says how many versions of carts (ids in text)
    are known already, 0 where none: a source that can look things up reads only what is newer.
    """

    cart_key: Literal["session", "user"] = "session"
    currency: str = "USD"
    duplicates: Literal["drop", "keep"] = "drop"
    progress: Progress | None = None
    heads: Heads | None = None


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Rows of a source that holds events: ``events`` (EVENTS) from the source rows ``rows``, counted from 1.

    ``raw`` gives the source text of an event of this batch by its place; ``set_aside`` holds the rows that are no
    events, so ``len(events) + len(set_aside)`` rows were read.
    """

    file: str
    events: pa.Table
    rows: Rows
    raw: Callable[[int], bytes]
    set_aside: list[SetAside]


@dataclass(frozen=True, slots=True)
class ActBatch:
    """Rows of a source that tells what shoppers did: ``acts`` (see ``acts.ACTS``), one or more for each source row.

    ``rows`` source rows were read for it, among them those in ``set_aside``.
    """

    rows: int
    acts: pa.Table
    set_aside: list[SetAside]


Batch = EventBatch | ActBatch


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be read: the name of a format, its files (a DSN for `postgres`), and how."""

    name: str
    files: Sequence[str]
    options: Options

    def check(self) -> None:
        """Raise Refused where the format is unknown or an option has no such value."""
        for code, what, value, known in (
            ("unknown_source", "source", self.name, SOURCES),
            ("unknown_cart_key", "cart key", self.options.cart_key, CART_KEYS),
            ("unknown_duplicates", "duplicates policy", self.options.duplicates, DUPLICATES),
        ):
            if value not in known:
                raise Refused(code, f"{what} {value!r} is unknown: it is one of {', '.join(known)}")
        if not rules.CURRENCY.allows(self.options.currency):
            wording = rules.CURRENCY.wording
            raise Refused("bad_currency", f"currency is {self.options.currency!r}, but must be {wording}")

    def batches(self) -> Iterator[Batch]:
        """What the files hold, streaming. Raises SourceError where one is not what it was given as."""
        try:
            importer = import_module(f"cart_core.importers.{self.name}")
        except ModuleNotFoundError as error:
            hint = f"pip install 'cart-workbench[{self.name}]'"
            raise SourceError(f"the source {self.name} needs the package {error.name}: {hint}") from error
        batches: Iterator[Batch] = importer.batches(self.files, self.options)
        return batches
