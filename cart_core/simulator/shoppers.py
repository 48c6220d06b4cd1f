"""Who comes to the simulated shop, when, with how many carts, and which variant they are shown. Compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cart_core.simulator.behaviour import MAX_CARTS_OF_USER, MAX_COUPONS, MAX_LINES
from cart_core.simulator.compiled import constant, entry, inner
from cart_core.simulator.happenings import DAY_US, product_wanted
from cart_core.simulator.randomness import draw, extra, normal, pick, reset
from cart_core.simulator.records import (
    ARM_USERS,
    CONVERSION_CONTROL,
    CONVERSION_TREATMENT,
    EXPOSURES_N,
    MIXED_USERS,
    NEVER,
    NONE,
    REVENUE_CONTROL,
    REVENUE_TREATMENT,
    USERS_N,
    VIEWS_N,
    VIEWS_PER_VISITOR,
    World,
)
from cart_core.simulator.visits import HOUR_US, LOOKING_AROUND_US, live

EXPERIMENTS = 2
TESTED = constant(0)
CONTROL, TREATED = constant(0), constant(1)
ONE = constant(1)
VISITOR_VIEW_GAP_US = 20_000_000
NUMBERS_OF_VISITORS = 1 << 40
NUMBERS_OF_CARTS = 1 << 41


@entry
def play(world: World, first_number: int, carts: int, visitors: int) -> None:
    """Play ``carts`` carts, numbered from ``first_number``, and visitors who start none; the world keeps it all."""
    placed = first_number - first_number
    while placed < carts:
        reset(world.stream, world.seed, np.uint64(first_number + placed))
        placed += shopper(world, first_number, placed, carts - placed)
    for each in range(visitors):
        number = NUMBERS_OF_VISITORS + first_number + each
        reset(world.stream, world.seed, np.uint64(number))
        visitor(world, number)


@inner
def shopper(world: World, first_number: int, placed: int, room: int) -> int:
    """One shopper with all carts; returns how many these were."""
    settings = world.settings
    guest = int(draw(world.stream) < settings.guest_share)
    user = join(world, first_number + placed, guest)
    count = 1 if guest == 1 else min(1 + extra(world.stream, settings.another_cart, MAX_CARTS_OF_USER - 1), room)
    mood = draw(world.stream) * draw(world.stream)
    likely = settings.conversion_low + (settings.conversion_high - settings.conversion_low) * mood
    taste = min(math.exp(settings.taste_sigma * normal(world.stream)), 4.0)
    plan_arrivals(world, world.users[user].zone, count, likely)
    first_row = world.counts[EXPOSURES_N]
    expose(world, user, count)
    treated_at = first_exposure(world, first_row, TESTED, TREATED)
    for each in range(count):
        cart = begin(world, placed + each, user, each)
        cart.taste = taste
        cart.likely = world.chances[each].base
        if treated_at <= world.chances[each].arrival:
            cart.likely = treated_chance(world, cart.likely)
        reset(world.stream, world.seed, np.uint64(NUMBERS_OF_CARTS + first_number + placed + each))
        live(world, cart)
    tally(world, first_row, count)
    return count


@inner
def visitor(world: World, number: int) -> None:
    """One guest who looks at a few products, or at none, and leaves."""
    user = join(world, number, ONE)
    plan_arrivals(world, world.users[user].zone, ONE, 0.0)
    first_row = world.counts[EXPOSURES_N]
    expose(world, user, ONE)
    at = world.chances[0].arrival
    looks = draw(world.stream) >= world.settings.bounce
    for _ in range(looks * (1 + extra(world.stream, world.settings.more_views, VIEWS_PER_VISITOR - 1))):
        at += int((0.2 + draw(world.stream)) * VISITOR_VIEW_GAP_US)
        row = world.views[world.counts[VIEWS_N]]
        world.counts[VIEWS_N] += 1
        row.user = user
        row.cart = NONE
        row.visit = 1
        row.product = product_wanted(world)
        row.at = at
    tally(world, first_row, ONE)


@inner
def join(world: World, number: int, guest: int) -> int:
    """A new row of the users; returns its place."""
    user = world.counts[USERS_N]
    world.counts[USERS_N] += 1
    world.users[user].number = number
    world.users[user].guest = guest
    world.users[user].zone = pick(world.stream, world.zone_shares)
    return int(user)


@inner
def plan_arrivals(world: World, zone: int, count: int, likely: float) -> None:
    """When each of a shopper's carts begins, ascending, and how likely it is bought untreated."""
    for each in range(count):
        arrival = one_arrival(world, zone)
        place = each
        while place > 0 and world.chances[place - 1].arrival > arrival:
            world.chances[place].arrival = world.chances[place - 1].arrival
            place -= 1
        world.chances[place].arrival = arrival
    for each in range(count):
        world.chances[each].completed_at = NEVER
        world.chances[each].charged_cents = 0
        world.chances[each].base = likely


@inner
def one_arrival(world: World, zone: int) -> int:
    """A moment of the period, by the week's and the day's rhythm on the shopper's clock."""
    settings = world.settings
    clock_us = pick(world.stream, world.hour_shares) * HOUR_US + int(draw(world.stream) * HOUR_US)
    day = min(clock_us // DAY_US, world.offsets_us.shape[1] - 1)
    since_start_us = (clock_us - world.offsets_us[zone, day]) % (settings.end_us - settings.start_us)
    return int(min(settings.start_us + since_start_us, settings.end_us - 2 * LOOKING_AROUND_US))


@inner
def expose(world: World, user: int, count: int) -> None:
    """Write what the shopper is shown on each arrival since the experiments began; a few see both variants."""
    for experiment in range(EXPERIMENTS):
        treated = draw(world.stream) < world.settings.treated_share
        other = draw(world.stream) < world.settings.seen_in_both
        for each in range(count):
            at = world.chances[each].arrival
            if at < world.settings.experiment_at or draw(world.stream) >= world.settings.exposed:
                continue
            row = world.exposures[world.counts[EXPOSURES_N]]
            world.counts[EXPOSURES_N] += 1
            row.user = user
            row.experiment = experiment
            row.treated = treated
            row.at = at
            treated = treated != other
            other = False


@inner
def first_exposure(world: World, first_row: int, experiment: int, treated: int) -> int:
    """When the shopper whose exposures begin at ``first_row`` first saw a variant; NEVER if not."""
    for each in range(first_row, world.counts[EXPOSURES_N]):
        row = world.exposures[each]
        if row.experiment == experiment and row.treated == treated:
            return int(row.at)
    return NEVER


@inner
def treated_chance(world: World, base: float) -> float:
    """How likely a cart is bought under treatment."""
    return float(min(base * (1.0 + world.settings.lift), 1.0))


@inner
def begin(world: World, number: int, user: int, turn: int) -> Any:
    """An empty cart."""
    cart = world.carts[number]
    cart.user = user
    cart.turn = turn
    cart.number = number
    cart.version = 0
    cart.commands = 0
    cart.visit = 0
    cart.episodes = 0
    cart.at_checkout = 0
    cart.overcharged = 0
    cart.clock = 0
    cart.last_activity_at = 0
    cart.reaction_at = NEVER
    cart.completed_at = NEVER
    cart.charged_cents = 0
    cart.total_cents = 0
    for slot in range(MAX_LINES):
        world.lines[slot].product = NONE
        world.lines[slot].change_at = NEVER
    for slot in range(MAX_COUPONS):
        world.coupons[slot] = NONE
    return cart


@inner
def tally(world: World, first_row: int, count: int) -> None:
    """Add what an exposed shopper would do under either variant, in expectation, to the sums of the truth.

    Only carts that would be completed in the window after the first exposure count; those begun before it are bought
    as likely under both variants.
    """
    control_at = first_exposure(world, first_row, TESTED, CONTROL)
    treated_at = first_exposure(world, first_row, TESTED, TREATED)
    exposed_at = min(control_at, treated_at)
    if exposed_at == NEVER:
        return
    if max(control_at, treated_at) != NEVER:
        world.sums[MIXED_USERS] += 1
        return
    none_control, none_treated = 1.0, 1.0
    for each in range(count):
        chance = world.chances[each]
        if exposed_at <= chance.completed_at <= exposed_at + world.settings.window_us:
            treated = chance.base
            if exposed_at <= chance.arrival:
                treated = treated_chance(world, chance.base)
            none_control *= 1.0 - chance.base
            none_treated *= 1.0 - treated
            world.sums[REVENUE_CONTROL] += chance.base * chance.charged_cents
            world.sums[REVENUE_TREATMENT] += treated * chance.charged_cents
    world.sums[ARM_USERS] += 1
    world.sums[CONVERSION_CONTROL] += 1.0 - none_control
    world.sums[CONVERSION_TREATMENT] += 1.0 - none_treated
