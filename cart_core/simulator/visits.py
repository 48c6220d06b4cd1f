"""The life of one simulated cart: visits with silences between them, and how it ends. Compiled."""

from __future__ import annotations

from typing import Any

from cart_core.simulator.behaviour import MAX_COUPONS, MAX_LINES
from cart_core.simulator.compiled import constant, inner
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
from cart_core.simulator.records import NEVER, NONE, VIEWS_N, World

HOUR_US = 3_600 * SECOND_US
NIGHT_ENDS_US = 6 * HOUR_US
CHECKOUT_AFTER_S = 60.0
VIEW_BEFORE_S = 40.0
LOOKING_AROUND_US = 150 * SECOND_US
MOST_STEPS = constant(8)
MOST_VIEWS = constant(2)
ONE_MORE = constant(1)
UNIT_STEPS = 1_000_000
MOST_OVERCHARGE_CENTS = constant(900)


@inner
def view(world: World, cart: Any, product: int, at: int) -> None:
    """The shopper looks at a product."""
    row = world.views[world.counts[VIEWS_N]]
    world.counts[VIEWS_N] += 1
    row.user = cart.user
    row.cart = cart.number
    row.visit = cart.visit
    row.product = product
    row.at = at


@inner
def add_wanted(world: World, cart: Any) -> None:
    """Look at a few products and add the last one."""
    looked = extra(world.stream, world.settings.more_views, MOST_VIEWS)
    for ahead in range(looked, 0, -1):
        view(world, cart, product_wanted(world), cart.clock - int((ahead + 1) * VIEW_BEFORE_S * SECOND_US))
    product = product_wanted(world)
    view(world, cart, product, cart.clock - int((0.2 + 0.7 * draw(world.stream)) * VIEW_BEFORE_S * SECOND_US))
    quantity = 1 + extra(world.stream, min(0.12 * cart.taste, 0.6), MOST_VIEWS)
    add(world, cart, product, quantity)


@inner
def step(world: World, cart: Any) -> None:
    """One thing that a shopper does to a cart."""
    settings = world.settings
    chance = draw(world.stream) if line_count(world) > 0 else 0.0
    if chance < settings.add:
        add_wanted(world, cart)
    elif chance < settings.add + settings.add_again:
        add_again(world, cart, any_slot(world), ONE_MORE)
    elif chance < settings.add + settings.add_again + settings.change_quantity:
        change_quantity(world, cart)
    elif chance < settings.add + settings.add_again + settings.change_quantity + settings.remove:
        remove(world, cart)
    else:
        apply_coupon(world, cart)


@inner
def visit(world: World, cart: Any, at: int) -> int:
    """A visit from ``at`` on; returns when it is over."""
    steps = 1 + extra(world.stream, min(world.settings.steps_more * (0.8 + 0.2 * cart.taste), 0.85), MOST_STEPS)
    cart.visit += 1
    for _ in range(steps):
        if at >= world.settings.end_us or cart.version >= MOST_EVENTS:
            break
        pass_time(world, cart, at)
        step(world, cart)
        at += SECOND_US + int(waiting(world.stream, world.settings.step_gap_s) * SECOND_US)
    return at


@inner
def comes_back(world: World, at: int, zone: int) -> int:
    """When a shopper who left at ``at`` is back: minutes, hours or days later, seldom at night."""
    settings = world.settings
    chance = draw(world.stream)
    if chance < settings.short_silence:
        mean = settings.short_silence_s
    elif chance < settings.short_silence + settings.middle_silence:
        mean = settings.middle_silence_s
    else:
        mean = settings.long_silence_s
    at += int(waiting(world.stream, mean) * SECOND_US)
    day = min((at - world.settings.start_us) // DAY_US, world.offsets_us.shape[1] - 1)
    clock = (at + world.offsets_us[zone, day]) % DAY_US
    return at + NIGHT_ENDS_US if clock < NIGHT_ENDS_US else at


@inner
def charge(world: World, cart: Any) -> None:
    """State the cart's total, and what is charged: nearly always the same."""
    subtotal, original, discount = 0, 0, 0
    for slot in range(MAX_LINES):
        if world.lines[slot].product != NONE:
            subtotal += world.lines[slot].quantity * world.lines[slot].price_cents
            original += world.lines[slot].quantity * world.lines[slot].original_cents
    for slot in range(MAX_COUPONS):
        if world.coupons[slot] != NONE:
            steps = world.offers[world.coupons[slot]].steps
            percentage = world.offers[world.coupons[slot]].percentage
            discount += (subtotal * steps + UNIT_STEPS // 2) // UNIT_STEPS if percentage else steps
    cart.total_cents = subtotal - min(discount, subtotal)
    cart.charged_cents = cart.total_cents
    too_much = 1 + below(world.stream, MOST_OVERCHARGE_CENTS)
    if draw(world.stream) < world.settings.overcharged:
        cart.overcharged = 1
        cart.charged_cents = max(subtotal if discount > 0 else original, cart.total_cents)
        if cart.charged_cents == cart.total_cents:
            cart.charged_cents += too_much


@inner
def go_to_checkout(world: World, cart: Any, at: int) -> None:
    """The end of the last visit: bought with the cart's chance, else gone for good.

    When and for how much the cart would be bought is kept for the truth; both ends draw the same random numbers.
    """
    settings = world.settings
    starts_at = at + int(waiting(world.stream, CHECKOUT_AFTER_S) * SECOND_US)
    pay_s = settings.slow_payment_s if draw(world.stream) < settings.slow_payment else settings.pay_s
    pays_at = starts_at + SECOND_US + int(waiting(world.stream, pay_s) * SECOND_US)
    buys = draw(world.stream) < cart.likely
    starts = (draw(world.stream) < settings.checkout_then_lost) or buys
    pass_time(world, cart, starts_at)
    if starts_at >= world.settings.end_us or units(world) == 0:
        return
    if starts:
        start_checkout(world, cart)
    pass_time(world, cart, pays_at)
    if pays_at >= world.settings.end_us or units(world) == 0:
        return
    charge(world, cart)
    world.chances[cart.turn].completed_at = pays_at
    world.chances[cart.turn].charged_cents = cart.charged_cents
    if buys:
        complete_checkout(world, cart)
    else:
        cart.overcharged = 0


@inner
def live(world: World, cart: Any) -> None:
    """Play one cart from its shopper's arrival to its end, or to the end of the period."""
    settings = world.settings
    zone = world.users[cart.user].zone
    first_add_at = min(world.chances[cart.turn].arrival + LOOKING_AROUND_US, settings.end_us - SECOND_US)
    at = visit(world, cart, first_add_at)
    for _ in range(extra(world.stream, settings.another_visit, int(settings.most_visits) - 1)):
        if draw(world.stream) < settings.checkout_then_silence:
            look_at_checkout(world, cart, at)
        at = visit(world, cart, comes_back(world, at, zone))
    go_to_checkout(world, cart, at)
    if cart.completed_at == NEVER:
        pass_time(world, cart, settings.end_us)
        silence_ends(world, cart, settings.end_us, NEVER)


@inner
def look_at_checkout(world: World, cart: Any, at: int) -> None:
    """Start a checkout and leave it."""
    pass_time(world, cart, at)
    if at < world.settings.end_us and units(world) > 0:
        start_checkout(world, cart)
