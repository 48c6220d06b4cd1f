"""What can happen to one simulated cart: each function changes the cart and writes the events of it. Compiled."""

from __future__ import annotations

from typing import Any

from cart_core.simulator.behaviour import MAX_COUPONS, MAX_LINES
from cart_core.simulator.compiled import constant, inner
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
    World,
)

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MOST_EVENTS = 80
MOST_UNITS = constant(5)
DELAY_US = constant(45 * SECOND_US)
FIRST = constant(0)
TWO = constant(2)


@inner
def emit(world: World, cart: Any, kind: int) -> Any:
    """The cart's next event, without its fields."""
    row = world.events[world.counts[EVENTS_N]]
    world.counts[EVENTS_N] += 1
    cart.version += 1
    row.cart = cart.number
    row.version = cart.version
    row.kind = kind
    row.at = cart.clock
    row.product = NONE
    row.coupon = NONE
    row.reason = NONE
    row.command = NONE
    row.quantity = NONE
    row.old_quantity = NONE
    row.cents = NONE
    row.old_cents = NONE
    return row


@inner
def units(world: World) -> int:
    """How many units stand in the cart."""
    count = 0
    for slot in range(MAX_LINES):
        if world.lines[slot].product != NONE:
            count += world.lines[slot].quantity
    return count


@inner
def line_count(world: World) -> int:
    """How many products stand in the cart."""
    count = 0
    for slot in range(MAX_LINES):
        if world.lines[slot].product != NONE:
            count += 1
    return count


@inner
def slot_of(world: World, product: int) -> int:
    """The slot that holds a product, NONE where none does; the product NONE finds a free slot."""
    for slot in range(MAX_LINES):
        if world.lines[slot].product == product:
            return slot
    return NONE


@inner
def any_slot(world: World) -> int:
    """A slot that holds a product, each as likely; there must be one."""
    wanted = below(world.stream, line_count(world))
    for slot in range(MAX_LINES):
        if world.lines[slot].product != NONE:
            if wanted == 0:
                return slot
            wanted -= 1
    return NONE


@inner
def silence_ends(world: World, cart: Any, at: int, resumed_at: int) -> None:
    """Note the silence since the last activity, if it was long enough and the cart held something."""
    held = units(world)
    if held == 0 or at - cart.last_activity_at < world.settings.idle_us:
        return
    row = world.episodes[world.counts[EPISODES_N]]
    world.counts[EPISODES_N] += 1
    cart.episodes += 1
    row.cart = cart.number
    row.number = cart.episodes
    row.at_checkout = cart.at_checkout
    row.lines = line_count(world)
    row.units = held
    row.last_activity_at = cart.last_activity_at
    row.resumed_at = resumed_at


@inner
def shopper_acts(world: World, cart: Any) -> None:
    """Every activity of the shopper begins here, before it changes anything."""
    silence_ends(world, cart, cart.clock, cart.clock)
    cart.last_activity_at = cart.clock


@inner
def price_at(world: World, product: int, at: int) -> int:
    """What the catalog asks for a product at a moment."""
    change = world.change_start[product]
    last = world.change_start[product + 1] - 1
    while change < last and world.changes[change + 1].at <= at:
        change += 1
    return int(world.changes[change].cents)


@inner
def await_change(world: World, line: Any, change: int, after: int) -> None:
    """Let the line wait for the first change from ``change`` on that carts are told of after a moment."""
    line.change_at = NEVER
    while change < world.change_start[line.product + 1]:
        told_at = world.changes[change].at + line.delay_us
        if world.changes[change].pushed and told_at > after:
            line.change = change
            line.change_at = told_at
            return
        change += 1


@inner
def add(world: World, cart: Any, product: int, quantity: int) -> None:
    """Add a product: a new line, or more of one that stands."""
    slot = slot_of(world, product)
    if slot != NONE:
        add_again(world, cart, slot, quantity)
        return
    slot = slot_of(world, NONE)
    if slot == NONE:
        return
    shopper_acts(world, cart)
    line = world.lines[slot]
    line.product = product
    line.quantity = quantity
    line.price_cents = price_at(world, product, cart.clock)
    line.original_cents = line.price_cents
    line.delay_us = (slot + 1) * SECOND_US + below(world.stream, DELAY_US)
    await_change(world, line, world.change_start[product], cart.clock)
    row = emit(world, cart, ITEM_ADDED)
    row.product = product
    row.quantity = quantity
    row.cents = line.price_cents


@inner
def add_again(world: World, cart: Any, slot: int, quantity: int) -> None:
    """More of a line that stands; a price that the catalog changed meanwhile comes with it, as one command."""
    line = world.lines[slot]
    asked = price_at(world, line.product, cart.clock)
    shopper_acts(world, cart)
    row = emit(world, cart, QUANTITY_CHANGED)
    row.product = line.product
    row.old_quantity = line.quantity
    row.quantity = line.quantity + quantity
    line.quantity += quantity
    if asked == line.price_cents:
        return
    cart.commands += 1
    row.command = cart.commands
    update_price(world, cart, line, asked, RE_ADDED)
    world.events[world.counts[EVENTS_N] - 1].command = cart.commands


@inner
def update_price(world: World, cart: Any, line: Any, cents: int, reason: int) -> None:
    """The line's current price becomes another one."""
    row = emit(world, cart, PRICE_UPDATED)
    row.product = line.product
    row.old_cents = line.price_cents
    row.cents = cents
    row.reason = reason
    line.price_cents = cents


@inner
def change_quantity(world: World, cart: Any) -> None:
    """Set the quantity of a line to another one."""
    line = world.lines[any_slot(world)]
    wanted = 1 + below(world.stream, MOST_UNITS)
    if wanted == line.quantity:
        wanted += 1
    shopper_acts(world, cart)
    row = emit(world, cart, QUANTITY_CHANGED)
    row.product = line.product
    row.old_quantity = line.quantity
    row.quantity = wanted
    line.quantity = wanted


@inner
def remove(world: World, cart: Any) -> None:
    """Take a line out."""
    line = world.lines[any_slot(world)]
    shopper_acts(world, cart)
    row = emit(world, cart, ITEM_REMOVED)
    row.product = line.product
    line.product = NONE
    line.change_at = NEVER


@inner
def apply_coupon(world: World, cart: Any) -> None:
    """Apply a coupon that is valid now and not on the cart; or take one off where there is no room."""
    first = 0
    while first < len(world.offers) and world.offers[first].ends_at <= cart.clock:
        first += 1
    campaign = first + below(world.stream, TWO)
    known = campaign >= len(world.offers) or world.offers[campaign].starts_at > cart.clock
    known = known or world.offers[campaign].ends_at <= cart.clock
    for slot in range(MAX_COUPONS):
        known = known or world.coupons[slot] == campaign
    for slot in range(MAX_COUPONS):
        if not known and world.coupons[slot] == NONE:
            shopper_acts(world, cart)
            emit(world, cart, COUPON_APPLIED).coupon = campaign
            world.coupons[slot] = campaign
            return
    if world.coupons[0] != NONE:
        shopper_acts(world, cart)
        drop_coupon(world, cart, FIRST, BY_SHOPPER)


@inner
def drop_coupon(world: World, cart: Any, slot: int, reason: int) -> None:
    """A coupon leaves the cart; only where the shopper takes it off is that an activity."""
    row = emit(world, cart, COUPON_REMOVED)
    row.coupon = world.coupons[slot]
    row.reason = reason
    world.coupons[slot] = NONE


@inner
def expire(world: World, cart: Any, slot: int) -> None:
    """A coupon's end is noticed; some shoppers then take an item out before long."""
    drop_coupon(world, cart, slot, EXPIRED)
    lag_us = draw(world.stream) * world.settings.expiry_removal_within_s * SECOND_US
    if draw(world.stream) < world.settings.expiry_removal:
        cart.reaction_at = cart.clock + SECOND_US + int(lag_us)


@inner
def start_checkout(world: World, cart: Any) -> None:
    """The shopper goes to the checkout."""
    shopper_acts(world, cart)
    emit(world, cart, CHECKOUT_STARTED)
    cart.at_checkout = 1


@inner
def complete_checkout(world: World, cart: Any) -> None:
    """The order is placed and the charged total stated."""
    silence_ends(world, cart, cart.clock, NEVER)
    emit(world, cart, CHECKOUT_COMPLETED).cents = cart.charged_cents
    cart.completed_at = cart.clock


@inner
def announce_price(world: World, cart: Any, slot: int) -> None:
    """A price change reaches a cart, unless it has lain still for too long or the price is the same."""
    line = world.lines[slot]
    cents = world.changes[line.change].cents
    awake = cart.clock - cart.last_activity_at <= world.settings.reprice_days * DAY_US
    if awake and cents != line.price_cents and cart.version < MOST_EVENTS:
        update_price(world, cart, line, cents, FROM_CATALOG)
    await_change(world, line, line.change + 1, cart.clock)


@inner
def next_due(world: World, cart: Any) -> tuple[int, int, int]:
    """When something happens next without the shopper, in which slot, and what."""
    at, slot, kind = cart.reaction_at, NONE, ITEM_REMOVED
    for each in range(MAX_LINES):
        if world.lines[each].change_at < at:
            at, slot, kind = world.lines[each].change_at, each, PRICE_UPDATED
    for each in range(MAX_COUPONS):
        if world.coupons[each] != NONE:
            ends_at = world.offers[world.coupons[each]].ends_at + (MAX_LINES + each) * SECOND_US + DELAY_US
            if ends_at < at:
                at, slot, kind = ends_at, each, COUPON_REMOVED
    return at, slot, kind


@inner
def pass_time(world: World, cart: Any, until: int) -> None:
    """Let everything happen that is due until a moment: price changes, coupon ends, and reactions to those."""
    until = min(until, world.settings.end_us - 1)
    while True:
        at, slot, kind = next_due(world, cart)
        if at > until:
            break
        cart.clock = max(cart.clock, at)
        if kind == PRICE_UPDATED:
            announce_price(world, cart, slot)
        elif kind == COUPON_REMOVED:
            expire(world, cart, slot)
        else:
            cart.reaction_at = NEVER
            if line_count(world) > 0:
                remove(world, cart)
    cart.clock = max(cart.clock, until)


@inner
def product_wanted(world: World) -> int:
    """A product, popular ones more often."""
    return int(pick(world.stream, world.product_shares))
