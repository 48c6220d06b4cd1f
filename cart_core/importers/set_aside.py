r"""Rows that an import could not take: why, and where they are kept.

The file has one JSON object a line: file, row, reason, problems (field, value, rule), raw (the source text; bytes
that are not UTF-8 are shown as \\xNN, and what is longer than 2 000 characters is cut), id, and set_aside_at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from cart_core import rules
from cart_core.errors import InvalidEvent, Problem, SourceError, shown

RAW_CHARS = 2_000
ID_BYTES = 12

REASONS = {
    "duplicate": "the very same row stands earlier in the file",
    "missing_field": "a required field is missing",
    "unknown_type": "the event type is none of the nine (or none that the format has)",
    "unknown_field": "the event has no such field",
    "bad_quantity": "a quantity is no whole number above 0",
    "bad_price": "a price is no amount above 0 in the currency's minor units",
    "bad_currency": "a currency is no code of 3 letters",
    "bad_id": "an id is no UUID",
    "bad_time": "a time is not readable or has no zone",
    "bad_version": "a version is no whole number above 0",
    "bad_user": "the user is missing or no text of 1 to 4096 characters",
    "bad_coupon": "a coupon's code, type or value breaks its rule",
    "bad_metadata": "metadata is no map of text to text",
    "bad_value": "another field breaks its rule",
    "not_json": "the line is no JSON object, for instance because it is cut",
    "not_utf8": "the line is not UTF-8 text",
    "line_too_long": "the line is longer than 1 MiB",
    "wrong_columns": "the row has more or fewer columns than the header",
    "cut_line": "the file ends in the middle of this row",
    "no_session": "the row names no session, so no cart (--cart-key user needs none)",
    "version_gap": "an earlier version of the cart is missing or set aside",
    "version_conflict": "another event has this version of the cart",
    "event_id_conflict": "the event id is known with other content",
    "remove_without_add": "the product is not in the cart",
    "purchase_without_add": "nothing was ever put into the cart",
    "checkout_without_add": "nothing was ever put into the cart",
    "coupon_not_applied": "the coupon is not on the cart",
    "order_known": "the order is complete already",
    "other_currency": "the cart is in another currency",
    "too_many": "the line or total would be larger than the store can hold",
    "stale_snapshot": "the cart was changed after this state of it",
    "no_change": "the cart is in this state already",
    "no_cart_event": "the row is about nothing that concerns carts",
}
"""Every reason for which a row is set aside, and what it says."""

_JSON = json.JSONEncoder(ensure_ascii=False, default=shown)
_BY_FIELD = {
    "quantity": "bad_quantity",
    "oldQuantity": "bad_quantity",
    "newQuantity": "bad_quantity",
    "pricePerUnitCents": "bad_price",
    "oldPriceCents": "bad_price",
    "newPriceCents": "bad_price",
    "price": "bad_price",
    "currency": "bad_currency",
    "eventId": "bad_id",
    "cartId": "bad_id",
    "timestamp": "bad_time",
    "recordedAt": "bad_time",
    "lastActivityAt": "bad_time",
    "version": "bad_version",
    "userId": "bad_user",
    "couponCode": "bad_coupon",
    "discountType": "bad_coupon",
    "discountValue": "bad_coupon",
    "type": "unknown_type",
}


@dataclass(frozen=True, slots=True)
class SetAside:
    """One row that was not taken: its file, its row (from 1), a reason of REASONS, every broken rule, its text."""

    file: str
    row: int
    reason: str
    problems: Sequence[Problem]
    raw: bytes


def reason_of(problems: Sequence[Problem]) -> str:
    """The reason that the first problem of an event amounts to."""
    first = problems[0]
    if first.field == "line":
        return "not_utf8" if first.rule.startswith("UTF-8") else "not_json"
    if first.rule.startswith("absent"):
        return "unknown_field"
    if first.field.startswith("metadata"):
        return "bad_metadata"
    if first.value is None:
        return "missing_field"
    return _BY_FIELD.get(first.field, "bad_value")


def from_error(error: InvalidEvent, file: str, row: int, raw: bytes) -> SetAside:
    """A row that breaks the rules of an event."""
    return SetAside(file, row, reason_of(error.problems), error.problems, raw)


def visible(raw: bytes) -> str:
    r"""Source text as it can be shown: what is not UTF-8 as \\xNN, cut at 2 000 characters."""
    text = raw[: RAW_CHARS * 4].decode("utf-8", "backslashreplace")
    return text if len(text) <= RAW_CHARS else text[:RAW_CHARS] + "..."


class SetAsideFiles:
    """Where set-aside rows go: one file for all, or one for each source file in a folder.

    Rows are appended, and each row of a source file is kept once however often it is imported: a row is known by its
    file's name, its number, its reason and its text. Lines are written whole; what a crash has torn is cut off at the
    next start, and importing again brings it back.
    """

    def __init__(self, folder: Path, single: Path | None, now: datetime) -> None:
        self._folder = folder
        self._single = single
        self._now = rules.format_time(now)
        self._open: dict[Path, tuple[BinaryIO, set[str]]] = {}

    @property
    def paths(self) -> list[Path]:
        """The files that were written to, in the order of their first row."""
        return list(self._open)

    def add(self, rows: Iterable[SetAside]) -> None:
        """Keep rows; they are in the operating system's hands when this returns, and synced by ``close``."""
        lines: dict[Path, list[str]] = {}
        for row in rows:
            path = self._single or self._folder / f"{file_name(row.file).removesuffix('.jsonl')}.jsonl"
            _, known = self._file(path)
            record = self._record(row)
            if record["id"] not in known:
                known.add(record["id"])
                lines.setdefault(path, []).append(_JSON.encode(record))
        for path, texts in lines.items():
            stream, _ = self._open[path]
            stream.write(("\n".join(texts) + "\n").encode("utf-8", "backslashreplace"))
            stream.flush()

    def close(self) -> None:
        """Sync and close the files."""
        for stream, _ in self._open.values():
            os.fsync(stream.fileno())
            stream.close()

    def _record(self, row: SetAside) -> dict[str, Any]:
        file = file_name(row.file)
        name = f"{file}\0{row.row}\0{row.reason}\0".encode() + row.raw
        return {
            "file": file,
            "row": row.row,
            "reason": row.reason,
            "problems": [
                {"field": each.field, "value": _plain(each.value), "rule": each.rule} for each in row.problems
            ],
            "raw": visible(row.raw),
            "set_aside_at": self._now,
            "id": blake2b(name, digest_size=ID_BYTES).hexdigest(),
        }

    def _file(self, path: Path) -> tuple[BinaryIO, set[str]]:
        if path not in self._open:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._open[path] = (path.open("ab"), _known_ids(path))
            except OSError as error:
                raise SourceError(f"rows cannot be set aside in {path}: {error}") from error
        return self._open[path]


def file_name(file: str) -> str:
    """The name by which a source is shown: the last part of its path."""
    return Path(file).name or file


def _known_ids(path: Path) -> set[str]:
    """The ids of the rows in a file; a torn last line is cut off."""
    known: set[str] = set()
    size = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            size += len(line)
            try:
                known.add(json.loads(line)["id"])
            except (ValueError, KeyError, TypeError):
                continue
    if size < path.stat().st_size:
        os.truncate(path, size)
    return known


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return value[:RAW_CHARS] if isinstance(value, str) else shown(value)
