"""The rules over whole columns: what ``Envelope.from_json`` finds row by row, found for a table at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules
from cart_core.errors import InvalidEvent, Problem
from cart_core.events import metadata_field
from cart_core.rules import FIELDS, TYPES
from cart_core.schema.columns import JSON_NAMES, PAYLOAD_COLUMNS, moment_of

VIOLATIONS = pa.schema([("row", pa.int64()), ("field", pa.string()), ("value", pa.string()), ("rule", pa.string())])


def violations(table: pa.Table) -> pa.Table:
    """Every broken rule of a table of EVENTS: columns row (from 0), field (JSON name), value (text), rule.

    It finds what ``Envelope.from_json`` finds for the same rows, column by column. Ordered by row.
    """
    found: list[pa.Table] = []
    for name, field, rule, required in _ENVELOPE_RULES:
        found += _broken_cells(table[name], None, field, rule, required=required)
    for name, field in (("event_id", "eventId"), ("cart_id", "cartId")):
        found += _report(table[name], None, pc.is_null(table[name]), field, rules.UUID_WORDING)
    unknown = pc.invert(pc.is_in(table["type"], pa.array(TYPES)))
    found += _report(table["type"], None, unknown, "type", rules.NAMED_TYPE_WORDING)
    found += _broken_metadata(table["metadata"])
    kinds = table["type"]
    for name in pc.unique(kinds).to_pylist():
        if name in FIELDS:
            found += _broken_payload(table, name, np.flatnonzero(pc.equal(kinds, name).to_numpy(zero_copy_only=False)))
    if not found:
        return VIOLATIONS.empty_table()
    return pa.concat_tables(found).sort_by([("row", "ascending"), ("field", "ascending")])


def check(table: pa.Table) -> None:
    """Raise InvalidEvent with all problems of the first row that breaks a rule; ``row`` counts from 0."""
    broken = violations(table)
    if len(broken):
        row = broken["row"][0].as_py()
        first = broken.filter(pc.equal(broken["row"], row)).to_pylist()
        raise InvalidEvent([Problem(each["field"], each["value"], each["rule"]) for each in first], row)


_ENVELOPE_RULES = (
    ("version", "version", rules.VERSION, True),
    ("user_id", "userId", rules.NAME, True),
    ("timestamp", "timestamp", rules.Moment(), True),
    ("recorded_at", "recordedAt", rules.Moment(), False),
)


def _broken_payload(table: pa.Table, name: str, rows: np.ndarray[Any, Any]) -> list[pa.Table]:
    part = table.select(PAYLOAD_COLUMNS).take(pa.array(rows))
    specs = {spec.column: spec for spec in FIELDS[name]}
    found: list[pa.Table] = []
    for column in PAYLOAD_COLUMNS:
        cells = part[column]
        spec = specs.get(column)
        if spec is not None:
            found += _broken_cells(cells, rows, spec.json, spec.rule, required=spec.required)
        elif cells.null_count < len(cells):
            found += _report(cells, rows, pc.is_valid(cells), JSON_NAMES[column], f"absent: {name} has no such field")
    if name == "CouponApplied":
        found += _broken_discounts(part, rows)
    return found


def _broken_cells(
    cells: pa.ChunkedArray, rows: np.ndarray[Any, Any] | None, field: str, rule: rules.Rule, *, required: bool
) -> list[pa.Table]:
    broken = pc.fill_null(pc.invert(allowed(cells, rule)), required)
    return _report(cells, rows, broken, field, rule.wording)


def allowed(cells: pa.Array | pa.ChunkedArray, rule: rules.Rule) -> Any:
    """Per cell whether it keeps the rule; null stays null."""
    if isinstance(rule, rules.Whole):
        return _between(cells, rule.low, rule.high)
    if isinstance(rule, rules.OneOf):
        return pc.if_else(pc.is_valid(cells), pc.is_in(cells, pa.array(rule.words)), None)
    if isinstance(rule, rules.Moment):
        return _between(cells.cast(pa.int64()), rules.MIN_TIME_US, rules.MAX_TIME_US)
    if isinstance(rule, rules.Amount):
        return pc.and_(pc.greater(cells, 0.0), pc.less_equal(cells, float(rules.EXACT_FLOAT_MAX)))
    fits = _between(pc.utf8_length(cells), rule.least, rules.TEXT_CHARS)
    fits = pc.and_(fits, pc.invert(pc.match_substring(cells, "\0")))
    if rule.pattern is None:
        return fits
    return pc.and_(fits, pc.match_substring_regex(cells, rf"^(?:{rule.pattern})\z"))


def _between(cells: pa.Array | pa.ChunkedArray, low: int, high: int) -> Any:
    return pc.and_(
        pc.greater_equal(cells, pa.scalar(low, cells.type)), pc.less_equal(cells, pa.scalar(high, cells.type))
    )


def _broken_discounts(part: pa.Table, rows: np.ndarray[Any, Any]) -> list[pa.Table]:
    values = part["discount_value"]
    sound = pc.fill_null(
        pc.and_(allowed(values, rules.Amount()), allowed(part["discount_type"], rules.DISCOUNT_TYPE)), False
    ).to_numpy()
    for spec in FIELDS["CouponApplied"]:
        sound &= pc.fill_null(allowed(part[spec.column], spec.rule), False).to_numpy()
    number = pc.fill_null(values, 1.0).to_numpy()
    percentage = pc.fill_null(pc.equal(part["discount_type"], "percentage"), False).to_numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.floor(number * rules.PERCENT_STEPS + 0.5) / rules.PERCENT_STEPS
        bad_percent = sound & percentage & ~((number <= rules.PERCENT_MAX) & (steps == number))
        bad_fixed = sound & ~percentage & (np.floor(number) != number)
    return [
        *_report(values, rows, pa.array(bad_percent), "discountValue", rules.PERCENT_WORDING),
        *_report(values, rows, pa.array(bad_fixed), "discountValue", rules.FIXED_WORDING),
    ]


def _broken_metadata(column: pa.ChunkedArray) -> list[pa.Table]:
    """Pairs one by one only in chunks where some pair breaks a rule or some key stands twice."""
    found = []
    start = 0
    for chunk in column.chunks:
        if not _sound(chunk):
            found += [
                pa.table([[row], [field], [value], [rule]], schema=VIOLATIONS)
                for row, pairs in enumerate(chunk.to_pylist(), start)
                for field, value, rule in _metadata_problems(pairs or [])
            ]
        start += len(chunk)
    return found


def _sound(chunk: pa.MapArray) -> bool:
    keys, values, owners = _pairs(chunk)
    for texts, rule in ((keys, rules.NAME), (values, rules.FREE_TEXT)):
        if pc.any(pc.invert(pc.fill_null(allowed(texts, rule), False))).as_py():
            return False
    codes = keys.dictionary_encode().indices.to_numpy()
    placed = np.sort(owners * (int(codes.max(initial=0)) + 1) + codes)
    return bool((placed[1:] != placed[:-1]).all())


def _pairs(chunk: pa.MapArray) -> tuple[pa.Array, pa.Array, np.ndarray[Any, np.dtype[np.int64]]]:
    """All keys and values of a chunk, and the row within the chunk that each stands in."""
    offsets = chunk.offsets.to_numpy()
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    owners = np.repeat(np.arange(len(chunk), dtype=np.int64), np.diff(offsets))
    return chunk.keys.slice(first, count), chunk.items.slice(first, count), owners


def _metadata_problems(pairs: list[tuple[str, str | None]]) -> Iterator[tuple[str, str | None, str]]:
    seen: set[str] = set()
    for key, value in pairs:
        if not (rules.NAME.allows(key) and rules.FREE_TEXT.allows(value)):
            yield metadata_field(key), value, rules.METADATA_WORDING
        if key in seen:
            yield metadata_field(key), value, "named once"
        seen.add(key)


def _report(
    cells: pa.ChunkedArray, rows: np.ndarray[Any, Any] | None, broken: Any, field: str, rule: str
) -> list[pa.Table]:
    where = np.flatnonzero(broken.to_numpy(zero_copy_only=False) if isinstance(broken, pa.Array) else broken.to_numpy())
    if not len(where):
        return []
    values = _texts(cells.take(pa.array(where)))
    numbers = where if rows is None else rows[where]
    return [pa.table([numbers, [field] * len(where), values, [rule] * len(where)], schema=VIOLATIONS)]


def _texts(cells: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_timestamp(cells.type):
        moments = [None if micros is None else moment_of(micros) for micros in cells.cast(pa.int64()).to_pylist()]
        return [rules.format_time(each) if isinstance(each, datetime) else _text(each) for each in moments]
    return [_text(value) for value in cells.to_pylist()]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
