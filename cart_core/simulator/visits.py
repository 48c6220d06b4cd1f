"""The life of one simulated cart: visits with silences between them, and how it ends. Compiled."""

from __future__ import annotations

from typing import Any

from numba import njit

from cart_core.simulator.behaviour import MAX_COUPONS, MAX_LINES
from cart_core.simulator.happenings import (
    DAY_US,
    MOST_EVENTS,
    SECOND_US,
    add,
    add_again,
    any_slot,
    apply_coupon,
    change_quantity,
    complete_checkout,
    line_count,
    pass_time,
    product_wanted,
    remove,
    silence_ends,
    start_checkout,
    units,
)
from cart_core.simulator.randomness import below, draw, extra, waiting
from cart_core.simulator.records import NEVER, NONE, VIEWS_N

HOUR_US = 3_600 * SECOND_US
NIGHT_ENDS_US = 6 * HOUR_US
CHECKOUT_AFTER_S = 60.0
VIEW_BEFORE_S = 40.0
LOOKING_AROUND_US = 150 * SECOND_US
MOST_STEPS = 8
MOST_VIEWS = 2
UNIT_STEPS = 1_000_000
MOST_OVERCHARGE_CENTS = 900


@njit(cache=True)
def view(cart: Any, sink: Any, product: int, at: int) -> None:
    """The shopper looks at a product."""
    row = sink.views[sink.counts[VIEWS_N]]
    sink.counts[VIEWS_N] += 1
    row.user = cart.user
    row.cart = cart.number
    row.visit = cart.visit
    row.product = product
    row.at = at


@njit(cache=True)
def add_wanted(world: Any, cart: Any, lines: Any, sink: Any, stream: Any, taste: float) -> None:
    """Look at a few products and add the last one."""
    looked = extra(stream, world.rates.more_views, MOST_VIEWS)
    for ahead in range(looked, 0, -1):
        view(cart, sink, product_wanted(world, stream), cart.clock - int((ahead + 1) * VIEW_BEFORE_S * SECOND_US))
    product = product_wanted(world, stream)
    view(cart, sink, product, cart.clock - int((0.2 + 0.7 * draw(stream)) * VIEW_BEFORE_S * SECOND_US))
    quantity = 1 + extra(stream, min(0.12 * taste, 0.6), 2)
    add(world, cart, lines, sink, stream, product, quantity)


@njit(cache=True)
def step(world: Any, cart: Any, lines: Any, coupons: Any, sink: Any, stream: Any, taste: float) -> None:
    """One thing that a shopper does to a cart."""
    rates = world.rates
    chance = draw(stream) if line_count(lines) > 0 else 0.0
    if chance < rates.add:
        add_wanted(world, cart, lines, sink, stream, taste)
    elif chance < rates.add + rates.add_again:
        add_again(world, cart, lines, sink, any_slot(stream, lines), 1)
    elif chance < rates.add + rates.add_again + rates.change_quantity:
        change_quantity(world, cart, lines, sink, stream)
    elif chance < rates.add + rates.add_again + rates.change_quantity + rates.remove:
        remove(world, cart, lines, sink, stream)
    else:
        apply_coupon(world, cart, lines, coupons, sink, stream)


@njit(cache=True)
def visit(world: Any, cart: Any, lines: Any, coupons: Any, sink: Any, stream: Any, taste: float, at: int) -> int:
    """A visit from ``at`` on; returns when it is over."""
    steps = 1 + extra(stream, min(world.rates.steps_more * (0.8 + 0.2 * taste), 0.85), MOST_STEPS)
    cart.visit += 1
    for _ in range(steps):
        if at >= world.end_us or cart.version >= MOST_EVENTS:
            break
        pass_time(world, cart, lines, coupons, sink, stream, at)
        step(world, cart, lines, coupons, sink, stream, taste)
        at += SECOND_US + int(waiting(stream, world.rates.step_gap_s) * SECOND_US)
    return at


@njit(cache=True)
def comes_back(world: Any, stream: Any, at: int, zone: int) -> int:
    """When a shopper who left at ``at`` is back: minutes, hours or days later, seldom at night."""
    rates = world.rates
    chance = draw(stream)
    if chance < rates.short_silence:
        mean = rates.short_silence_s
    elif chance < rates.short_silence + rates.middle_silence:
        mean = rates.middle_silence_s
    else:
        mean = rates.long_silence_s
    at += int(waiting(stream, mean) * SECOND_US)
    day = min((at - world.start_us) // DAY_US, world.offsets_us.shape[1] - 1)
    clock = (at + world.offsets_us[zone, day]) % DAY_US
    return at + NIGHT_ENDS_US if clock < NIGHT_ENDS_US else at


@njit(cache=True)
def charge(world: Any, cart: Any, lines: Any, coupons: Any, stream: Any) -> None:
    """State the cart's total, and what is charged: nearly always the same."""
    subtotal, original, discount = 0, 0, 0
    for slot in range(MAX_LINES):
        if lines[slot].product != NONE:
            subtotal += lines[slot].quantity * lines[slot].price_cents
            original += lines[slot].quantity * lines[slot].original_cents
    for slot in range(MAX_COUPONS):
        if coupons[slot] != NONE:
            steps = world.coupon_steps[coupons[slot]]
            percentage = world.coupon_percentage[coupons[slot]]
            discount += (subtotal * steps + UNIT_STEPS // 2) // UNIT_STEPS if percentage else steps
    cart.total_cents = subtotal - min(discount, subtotal)
    cart.charged_cents = cart.total_cents
    too_much = 1 + below(stream, MOST_OVERCHARGE_CENTS)
    if draw(stream) < world.rates.overcharged:
        cart.overcharged = 1
        cart.charged_cents = max(subtotal if discount > 0 else original, cart.total_cents)
        if cart.charged_cents == cart.total_cents:
            cart.charged_cents += too_much


@njit(cache=True)
def go_to_checkout(
    world: Any, cart: Any, lines: Any, coupons: Any, sink: Any, stream: Any, at: int, likely: float, chance: Any
) -> None:
    """The end of the last visit: bought with probability ``likely``, else gone for good.

    ``chance`` learns when and for how much the cart would be bought; both ends draw the same random numbers.
    """
    rates = world.rates
    starts_at = at + int(waiting(stream, CHECKOUT_AFTER_S) * SECOND_US)
    pay_s = rates.slow_payment_s if draw(stream) < rates.slow_payment else rates.pay_s
    pays_at = starts_at + SECOND_US + int(waiting(stream, pay_s) * SECOND_US)
    buys = draw(stream) < likely
    starts = (draw(stream) < rates.checkout_then_lost) or buys
    pass_time(world, cart, lines, coupons, sink, stream, starts_at)
    if starts_at >= world.end_us or units(lines) == 0:
        return
    if starts:
        start_checkout(world, cart, lines, sink)
    pass_time(world, cart, lines, coupons, sink, stream, pays_at)
    if pays_at >= world.end_us or units(lines) == 0:
        return
    charge(world, cart, lines, coupons, stream)
    chance.completed_at = pays_at
    chance.charged_cents = cart.charged_cents
    if buys:
        complete_checkout(world, cart, lines, sink)
    else:
        cart.overcharged = 0


@njit(cache=True)
def live(
    world: Any, cart: Any, lines: Any, coupons: Any, sink: Any, stream: Any, taste: float, likely: float, chance: Any
) -> None:
    """Play one cart from its shopper's arrival to its end, or to the end of the period."""
    zone = sink.users[cart.user].zone
    first_add_at = min(chance.arrival + LOOKING_AROUND_US, world.end_us - SECOND_US)
    at = visit(world, cart, lines, coupons, sink, stream, taste, first_add_at)
    for _ in range(extra(stream, world.rates.another_visit, world.rates.most_visits - 1)):
        if draw(stream) < world.rates.checkout_then_silence and at < world.end_us and units(lines) > 0:
            pass_time(world, cart, lines, coupons, sink, stream, at)
            if units(lines) > 0:
                start_checkout(world, cart, lines, sink)
        at = visit(world, cart, lines, coupons, sink, stream, taste, comes_back(world, stream, at, zone))
    go_to_checkout(world, cart, lines, coupons, sink, stream, at, likely, chance)
    if cart.completed_at == NEVER:
        pass_time(world, cart, lines, coupons, sink, stream, world.end_us)
        silence_ends(world, cart, lines, sink, world.end_us, NEVER)
