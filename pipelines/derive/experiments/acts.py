"""What users did: as numbers to count by, and as one narrow table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.derive.columns import Ints, columns_of, micros, numbered, step_numbers, texts
from pipelines.derive.frames import Frame, collected, moment_column
from pipelines.tables.contract import COUNT, MOMENT, TEXT, ids_as_text

ACTS = pl.Schema({"user_id": TEXT, "at": MOMENT, "since": MOMENT, "act": TEXT, "value": COUNT})
"""``since`` is when the thing began that the act belongs to: the cart for removals and abandonments, else ``at``."""

ACT_COLUMNS = ("cart_id", "user_id", "timestamp", "type", "total_cents")
KINDS = VIEW, CART, ADD, REMOVAL, CHECKOUT, ORDER, ABANDONED = (
    *("view", "cart", "add", "removal", "checkout", "order", "abandoned"),
)
EVENT_OF = {ADD: "ItemAdded", REMOVAL: "ItemRemoved", CHECKOUT: "CheckoutStarted", ORDER: "CheckoutCompleted"}
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Acted:
    """The rows of ACTS as numbers, in any order: ``user`` counts into the texts ``users``, ``act`` into KINDS.

    ``at`` and ``since`` are microseconds. No act is without its user.
    """

    users: pa.Array
    user: Ints
    at: Ints
    since: Ints
    act: Ints
    value: Ints

    @classmethod
    def of(cls, acts: pl.DataFrame) -> Acted:
        """What a frame of ACTS says."""
        table = acts.select(ACTS.names()).to_arrow()
        user, users = numbered(table["user_id"])
        at, since = micros(table["at"]), micros(table["since"])
        return cls(users, user, at, since, step_numbers(table["act"], KINDS), table["value"].to_numpy())

    def frame(self) -> pl.DataFrame:
        """The frame of ACTS that says the same."""
        return pl.DataFrame(
            {
                "user_id": texts(self.users).gather(self.user),
                "at": pl.Series(self.at).cast(MOMENT),
                "since": pl.Series(self.since).cast(MOMENT),
                "act": pl.Series(KINDS).gather(self.act),
                "value": self.value,
            },
            schema=ACTS,
        )


def acts(events: Frame, *, views: Frame | None = None, episodes: Frame | None = None) -> pl.DataFrame:
    """What users did that experiments measure; columns user_id, at, since, act, value.

    Acts: add, removal and checkout per event; order, once per cart, with value the charged cents; cart, once per cart,
    at its first item; view, from ``views`` (user_id, at); abandoned, once per cart, at its first of the abandonment
    ``episodes`` (cart_id, abandoned_at). ``events`` is any frame of EVENTS. Acts without a user are left out.
    No order. Raises TableError for a missing column.
    """
    parts = [acted(events, episodes), *([] if views is None else [viewed(views)])]
    return pl.concat(part.frame() for part in parts)


def acted(events: Frame, episodes: Frame | None = None) -> Acted:
    """``acts`` of whole carts as numbers, without views."""
    table = columns_of(events, ACT_COLUMNS)
    kind = step_numbers(table["type"], [EVENT_OF.get(act, "") for act in KINDS])
    table, kind = table.filter(pa.array(kind >= 0)), kind[kind >= 0]
    user, users = numbered(table["user_id"])
    cart, carts = numbered(table["cart_id"])
    at, cents = micros(table["timestamp"]), table["total_cents"].fill_null(0).to_numpy()

    def rows_of(act: str) -> Ints:
        return np.flatnonzero(kind == KINDS.index(act))

    def told(act: str, rows: Ints, value: Ints | None = None) -> tuple[Ints, ...]:
        return _told(act, user[rows], at[rows], at[rows], value)

    first, ordered = (_earliest(rows_of(act), cart, at, len(carts)) for act in (ADD, ORDER))
    ordered = ordered[ordered >= 0]

    def told_of_carts(act: str, of: Ints, when: Ints) -> tuple[Ints, ...]:
        begun = first[of] >= 0
        beginning = first[of[begun]]
        return _told(act, user[beginning], when[begun], at[beginning])

    removed = rows_of(REMOVAL)
    parts = [
        told(ADD, rows_of(ADD)),
        told(CHECKOUT, rows_of(CHECKOUT)),
        told(ORDER, ordered, cents[ordered]),
        told(CART, first[first >= 0]),
        told_of_carts(REMOVAL, cart[removed], at[removed]),
        told_of_carts(ABANDONED, *_abandoned(carts, episodes)),
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    known = columns[0] >= 0
    return Acted(users, *(column[known] for column in columns))


def viewed(views: Frame) -> Acted:
    """``acts`` of product views alone, as numbers."""
    table = columns_of(views, ("user_id", "at"))
    user, users = numbered(table["user_id"])
    at, known = micros(table["at"]), user >= 0
    return Acted(users, *(column[known] for column in _told(VIEW, user, at, at)))


def _told(act: str, user: Ints, at: Ints, since: Ints, value: Ints | None = None) -> tuple[Ints, ...]:
    return user, at, since, np.full(len(at), KINDS.index(act), np.int8), np.zeros_like(at) if value is None else value


def _earliest(rows: Ints, cart: Ints, at: Ints, carts: int) -> Ints:
    """Of some rows the earliest of each cart, the first one of several at one moment; -1 for carts without any."""
    least = np.full(carts, NEVER)
    np.minimum.at(least, cart[rows], at[rows])
    rows = rows[at[rows] == least[cart[rows]]][::-1]
    found = np.full(carts, -1)
    found[cart[rows]] = rows
    return found


def _abandoned(carts: pa.Array, episodes: Frame | None) -> tuple[Ints, Ints]:
    """The numbers of the carts that were abandoned, and when each was first."""
    if episodes is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    silences = moment_column(collected(episodes, ["cart_id", "abandoned_at"]), "abandoned_at")
    known = cast("pl.Series", pl.from_arrow(carts)).alias("cart_id").to_frame().with_row_index("cart")
    if silences.schema["cart_id"] != known.schema["cart_id"]:
        silences, known = ids_as_text(silences), ids_as_text(known)
    first = silences.join(known, on="cart_id").group_by("cart").agg(pl.col("abandoned_at").min())
    return first["cart"].to_numpy().astype(np.int64), first["abandoned_at"].to_physical().to_numpy()
