"""Columns of text held against the rules of what they are to become; every broken rule of a row is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules, schema
from cart_core.errors import Problem
from cart_core.importers.columns import Chunk
from cart_core.importers.ids import Flags
from cart_core.importers.set_aside import SetAside

TIME_RULE = "a time with a zone, such as 2019-10-01 00:00:00 UTC, RFC 3339, or milliseconds since 1970"


class Checks:
    """The rows of a chunk that break a rule, and how."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._found: dict[int, list[tuple[str, Problem]]] = {}

    def need(self, sound: Flags, reason: str, column: str, rule: str) -> None:
        """Note every row that is not sound: the reason, the column whose value is wrong, what it must be."""
        for row in np.flatnonzero(~sound).tolist():
            value = self._chunk.columns[column][row].as_py() or None
            self._found.setdefault(row, []).append((reason, Problem(column, value, rule)))

    def need_text(self, column: str, reason: str, among: Flags | None = None) -> None:
        """Note every row whose text is empty, too long or holds NUL, or of these only those ``among``."""
        sound = pc.fill_null(schema.allowed(pa.chunked_array([self._chunk.columns[column]]), rules.NAME), False)
        missing = pc.equal(self._chunk.columns[column], "").to_numpy(zero_copy_only=False)
        asked: Any = True if among is None else among
        self.need(~(missing & asked), "missing_field" if reason == "bad_value" else reason, column, rules.NAME.wording)
        self.need(sound.to_numpy() | missing | ~np.asarray(asked), reason, column, rules.NAME.wording)

    def sound(self) -> Flags:
        """Which rows keep every rule."""
        sound = np.ones(len(self._chunk.rows), bool)
        sound[list(self._found)] = False
        return sound

    def set_aside(self) -> list[SetAside]:
        """The other rows, in order; the first broken rule gives the reason."""
        return [
            SetAside(
                self._chunk.file,
                int(self._chunk.rows[row]),
                found[0][0],
                [problem for _, problem in found],
                self._chunk.raw[row].as_py(),
            )
            for row, found in sorted(self._found.items())
        ]
