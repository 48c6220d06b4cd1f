"""What shoppers did, as events of carts: the rules by which a click stream becomes a history.

Everything of one key is decided together and in order, on top of what the store holds already, so that the outcome
does not depend on how the rows were divided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules
from cart_core.errors import Problem
from cart_core.importers import acts as act
from cart_core.importers.carts import ROWS, ROWS_IN_A_TEXT, Basket, CartIds, Key, Line, Order, order_of, short
from cart_core.importers.ids import Bytes
from cart_core.importers.made import Made, Note, table_of

INFERRED = "inferred"
"""The reason of a PriceUpdated that was seen in a click stream."""

RULES = {
    "remove_without_add": ("productId", "a product that is in the cart"),
    "purchase_without_add": ("productId", "bought from a cart that something was put into"),
    "checkout_without_add": ("type", "done with a cart that something was put into"),
    "coupon_not_applied": ("couponCode", "a coupon that is on the cart"),
    "order_known": ("orderId", "an order that is not complete yet"),
    "other_currency": ("currency", "the currency of the product's line"),
    "too_many": ("quantity", f"at most {rules.INT32_MAX} units of a line, and a total of 64 bits"),
    "stale_snapshot": ("timestamp", "later than the cart's last change"),
    "no_change": ("type", "something that changes the cart"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source row that made no event: the place of its first act, the reason, what is wrong."""

    place: int
    reason: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Derived:
    """``events`` (EVENTS) that follow from acts, how many source ``rows`` went into them, and the other rows."""

    events: pa.Table
    rows: int
    refused: list[Refusal]


def derive(source: str, acts: pa.Table, row_ids: Bytes, cart_ids: CartIds, keys: Mapping[str, Key]) -> Derived:
    """The events that acts amount to, and the rows that amount to none.

    ``acts`` (ACTS without views) stand key by key, by time, file, row and part; ``row_ids`` are the ids of their
    source rows. ``keys`` has what the store holds of a key; a key that it lacks is new. Events of one cart have
    ascending versions behind the store's.
    """
    work = _Work(acts, row_ids, cart_ids)
    starts = _starts(acts["key"])
    names = acts["key"].take(pa.array(starts, pa.int64())).to_pylist()
    first = cart_ids.first(names)
    for place, (start, stop) in enumerate(pairwise([*starts, len(acts)])):
        work.run(names[place], keys.get(names[place]) or Key(), first[place].tobytes(), range(start, stop))
    return Derived(table_of(work.made, work.notes, acts, row_ids, source), work.rows, work.refusals)


def _starts(keys: pa.ChunkedArray) -> list[int]:
    if not len(keys):
        return []
    whole = keys.combine_chunks()
    changed = pc.not_equal(whole.slice(1), whole.slice(0, len(whole) - 1)).to_numpy(zero_copy_only=False)
    return [0, *(np.flatnonzero(changed) + 1).tolist()]


class _Work:
    """The acts of one batch as plain columns, and what has been decided of them so far."""

    def __init__(self, acts: pa.Table, row_ids: Bytes, cart_ids: CartIds) -> None:
        self.made: list[Made] = []
        self.notes: list[Note] = []
        self.refusals: list[Refusal] = []
        self.rows = 0
        self._columns = acts
        self._row_ids = row_ids
        self._cart_ids = cart_ids
        self._act: list[int] = acts["act"].to_pylist()
        self._part: list[int] = acts["part"].to_pylist()
        self._at: list[int] = acts["at"].to_pylist()
        self._product: list[str] = acts["product_id"].to_pylist()
        self._quantity: list[int | None] = acts["quantity"].to_pylist()
        self._price: list[int | None] = acts["price_cents"].to_pylist()
        self._currency: list[str | None] = acts["currency"].to_pylist()
        self._order_id: list[str | None] = acts["order_id"].to_pylist()
        self._nth = 0
        self._refused: tuple[str, object] | None = None
        self._in_order = False
        self._do: dict[int, Callable[[int], None]] = {
            act.ADD: self._add,
            act.REMOVE: self._remove,
            act.SET: self._set,
            act.KEEP: self._keep,
            act.COUPON: self._coupon,
            act.SET_COUPON: self._coupon,
            act.UNCOUPON: self._uncoupon,
            act.KEEP_COUPONS: self._keep_coupons,
            act.CHECKOUT: self._checkout,
            act.PURCHASE: self._purchase,
            act.ORDER: self._place_order,
        }

    def run(self, name: str, key: Key, first: bytes, places: range) -> None:
        """Decide all acts of one key, in order."""
        self._name, self._key, self._first = name, key, first
        self._orders: dict[Order, list[int]] = {}
        self._verdicts: dict[Order, str | None] = {}
        if act.PURCHASE in self._act[places.start : places.stop]:
            for place in places:
                if self._act[place] == act.PURCHASE:
                    self._orders.setdefault(order_of(self._order_id[place], self._at[place]), []).append(place)
        start = places.start
        for place in places:
            if self._part[place] == 0:
                self._end_row(start)
                start, self._nth, self._refused, self._in_order = place, 0, None, False
                self._before = key.at
            self._do[self._act[place]](place)
        self._end_row(start)
        self._nth, self._in_order = 0, False

    def _end_row(self, place: int) -> None:
        if self._nth or self._in_order:
            self.rows += 1
        elif self._refused is not None:
            reason, value = self._refused
            field, rule = RULES[reason]
            self.refusals.append(Refusal(place, reason, Problem(field, value, rule)))
            self._refused = None

    def _is_stale(self, place: int) -> bool:
        """Whether an act that tells a state is older than the last change before its row."""
        return self._act[place] in act.SNAPSHOT and self._before is not None and self._at[place] < self._before

    def _refuse(self, reason: str, value: object) -> None:
        self._refused = self._refused or (reason, value)

    def _make(self, place: int, basket: Basket, kind: str, product: str | None = None, **content: Any) -> None:
        basket.version += 1
        basket.in_checkout = kind == "CheckoutStarted"
        self._key.at = max(self._at[place], self._at[place] if self._key.at is None else self._key.at)
        self.made.append(Made(place, self._nth, basket.cart_id, basket.version, kind, product, **content))
        self._nth += 1

    def _note(self, key: str, value: str, events: int = 1) -> None:
        """Add metadata to the last events."""
        self.notes += [Note(event, key, value) for event in range(len(self.made) - events, len(self.made))]

    def _opened(self) -> Basket:
        """The open basket of the key, a new one where the last was closed by an order."""
        key = self._key
        if key.open is None:
            key.baskets += 1
            later = key.baskets > 1
            key.open = Basket(self._cart_ids.later(self._name, key.baskets) if later else self._first)
        return key.open

    def _line(self, product: str) -> Line | None:
        return None if self._key.open is None else self._key.open.lines.get(product)

    def _add(self, place: int) -> None:
        product, quantity, price = self._product[place], self._quantity[place] or 0, self._price[place] or 0
        line = self._line(product)
        if line is not None:
            self._change(place, line, line.quantity + quantity)
            return
        basket = self._opened()
        basket.lines[product] = Line(quantity, price, self._currency[place])
        self._make(place, basket, "ItemAdded", product, quantity=quantity, price_cents=price)

    def _change(self, place: int, line: Line, quantity: int) -> None:
        """Give a line another quantity, and the act's price where it has one."""
        product, price, basket = self._product[place], self._price[place], self._opened()
        priced = price is not None and price != line.price_cents
        if price is not None and self._currency[place] != line.currency:
            self._refuse("other_currency", self._currency[place])
        elif quantity > rules.INT32_MAX:
            self._refuse("too_many", quantity)
        elif quantity == line.quantity and not priced:
            self._refuse("no_change", product)
        else:
            if quantity != line.quantity:
                self._make(place, basket, "QuantityChanged", product, quantity=quantity, old_quantity=line.quantity)
            if price is not None and priced:
                both = quantity != line.quantity
                self._reprice(place, basket, product, line, price)
                if both:
                    self._note("command_id", str(UUID(bytes=self._row_ids[place].tobytes())), events=2)
            line.quantity = quantity

    def _reprice(self, place: int, basket: Basket, product: str, line: Line, price: int) -> None:
        content = {"price_cents": price, "old_price_cents": line.price_cents, "reason": INFERRED}
        self._make(place, basket, "PriceUpdated", product, **content)
        line.price_cents = price

    def _remove(self, place: int) -> None:
        product, quantity = self._product[place], self._quantity[place]
        line = self._line(product)
        if line is None:
            self._refuse("remove_without_add", product)
        elif quantity is None or quantity >= line.quantity:
            self._drop(place, product)
        else:
            self._change(place, line, line.quantity - quantity)

    def _drop(self, place: int, product: str) -> None:
        basket = self._opened()
        del basket.lines[product]
        self._make(place, basket, "ItemRemoved", product)

    def _set(self, place: int) -> None:
        product, quantity = self._product[place], self._quantity[place] or 0
        line = self._line(product)
        if self._is_stale(place):
            self._refuse("stale_snapshot", product)
        elif line is None and quantity == 0:
            self._refuse("no_change", product)
        elif line is None:
            self._add(place)
        elif quantity == 0:
            self._drop(place, product)
        else:
            self._change(place, line, quantity)

    def _keep(self, place: int) -> None:
        kept = set(self._columns["products"][place].as_py() or ())
        lines = self._key.open.lines if self._key.open is not None else {}
        gone = [product for product in lines if product not in kept]
        if self._is_stale(place) or not gone:
            self._refuse("stale_snapshot" if self._is_stale(place) else "no_change", None)
            return
        for product in gone:
            self._drop(place, product)

    def _coupon(self, place: int) -> None:
        code, kind, value = (
            self._columns[name][place].as_py() for name in ("coupon_code", "discount_type", "discount_value")
        )
        coupons = self._key.open.coupons if self._key.open is not None else {}
        if self._is_stale(place) or coupons.get(code) == (kind, value):
            self._refuse("stale_snapshot" if self._is_stale(place) else "no_change", code)
            return
        if code in coupons:
            self._take_off(place, code, None)
        basket = self._opened()
        basket.coupons[code] = (kind, value)
        self._make(place, basket, "CouponApplied", coupon_code=code)

    def _uncoupon(self, place: int) -> None:
        code, reason = (self._columns[name][place].as_py() for name in ("coupon_code", "reason"))
        if self._key.open is None or code not in self._key.open.coupons:
            self._refuse("coupon_not_applied", code)
        else:
            self._take_off(place, code, reason)

    def _keep_coupons(self, place: int) -> None:
        kept = set(self._columns["products"][place].as_py() or ())
        coupons = self._key.open.coupons if self._key.open is not None else {}
        gone = [code for code in coupons if code not in kept]
        if self._is_stale(place) or not gone:
            self._refuse("stale_snapshot" if self._is_stale(place) else "no_change", None)
            return
        for code in gone:
            self._take_off(place, code, None)

    def _take_off(self, place: int, code: str, reason: str | None) -> None:
        basket = self._opened()
        del basket.coupons[code]
        self._make(place, basket, "CouponRemoved", coupon_code=code, reason=reason)

    def _checkout(self, place: int) -> None:
        basket = self._key.open
        if basket is None or basket.in_checkout:
            self._refuse("checkout_without_add" if basket is None else "no_change", None)
        else:
            self._make(place, basket, "CheckoutStarted")

    def _purchase(self, place: int) -> None:
        """The first row of an order completes it for all; the others are in it, or refused with it."""
        order = order_of(self._order_id[place], self._at[place])
        places = self._orders[order]
        if place == places[0]:
            self._verdicts[order] = self._buy(order, places)
        verdict = self._verdicts[order]
        self._in_order = verdict is None
        if verdict is not None:
            self._refuse(verdict, self._product[place])

    def _buy(self, order: Order, places: list[int]) -> str | None:
        """Complete an order, or add late rows to one that is complete; returns why it cannot be."""
        first, closed = places[0], self._key.closed.get(order)
        basket = closed or self._key.open
        if basket is None:
            return "purchase_without_add"
        total = basket.total_cents + sum(self._price[place] or 0 for place in places)
        if total > rules.INT64_MAX:
            return "too_many"
        if closed is None:
            self._reprice_bought(first, basket, places)
        self._complete(first, basket, order, self._order_id[first] or basket.order_id or basket.default_order_id, total)
        further = [short(self._row_ids[place].tobytes()) for place in places[1:]]
        for start in range(0, len(further), ROWS_IN_A_TEXT):
            self._note(f"{ROWS}.{start}" if start else ROWS, " ".join(further[start : start + ROWS_IN_A_TEXT]))
        return None

    def _reprice_bought(self, first: int, basket: Basket, places: list[int]) -> None:
        for place in places:
            line, price = basket.lines.get(self._product[place]), self._price[place]
            if line is not None and price is not None and price != line.price_cents:
                self._reprice(first, basket, self._product[place], line, price)

    def _place_order(self, place: int) -> None:
        order_id, total = self._order_id[place] or "", self._columns["total_cents"][place].as_py()
        basket = self._key.open
        if order_id in self._key.closed:
            self._refuse("order_known", order_id)
        elif basket is None:
            self._refuse("purchase_without_add", order_id)
        else:
            self._complete(place, basket, order_id, order_id, total)

    def _complete(self, place: int, basket: Basket, order: Order, order_id: str, total_cents: int) -> None:
        self._make(place, basket, "CheckoutCompleted", order_id=order_id, total_cents=total_cents)
        basket.order_id, basket.total_cents = order_id, total_cents
        self._key.closed[order] = basket
        if self._key.open is basket:
            self._key.open = None
