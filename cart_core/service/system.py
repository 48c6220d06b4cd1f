"""What the shop does to every cart that it touches: price changes and coupons past their end.

The carts are found by a scan of the store, and each is decided on by itself beside whatever its shopper does: a cart
that was checked out or emptied meanwhile is passed over, one that moved is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import projector, rules
from cart_core.commands import ExpireCoupon, UpdatePrice
from cart_core.errors import CartError, ConcurrencyError, Refused, SourceError
from cart_core.projector.tables import CartTables, tables_of
from cart_core.service.asks import SHOP, Answer, Ask
from cart_core.service.catalogue import Price
from cart_core.store.at_rest import FORGOTTEN
from cart_core.store.base import Store

ASKS_PER_GROUP = 200
CARTS_PER_FOLD = 50_000
FEW_CARTS = 500
TRIES = 20
AskAll = Callable[[Sequence[Ask]], list[Answer | CartError]]


@dataclass(frozen=True, slots=True)
class Changed:
    """``carts`` were changed by ``events``; ``passed`` were closed or changed meanwhile and needed nothing."""

    carts: int
    events: int
    passed: int


def price_asks(store: Store, prices: Sequence[Price]) -> Iterator[Ask]:
    """An UpdatePrice for every line of an open cart whose product is among ``prices`` at another price.

    Lines in another currency than the price are left alone. Where a product is listed twice, the last price counts.
    """
    wanted = {price.product_id: price for price in prices}
    for tables in _open_carts(store, "ItemAdded", "product_id", list(wanted)):
        currencies = dict(_frame(tables.carts).select("cart_id", "currency").iter_rows())
        lines = _frame(tables.lines).select("cart_id", "product_id", "price_cents")
        for cart_id, product_id, price_cents in lines.iter_rows():
            price = wanted.get(product_id)
            if price and price_cents != price.price_cents and currencies[cart_id] in (None, price.currency):
                change = UpdatePrice(product_id, price.price_cents, price.reason, price.currency)
                yield Ask(_text(cart_id), change, SHOP)


def expiry_asks(store: Store, ends_at: Mapping[str, datetime], as_of: datetime) -> Iterator[Ask]:
    """An ExpireCoupon, as of that moment, for every coupon of an open cart that ends at or before it."""
    ended = [code for code, end in ends_at.items() if end <= as_of]
    for tables in _open_carts(store, "CouponApplied", "coupon_code", ended):
        for cart_id, coupons in _frame(tables.carts).select("cart_id", "coupons").iter_rows():
            for code in dict.fromkeys(coupon["code"] for coupon in coupons):
                if code in ended:
                    yield Ask(_text(cart_id), ExpireCoupon(code), SHOP, timestamp=as_of)


def carry_out(ask_all: AskAll, asks: Iterable[Ask]) -> Changed:
    """Carry out the shop's asks in small groups, so that shoppers come in between.

    Asks that shoppers overtook are asked again. Raises the first error that is neither a refusal nor a conflict,
    and ConcurrencyError where a cart never came to rest.
    """
    changed: set[str] = set()
    events = passed = 0
    remaining = iter(asks)
    while group := list(islice(remaining, ASKS_PER_GROUP)):
        for ask, outcome in zip(group, _settled(ask_all, group), strict=True):
            if isinstance(outcome, Answer) and outcome.notes:
                changed.add(ask.cart_id)
                events += 1
            else:
                passed += 1
    return Changed(len(changed), events, passed)


def read_coupon_ends(path: Path) -> dict[str, datetime]:
    """When each coupon ends, from a Parquet file with the columns code and ends_at (null: never).

    Raises SourceError where the file cannot be read or has no such columns.
    """
    try:
        frame = pl.read_parquet(path, columns=["code", "ends_at"]).drop_nulls()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{path} cannot be read as a table of coupons (code, ends_at): {error}") from error
    if not all(rules.Moment().allows(end) for end in frame["ends_at"]):
        raise SourceError(f"{path}: ends_at must be moments with a zone, but is {frame['ends_at'].dtype}")
    return dict(frame.iter_rows())


def _settled(ask_all: AskAll, group: Sequence[Ask]) -> list[Answer | CartError]:
    outcomes = ask_all(group)
    for _ in range(TRIES):
        lost = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, ConcurrencyError)]
        if not lost:
            break
        for place, outcome in zip(lost, ask_all([group[place] for place in lost]), strict=True):
            outcomes[place] = outcome
    for outcome in outcomes:
        if isinstance(outcome, CartError) and not isinstance(outcome, Refused):
            raise outcome
    return outcomes


def _open_carts(store: Store, kind: str, column: str, values: Sequence[str]) -> Iterator[CartTables]:
    """The carts that ever had such an event and are open still, some thousands at a time."""
    wanted = (pl.col("type") == kind) & pl.col(column).is_in(values)
    found = store.scan(columns=["cart_id", "type", column]).filter(wanted).select("cart_id").unique().collect()
    ids: list[bytes] = sorted(found["cart_id"])
    for start in range(0, len(ids), CARTS_PER_FOLD):
        tables = _folded(store, ids[start : start + CARTS_PER_FOLD])
        is_open = pc.and_(
            pc.not_equal(tables.carts["status"], "checked_out"),
            pc.invert(pc.starts_with(tables.carts["user_id"], FORGOTTEN)),
        )
        carts = tables.carts.filter(is_open)
        yield CartTables(carts, tables.lines.filter(pc.is_in(_raw(tables.lines), _raw(carts).combine_chunks())))


def _folded(store: Store, ids: Sequence[bytes]) -> CartTables:
    if len(ids) <= FEW_CARTS:
        return tables_of(store.cart(_text(cart_id)) for cart_id in ids)
    storage = pa.array(ids, pa.binary(16))
    return projector.fold_table(store.read_many(pa.ExtensionArray.from_storage(pa.uuid(), storage)))


def _raw(table: pa.Table) -> pa.ChunkedArray:
    return table["cart_id"].cast(pa.binary(16))


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _text(cart_id: bytes) -> str:
    return str(UUID(bytes=cart_id))
