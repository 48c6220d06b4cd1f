"""What can happen to one simulated cart: each function changes the cart and writes the events of it. Compiled."""

from __future__ import annotations

from typing import Any

from numba import njit

from cart_core.simulator.behaviour import MAX_COUPONS, MAX_LINES
from cart_core.simulator.randomness import below, draw, pick
from cart_core.simulator.records import (
    BY_SHOPPER,
    CHECKOUT_COMPLETED,
    CHECKOUT_STARTED,
    COUPON_APPLIED,
    COUPON_REMOVED,
    EPISODES_N,
    EVENTS_N,
    EXPIRED,
    FROM_CATALOG,
    ITEM_ADDED,
    ITEM_REMOVED,
    NEVER,
    NONE,
    PRICE_UPDATED,
    QUANTITY_CHANGED,
    RE_ADDED,
)

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MOST_EVENTS = 80
MOST_UNITS = 5
DELAY_US = 45 * SECOND_US


@njit(cache=True)
def emit(cart: Any, sink: Any, kind: int, at: int) -> Any:
    """The cart's next event, without its fields."""
    row = sink.events[sink.counts[EVENTS_N]]
    sink.counts[EVENTS_N] += 1
    cart.version += 1
    row.cart = cart.number
    row.version = cart.version
    row.kind = kind
    row.at = at
    row.product = NONE
    row.coupon = NONE
    row.reason = NONE
    row.command = NONE
    row.quantity = NONE
    row.old_quantity = NONE
    row.cents = NONE
    row.old_cents = NONE
    return row


@njit(cache=True)
def units(lines: Any) -> int:
    """How many units stand in the cart."""
    count = 0
    for slot in range(MAX_LINES):
        if lines[slot].product != NONE:
            count += lines[slot].quantity
    return count


@njit(cache=True)
def line_count(lines: Any) -> int:
    """How many products stand in the cart."""
    count = 0
    for slot in range(MAX_LINES):
        if lines[slot].product != NONE:
            count += 1
    return count


@njit(cache=True)
def slot_of(lines: Any, product: int) -> int:
    """The slot that holds a product, NONE where none does; the product NONE finds a free slot."""
    for slot in range(MAX_LINES):
        if lines[slot].product == product:
            return slot
    return NONE


@njit(cache=True)
def any_slot(stream: Any, lines: Any) -> int:
    """A slot that holds a product, each as likely; there must be one."""
    wanted = below(stream, line_count(lines))
    for slot in range(MAX_LINES):
        if lines[slot].product != NONE:
            if wanted == 0:
                return slot
            wanted -= 1
    return NONE


@njit(cache=True)
def silence_ends(world: Any, cart: Any, lines: Any, sink: Any, at: int, resumed_at: int) -> None:
    """Note the silence since the last activity, if it was long enough and the cart held something."""
    held = units(lines)
    if held == 0 or at - cart.last_activity_at < world.idle_us:
        return
    row = sink.episodes[sink.counts[EPISODES_N]]
    sink.counts[EPISODES_N] += 1
    cart.episodes += 1
    row.cart = cart.number
    row.number = cart.episodes
    row.at_checkout = cart.at_checkout
    row.lines = line_count(lines)
    row.units = held
    row.last_activity_at = cart.last_activity_at
    row.resumed_at = resumed_at


@njit(cache=True)
def shopper_acts(world: Any, cart: Any, lines: Any, sink: Any, at: int) -> None:
    """Every activity of the shopper begins here, before it changes anything."""
    silence_ends(world, cart, lines, sink, at, at)
    cart.last_activity_at = at


@njit(cache=True)
def price_at(world: Any, product: int, at: int) -> int:
    """What the catalog asks for a product at a moment."""
    change = world.change_start[product]
    last = world.change_start[product + 1] - 1
    while change < last and world.change_at[change + 1] <= at:
        change += 1
    return int(world.change_cents[change])


@njit(cache=True)
def await_change(world: Any, line: Any, change: int, after: int) -> None:
    """Let the line wait for the first change from ``change`` on that carts are told of after a moment."""
    line.change_at = NEVER
    while change < world.change_start[line.product + 1]:
        told_at = world.change_at[change] + line.delay_us
        if world.change_pushed[change] and told_at > after:
            line.change = change
            line.change_at = told_at
            return
        change += 1


@njit(cache=True)
def add(world: Any, cart: Any, lines: Any, sink: Any, stream: Any, product: int, quantity: int) -> None:
    """Add a product: a new line, or more of one that stands."""
    slot = slot_of(lines, product)
    if slot != NONE:
        add_again(world, cart, lines, sink, slot, quantity)
        return
    slot = slot_of(lines, NONE)
    if slot == NONE:
        return
    at = cart.clock
    shopper_acts(world, cart, lines, sink, at)
    line = lines[slot]
    line.product = product
    line.quantity = quantity
    line.price_cents = price_at(world, product, at)
    line.original_cents = line.price_cents
    line.delay_us = (slot + 1) * SECOND_US + below(stream, DELAY_US)
    await_change(world, line, world.change_start[product], at)
    row = emit(cart, sink, ITEM_ADDED, at)
    row.product = product
    row.quantity = quantity
    row.cents = line.price_cents


@njit(cache=True)
def add_again(world: Any, cart: Any, lines: Any, sink: Any, slot: int, quantity: int) -> None:
    """More of a line that stands; a price that the catalog changed meanwhile comes with it, as one command."""
    line = lines[slot]
    asked = price_at(world, line.product, cart.clock)
    shopper_acts(world, cart, lines, sink, cart.clock)
    row = emit(cart, sink, QUANTITY_CHANGED, cart.clock)
    row.product = line.product
    row.old_quantity = line.quantity
    row.quantity = line.quantity + quantity
    line.quantity += quantity
    if asked == line.price_cents:
        return
    cart.commands += 1
    row.command = cart.commands
    update_price(cart, line, sink, asked, RE_ADDED)
    sink.events[sink.counts[EVENTS_N] - 1].command = cart.commands


@njit(cache=True)
def update_price(cart: Any, line: Any, sink: Any, cents: int, reason: int) -> None:
    """The line's current price becomes another one."""
    row = emit(cart, sink, PRICE_UPDATED, cart.clock)
    row.product = line.product
    row.old_cents = line.price_cents
    row.cents = cents
    row.reason = reason
    line.price_cents = cents


@njit(cache=True)
def change_quantity(world: Any, cart: Any, lines: Any, sink: Any, stream: Any) -> None:
    """Set the quantity of a line to another one."""
    line = lines[any_slot(stream, lines)]
    wanted = 1 + below(stream, MOST_UNITS)
    if wanted == line.quantity:
        wanted += 1
    shopper_acts(world, cart, lines, sink, cart.clock)
    row = emit(cart, sink, QUANTITY_CHANGED, cart.clock)
    row.product = line.product
    row.old_quantity = line.quantity
    row.quantity = wanted
    line.quantity = wanted


@njit(cache=True)
def remove(world: Any, cart: Any, lines: Any, sink: Any, stream: Any) -> None:
    """Take a line out."""
    line = lines[any_slot(stream, lines)]
    shopper_acts(world, cart, lines, sink, cart.clock)
    row = emit(cart, sink, ITEM_REMOVED, cart.clock)
    row.product = line.product
    line.product = NONE
    line.change_at = NEVER


@njit(cache=True)
def apply_coupon(world: Any, cart: Any, lines: Any, coupons: Any, sink: Any, stream: Any) -> None:
    """Apply a coupon that is valid now and not on the cart; or take one off where there is no room."""
    first = 0
    while first < len(world.coupon_starts) and world.coupon_ends[first] <= cart.clock:
        first += 1
    campaign = first + below(stream, 2)
    known = campaign >= len(world.coupon_starts) or world.coupon_starts[campaign] > cart.clock
    known = known or world.coupon_ends[campaign] <= cart.clock
    for slot in range(MAX_COUPONS):
        known = known or coupons[slot] == campaign
    for slot in range(MAX_COUPONS):
        if not known and coupons[slot] == NONE:
            shopper_acts(world, cart, lines, sink, cart.clock)
            emit(cart, sink, COUPON_APPLIED, cart.clock).coupon = campaign
            coupons[slot] = campaign
            return
    if coupons[0] != NONE:
        shopper_acts(world, cart, lines, sink, cart.clock)
        drop_coupon(cart, coupons, sink, 0, BY_SHOPPER)


@njit(cache=True)
def drop_coupon(cart: Any, coupons: Any, sink: Any, slot: int, reason: int) -> None:
    """A coupon leaves the cart; only where the shopper takes it off is that an activity."""
    row = emit(cart, sink, COUPON_REMOVED, cart.clock)
    row.coupon = coupons[slot]
    row.reason = reason
    coupons[slot] = NONE


@njit(cache=True)
def expire(world: Any, cart: Any, coupons: Any, sink: Any, stream: Any, slot: int) -> None:
    """A coupon's end is noticed; some shoppers then take an item out before long."""
    drop_coupon(cart, coupons, sink, slot, EXPIRED)
    lag_us = draw(stream) * world.rates.expiry_removal_within_s * SECOND_US
    if draw(stream) < world.rates.expiry_removal:
        cart.reaction_at = cart.clock + SECOND_US + int(lag_us)


@njit(cache=True)
def start_checkout(world: Any, cart: Any, lines: Any, sink: Any) -> None:
    """The shopper goes to the checkout."""
    shopper_acts(world, cart, lines, sink, cart.clock)
    emit(cart, sink, CHECKOUT_STARTED, cart.clock)
    cart.at_checkout = 1


@njit(cache=True)
def complete_checkout(world: Any, cart: Any, lines: Any, sink: Any) -> None:
    """The order is placed and the charged total stated."""
    silence_ends(world, cart, lines, sink, cart.clock, NEVER)
    emit(cart, sink, CHECKOUT_COMPLETED, cart.clock).cents = cart.charged_cents
    cart.completed_at = cart.clock


@njit(cache=True)
def announce_price(world: Any, cart: Any, lines: Any, sink: Any, slot: int) -> None:
    """A price change reaches a cart, unless it has lain still for too long or the price is the same."""
    line = lines[slot]
    cents = world.change_cents[line.change]
    awake = cart.clock - cart.last_activity_at <= world.rates.reprice_days * DAY_US
    if awake and cents != line.price_cents and cart.version < MOST_EVENTS:
        update_price(cart, line, sink, cents, FROM_CATALOG)
    await_change(world, line, line.change + 1, cart.clock)


@njit(cache=True)
def pass_time(world: Any, cart: Any, lines: Any, coupons: Any, sink: Any, stream: Any, until: int) -> None:
    """Let everything happen that is due until a moment: price changes, coupon ends, and reactions to those."""
    until = min(until, world.end_us - 1)
    while True:
        at, slot, kind = cart.reaction_at, NONE, ITEM_REMOVED
        for each in range(MAX_LINES):
            if lines[each].change_at < at:
                at, slot, kind = lines[each].change_at, each, PRICE_UPDATED
        for each in range(MAX_COUPONS):
            if coupons[each] != NONE:
                ends_at = world.coupon_ends[coupons[each]] + (MAX_LINES + each) * SECOND_US + DELAY_US
                if ends_at < at:
                    at, slot, kind = ends_at, each, COUPON_REMOVED
        if at > until:
            break
        cart.clock = max(cart.clock, at)
        if kind == PRICE_UPDATED:
            announce_price(world, cart, lines, sink, slot)
        elif kind == COUPON_REMOVED:
            expire(world, cart, coupons, sink, stream, slot)
        else:
            cart.reaction_at = NEVER
            if line_count(lines) > 0:
                remove(world, cart, lines, sink, stream)
    cart.clock = max(cart.clock, until)


@njit(cache=True)
def product_wanted(world: Any, stream: Any) -> int:
    """A product, popular ones more often."""
    return pick(stream, world.product_shares)
