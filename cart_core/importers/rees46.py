"""The clickstream files of REES46: a cosmetics shop, a multi-category store; one row for everything a visitor did.

Columns event_time, event_type (view, cart, remove_from_cart, purchase), product_id, price, user_id, user_session,
and in some files category_id, category_code, brand; in any order. There is no event id and no quantity: a row is
known again by these six values, whatever form its time and price are written in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core.importers import acts, ids, money, times
from cart_core.importers.checks import TIME_RULE, Checks
from cart_core.importers.columns import Chunk, read_columns
from cart_core.importers.ids import Flags
from cart_core.importers.sources import ActBatch, Options

NEEDED = ("event_time", "event_type", "product_id", "price", "user_id", "user_session")
KINDS = {"view": acts.VIEW, "cart": acts.ADD, "remove_from_cart": acts.REMOVE, "purchase": acts.PURCHASE}
NAMESPACE = ids.namespace("rees46")


def batches(files: Sequence[str], options: Options) -> Iterator[ActBatch]:
    """What visitors did, streaming. Raises SourceError where a file has not the columns."""
    for chunk in read_columns(files, options, NEEDED, even="user_session"):
        rows = _acts(chunk, options)
        yield rows


def _acts(chunk: Chunk, options: Options) -> ActBatch:
    at = times.parse_column(chunk.columns["event_time"])
    kind = pc.index_in(chunk.columns["event_type"], pa.array(list(KINDS))).fill_null(-1).to_numpy()
    price = money.minor_units_column(chunk.columns["price"], options.currency)
    is_view = kind == list(KINDS).index("view")
    checks = _checked(chunk, options, at != times.NO_TIME, kind >= 0, price, is_view)
    sound = checks.sound()
    kept = {name: column.filter(pa.array(sound)) for name, column in chunk.columns.items()}
    session = pc.if_else(pc.equal(kept["user_session"], ""), None, kept["user_session"])
    key = kept["user_id"] if options.cart_key == "user" else kept["user_session"]
    rows = int(sound.sum())
    columns = {
        "file": pa.array(np.full(rows, chunk.number, np.int32)),
        "row": pa.array(chunk.rows[sound]),
        "row_id": ids.column(ids.named_all(NAMESPACE, _contents(kept, at[sound]))),
        "key": key,
        "session": session,
        "user_id": kept["user_id"],
        "at": pa.array(at[sound]),
        "act": pa.array(np.array(list(KINDS.values()), np.int8)[kind[sound]]),
        "product_id": kept["product_id"],
        "product_name": _names(kept),
        "quantity": pa.array(np.ones(rows, np.int64)),
        "price_cents": price.filter(pa.array(sound)),
        "currency": pa.array([options.currency] * rows, pa.string()),
        "raw": chunk.raw.filter(pa.array(sound)),
    }
    return ActBatch(chunk.read, acts.table(rows, columns), [*chunk.set_aside, *checks.set_aside()])


def _checked(chunk: Chunk, options: Options, timed: Flags, known: Flags, price: pa.Array, is_view: Flags) -> Checks:
    checks = Checks(chunk)
    checks.need(known, "unknown_type", "event_type", "one of " + ", ".join(KINDS))
    checks.need(timed, "bad_time", "event_time", TIME_RULE)
    checks.need_text("product_id", "bad_value")
    checks.need_text("user_id", "bad_user")
    positive = pc.greater(price.fill_null(0), 0).to_numpy(zero_copy_only=False)
    places = money.exponent(options.currency)
    checks.need(positive | is_view, "bad_price", "price", f"an amount above 0 with at most {places} decimals")
    if options.cart_key == "session":
        checks.need_text("user_session", "no_session", among=~is_view)
    return checks


def _contents(columns: dict[str, pa.Array], at: np.ndarray) -> list[bytes]:
    """What tells rows apart: time, type, product, price, user and session, each in one form."""
    texts = [pa.array(at).cast(pa.string()), columns["event_type"], columns["product_id"], _one_form(columns["price"])]
    texts += [columns["user_id"], columns["user_session"]]
    contents: list[bytes] = pc.binary_join_element_wise(*texts, "\x1f").cast(pa.binary()).to_pylist()
    return contents


def _one_form(prices: pa.Array) -> pa.Array:
    """Decimal texts without what does not change their value: 5.20 and 5.2 are one price."""
    coded = pc.dictionary_encode(prices)
    return pa.array([_plain(text) for text in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


def _plain(text: str) -> str:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return text
    return f"{amount.normalize():f}" if amount.is_finite() and abs(amount.adjusted()) < 40 else text  # noqa: PLR2004


def _names(columns: dict[str, pa.Array]) -> pa.Array:
    """A product's name as far as the file tells it: brand and kind, or its id."""
    known = [name for name in ("brand", "category_code") if name in columns]
    if not known:
        return columns["product_id"]
    texts = [pc.extract_regex(columns[name], r"(?P<leaf>[^.]*)$").field("leaf") for name in known]
    words = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*texts, " "))
    return pc.if_else(pc.equal(words, ""), columns["product_id"], words)
