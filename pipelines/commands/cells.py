"""Cells of derived tables as JSON has them, and as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cart_core import rules

if TYPE_CHECKING:
    import polars as pl

LONGEST = 60


def plain_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON objects."""
    return [{name: plain(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


def plain(value: Any) -> Any:
    """A cell as JSON has it: ids and moments as text."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, bytes):
        return str(UUID(bytes=value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return rules.format_time(value)
    return value.isoformat() if isinstance(value, date) else value


def text(value: Any) -> str:
    """A cell as people read it; a long one is cut, a missing one empty."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"
    whole = "" if value is None else str(plain(value))
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 3]}..."
