"""Files of JSON objects, one a line, each telling what somebody did in a shop's own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from cart_core import rules
from cart_core.errors import Problem
from cart_core.importers import acts, ids, money, times
from cart_core.importers.checks import TIME_RULE
from cart_core.importers.lines import Lines, read_lines
from cart_core.importers.set_aside import SetAside
from cart_core.importers.sources import ActBatch, Options

INT64_DIGITS = 19


class Unusable(Exception):
    """A row that tells nothing of use: the reason, and what is wrong."""

    def __init__(self, reason: str, field: str, value: object, rule: str) -> None:
        self.reason = reason
        self.problem = Problem(field, value, rule)
        super().__init__(str(self.problem))


@dataclass(frozen=True, slots=True)
class Told:
    """What a row tells: its identity, whose cart, whose visit, who, when (microseconds), and the acts in order."""

    identity: str
    key: str
    session: str | None
    user_id: str
    at: int
    acts: list[dict[str, Any]]


Teller = Callable[[dict[str, Any], Options], Told]


def read_documents(source: str, files: Sequence[str], options: Options, tell: Teller) -> Iterator[ActBatch]:
    """What the rows of files tell, streaming; ``tell`` reads one row and raises Unusable for one that is of no use.

    Numbers with decimals come as Decimal. Raises SourceError where a file cannot be read.
    """
    space = ids.namespace(source)
    for lines in read_lines(files, options):
        refused = list(lines.set_aside)
        told: list[tuple[int, bytes, Told]] = []
        for row, text in zip(lines.rows, lines.texts, strict=True):
            try:
                told.append((row, text, tell(_object(text), options)))
            except Unusable as error:
                refused.append(SetAside(lines.file, row, error.reason, [error.problem], text))
        yield ActBatch(len(lines.rows) + len(lines.set_aside), _table(space, lines, told), refused)


def field(document: dict[str, Any], *path: str) -> Any:
    """The value at a path of keys; None where there is none."""
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def first(document: dict[str, Any], *names: str) -> Any:
    """The first of some fields that is there and not empty; None where none is."""
    return next((document[name] for name in names if document.get(name) not in (None, "")), None)


def text(value: object, name: str, reason: str = "missing_field") -> str:
    """A text or a whole number as text. Raises Unusable where it is neither, or longer than 4096 characters."""
    shown = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if shown is None or not rules.NAME.allows(shown):
        raise Unusable("missing_field" if value in (None, "") else reason, name, value, rules.NAME.wording)
    return shown


def quantity(value: object, name: str) -> int:
    """A quantity, also as text; 1 where there is none. Raises Unusable where it is no whole number above 0."""
    number = whole(1 if value is None else value)
    if number is None or not rules.QUANTITY.allows(number):
        raise Unusable("bad_quantity", name, value, rules.QUANTITY.wording)
    return number


def whole(value: object) -> int | None:
    """A whole number, also as text or with decimals that are 0; None for anything else, or for more than 64 bits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= INT64_DIGITS:
        value = int(value)
    if isinstance(value, Decimal) and value.adjusted() < INT64_DIGITS and value == value.to_integral_value():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= rules.INT64_MAX
    return int(value) if fits else None  # type: ignore[call-overload]


def price_cents(value: object, name: str, code: str) -> int:
    """A price above 0 in minor units. Raises Unusable where it is none."""
    cents = money.minor_units(value, code)
    if cents is None or cents <= 0:
        raise Unusable("bad_price", name, value, f"an amount of {code} above 0, in whole minor units")
    return cents


def total_cents(value: object, name: str, code: str) -> int:
    """A total of 0 or more in minor units. Raises Unusable where it is none."""
    cents = money.minor_units(value, code)
    if cents is None or cents < 0:
        reason = "missing_field" if value is None else "bad_price"
        raise Unusable(reason, name, value, f"an amount of {code}, in whole minor units")
    return cents


def currency(value: object, options: Options) -> str:
    """A currency, in capitals; the import's where there is none. Raises Unusable where it is no code."""
    if value in (None, ""):
        return options.currency
    if not rules.CURRENCY.allows(value):
        raise Unusable("bad_currency", "currency", value, rules.CURRENCY.wording)
    return str(value).upper()


def url(value: object) -> str | None:
    """A web address; None for anything else, as it is not worth a row."""
    return value if isinstance(value, str) and rules.URL.allows(value) else None


def moment(value: object, name: str) -> int:
    """A time in microseconds. Raises Unusable where it is none, or has no zone."""
    micros = times.parse_moment(value)
    if micros is None:
        raise Unusable("missing_field" if value is None else "bad_time", name, value, TIME_RULE)
    return micros


def no_cart_event(name: str, value: object, known: Sequence[str]) -> Unusable:
    """What a row is that tells something else."""
    return Unusable("no_cart_event", name, value, "one of " + ", ".join(known))


def _object(text_: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text_, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise Unusable("not_json", "line", text_[:60], f"one JSON object ({error})") from error
    if not isinstance(document, dict):
        raise Unusable("not_json", "line", text_[:60], "one JSON object")
    return document


def _table(space: bytes, lines: Lines, told: list[tuple[int, bytes, Told]]) -> pa.Table:
    row_ids = ids.named_all(space, [each.identity.encode("utf-8", "surrogatepass") for _, _, each in told])
    rows = [
        {
            "file": lines.number,
            "row": row,
            "part": part,
            "row_id": row_id.tobytes(),
            "key": each.key,
            "session": each.session,
            "user_id": each.user_id,
            "at": each.at,
            "raw": raw if part == 0 else None,
        }
        | act
        for (row, raw, each), row_id in zip(told, row_ids, strict=True)
        for part, act in enumerate(each.acts)
    ]
    return pa.Table.from_pylist(rows, schema=acts.ACTS)
