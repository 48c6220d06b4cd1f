"""Which rows of a batch may enter: rules, ids and versions, checked for all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import schema
from cart_core.store import at_rest
from cart_core.store.results import REFUSED
from cart_core.store.segments import layout

Array = np.ndarray[Any, np.dtype[Any]]
Known = Callable[[Array], tuple[Array, pa.Table]]
Heads = Callable[[Array], Array]
FORGOTTEN_USER = f"^{at_rest.FORGOTTEN}[0-9]+$"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a batch: ``accepted`` row numbers in the order of their positions, and the rest.

    ``by_cart`` are places in ``accepted`` in the order of a file: cart by cart, versions ascending.
    """

    accepted: Array
    by_cart: Array
    already_known: Array
    refused: pa.Table
    carts: int


class _Verdicts:
    """Row numbers and what was decided of them, so far."""

    def __init__(self, rows: int) -> None:
        self.open = np.ones(rows, bool)
        self.known = np.zeros(rows, bool)
        self.refused: list[pa.Table] = []

    def refuse(self, rows: Array, reason: str, details: list[str]) -> None:
        if len(rows):
            self.refused.append(pa.table([rows, [reason] * len(rows), details], schema=REFUSED))
            self.open[rows] = False

    def know(self, rows: Array) -> None:
        self.known[rows] = True
        self.open[rows] = False


def plan(table: pa.Table, known: Known, heads: Heads) -> Plan:
    """Decide of every row of a table of EVENTS.

    ``known`` finds stored events by their ids and gives (rows, events with the columns of EVENTS); ``heads`` gives
    the versions of carts. Refused are: rows that break a rule (``invalid``), an id with other content
    (``event_id_conflict``), a version that the cart already has (``version_conflict``), and a version whose
    predecessor is missing or refused (``version_gap``).
    """
    verdicts = _Verdicts(len(table))
    _refuse_invalid(table, verdicts)
    if verdicts.open.any():
        _settle_ids(table, known, verdicts)
    carts, rows = _settle_versions(table, heads, verdicts) if verdicts.open.any() else (0, np.zeros(0, np.int64))
    refused = pa.concat_tables(verdicts.refused) if verdicts.refused else REFUSED.empty_table()
    accepted, by_cart = _position_order(table, rows)
    return Plan(accepted, by_cart, verdicts.known, refused.sort_by("row"), carts)


def _refuse_invalid(table: pa.Table, verdicts: _Verdicts) -> None:
    broken = schema.violations(table)
    if not len(broken):
        return
    told: dict[int, list[str]] = {}
    for each in broken.to_pylist():
        told.setdefault(each["row"], []).append(f"{each['field']} is {each['value']!r}, but must be {each['rule']}")
    verdicts.refuse(np.array(list(told)), "invalid", ["; ".join(lines) for lines in told.values()])


def _settle_ids(table: pa.Table, known: Known, verdicts: _Verdicts) -> None:
    rows = np.flatnonzero(verdicts.open)
    found, stored = known(_ids(table, "event_id", rows))
    _compare(table, rows[found], stored, verdicts)
    rows = np.flatnonzero(verdicts.open)
    first, later = _repeats(_ids(table, "event_id", rows))
    _compare(table, rows[later], table.take(pa.array(rows[first])), verdicts)


def _compare(table: pa.Table, rows: Array, stored: pa.Table, verdicts: _Verdicts) -> None:
    """Rows whose ids are known: the same content is an old acquaintance, other content a conflict."""
    if not len(rows):
        return
    mine = table.take(pa.array(rows))
    forgotten = pc.match_substring_regex(stored["user_id"], FORGOTTEN_USER).to_numpy()
    columns = [name for name in at_rest.CONTENT_COLUMNS if name != "user_id"]
    same = at_rest.same_content(mine, stored, columns)
    same &= forgotten | at_rest.same_content(mine, stored, ["user_id"])
    verdicts.know(rows[same])
    other = rows[~same]
    details = [
        f"eventId {value} is known with other content" for value in table["event_id"].take(pa.array(other)).to_pylist()
    ]
    verdicts.refuse(other, "event_id_conflict", details)


def _repeats(ids: Array) -> tuple[Array, Array]:
    """Pairs (first, later) of rows with one id."""
    keys = schema.id_keys(ids)
    ranked = np.sort(keys)
    if not (ranked[1:] == ranked[:-1]).any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    shared = np.isin(keys, ranked[1:][ranked[1:] == ranked[:-1]])
    for row in np.flatnonzero(shared):
        name = ids[row].tobytes()
        if name in first:
            pairs.append((first[name], int(row)))
        else:
            first[name] = int(row)
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _settle_versions(table: pa.Table, heads: Heads, verdicts: _Verdicts) -> tuple[int, Array]:
    """How many carts have rows that may enter, and those rows, cart by cart, versions ascending."""
    rows = np.flatnonzero(verdicts.open)
    carts = _ids(table, "cart_id", rows)
    versions = table["version"].to_numpy(zero_copy_only=False)[rows].astype(np.int64)
    order = layout.cart_order(carts, versions)
    rows, carts, versions = rows[order], schema.take_ids(carts, order), versions[order]
    starts = layout.cart_starts(carts)
    lengths = np.diff(np.r_[starts, len(rows)])
    head = np.repeat(heads(carts[starts]), lengths)
    repeated = np.r_[False, versions[1:] == versions[:-1]]
    repeated[starts] = False
    taken = repeated | (versions <= head)
    verdicts.refuse(
        rows[taken], "version_conflict", [_conflict(table, row, at) for row, at in _each(rows, head, taken)]
    )
    if taken.any():
        rows, versions, head, carts = rows[~taken], versions[~taken], head[~taken], carts[~taken]
        starts = layout.cart_starts(carts)
        lengths = np.diff(np.r_[starts, len(rows)])
    wanted = head + 1 + np.arange(len(rows)) - np.repeat(starts, lengths)
    gap = versions != wanted
    verdicts.refuse(rows[gap], "version_gap", [_gap(table, row, at) for row, at in _each(rows, wanted, gap)])
    return int((~gap[starts]).sum()), rows[~gap]


def _each(rows: Array, values: Array, chosen: Array) -> list[tuple[int, int]]:
    return [(int(row), int(value)) for row, value in zip(rows[chosen], values[chosen], strict=True)]


def _conflict(table: pa.Table, row: int, head: int) -> str:
    cart, version = table["cart_id"][row].as_py(), table["version"][row].as_py()
    return f"version {version} of cart {cart} is taken by another event (the cart was at {head})"


def _gap(table: pa.Table, row: int, wanted: int) -> str:
    cart, version = table["cart_id"][row].as_py(), table["version"][row].as_py()
    missing = min(wanted, version - 1)
    return f"version {version} of cart {cart} cannot follow: version {missing} or an earlier one is missing"


def _position_order(table: pa.Table, by_version: Array) -> tuple[Array, Array]:
    """Accepted rows as they came, but each cart's rows by version among the places that they hold; and those places.

    ``by_version`` are the rows cart by cart, versions ascending, as then are the places.
    """
    came = np.sort(by_version)
    places = np.searchsorted(came, by_version) if len(came) < len(table) else by_version
    later = places[1:] > places[:-1]
    later[layout.cart_starts(schema.take_ids(_ids(table, "cart_id", came), places))[1:] - 1] = True
    if later.all():
        return came, places
    by_place = layout.cart_order(_ids(table, "cart_id", came), np.arange(len(came)))
    placed = np.empty_like(came)
    placed[by_place] = by_version
    return placed, by_place


def _ids(table: pa.Table, column: str, rows: Array) -> Array:
    if len(rows) == len(table):
        return schema.id_bytes(table[column])
    return schema.id_bytes(table[column].take(pa.array(rows)))
