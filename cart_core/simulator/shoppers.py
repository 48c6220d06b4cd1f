"""Who comes to the simulated shop, when, with how many carts, and which variant they are shown. Compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from cart_core.simulator.behaviour import MAX_CARTS_OF_USER, MAX_COUPONS, MAX_LINES
from cart_core.simulator.happenings import DAY_US, product_wanted
from cart_core.simulator.randomness import Array, draw, extra, normal, pick, reset
from cart_core.simulator.records import (
    ARM_USERS,
    CHANCE,
    CONVERSION_CONTROL,
    CONVERSION_TREATMENT,
    EXPOSURES_N,
    LINE,
    MIXED_USERS,
    NEVER,
    NONE,
    REVENUE_CONTROL,
    REVENUE_TREATMENT,
    USERS_N,
    VIEWS_N,
)
from cart_core.simulator.visits import HOUR_US, LOOKING_AROUND_US, live

EXPERIMENTS = 2
TESTED = 0
VISITOR_VIEWS = 6
VISITOR_VIEW_GAP_US = 20_000_000
NUMBERS_OF_VISITORS = 1 << 40


@njit(cache=True)
def play(world: Any, first_number: int, carts: int, visitors: int, sink: Any) -> None:
    """Fill the sink with ``carts`` carts, numbered from ``first_number``, and visitors who start none."""
    stream = np.zeros(1, np.uint64)
    chances = np.zeros(MAX_CARTS_OF_USER, CHANCE)
    lines = np.zeros(MAX_LINES, LINE)
    coupons = np.zeros(MAX_COUPONS, np.int64)
    placed = 0
    while placed < carts:
        reset(stream, world.seed, np.uint64(first_number + placed))
        placed += shopper(world, first_number, placed, carts - placed, sink, stream, chances, lines, coupons)
    for each in range(visitors):
        number = NUMBERS_OF_VISITORS + first_number + each
        reset(stream, world.seed, np.uint64(number))
        visitor(world, number, sink, stream, chances)


@njit(cache=True)
def shopper(
    world: Any, first_number: int, placed: int, room: int, sink: Any, stream: Array, chances: Any, lines: Any,
    coupons: Any,
) -> int:
    """One shopper with all carts; returns how many these were."""
    rates = world.rates
    guest = int(draw(stream) < rates.guest_share)
    user = join(world, first_number + placed, guest, sink, stream)
    count = 1 if guest == 1 else min(1 + extra(stream, rates.another_cart, MAX_CARTS_OF_USER - 1), room)
    mood = rates.conversion_low + (rates.conversion_high - rates.conversion_low) * draw(stream) * draw(stream)
    taste = min(math.exp(rates.taste_sigma * normal(stream)), 4.0)
    plan_arrivals(world, sink.users[user].zone, stream, chances, count, mood)
    first_row = sink.counts[EXPOSURES_N]
    expose(world, user, sink, stream, chances, count)
    treated_at = first_exposure(sink, first_row, TESTED, 1)
    for each in range(count):
        cart = begin(sink, placed + each, user, lines, coupons)
        likely = chances[each].base
        if treated_at <= chances[each].arrival:
            likely = min(likely * (1.0 + world.lift), 1.0)
        live(world, cart, lines, coupons, sink, stream, taste, likely, chances[each])
    tally(world, sink, first_row, chances, count)
    return count


@njit(cache=True)
def visitor(world: Any, number: int, sink: Any, stream: Array, chances: Any) -> None:
    """One guest who looks at products and leaves."""
    user = join(world, number, 1, sink, stream)
    plan_arrivals(world, sink.users[user].zone, stream, chances, 1, 0.0)
    first_row = sink.counts[EXPOSURES_N]
    expose(world, user, sink, stream, chances, 1)
    at = chances[0].arrival
    for _ in range(1 + extra(stream, world.rates.more_views, VISITOR_VIEWS - 1)):
        at += int((0.2 + draw(stream)) * VISITOR_VIEW_GAP_US)
        row = sink.views[sink.counts[VIEWS_N]]
        sink.counts[VIEWS_N] += 1
        row.user = user
        row.cart = NONE
        row.visit = 1
        row.product = product_wanted(world, stream)
        row.at = at
    tally(world, sink, first_row, chances, 1)


@njit(cache=True)
def join(world: Any, number: int, guest: int, sink: Any, stream: Array) -> int:
    """A new row of the users; returns its place."""
    user = sink.counts[USERS_N]
    sink.counts[USERS_N] += 1
    sink.users[user].number = number
    sink.users[user].guest = guest
    sink.users[user].zone = pick(stream, world.zone_shares)
    return int(user)


@njit(cache=True)
def plan_arrivals(world: Any, zone: int, stream: Array, chances: Any, count: int, mood: float) -> None:
    """When each of a shopper's carts begins, ascending, and how likely it is bought untreated."""
    for each in range(count):
        arrival = one_arrival(world, zone, stream)
        place = each
        while place > 0 and chances[place - 1].arrival > arrival:
            chances[place].arrival = chances[place - 1].arrival
            place -= 1
        chances[place].arrival = arrival
    for each in range(count):
        chances[each].completed_at = NEVER
        chances[each].charged_cents = 0
        chances[each].base = mood


@njit(cache=True)
def one_arrival(world: Any, zone: int, stream: Array) -> int:
    """A moment of the period, by the week's and the day's rhythm on the shopper's clock."""
    clock_us = pick(stream, world.hour_shares) * HOUR_US + int(draw(stream) * HOUR_US)
    day = min(clock_us // DAY_US, world.offsets_us.shape[1] - 1)
    since_start_us = (clock_us - world.offsets_us[zone, day]) % (world.end_us - world.start_us)
    return int(min(world.start_us + since_start_us, world.end_us - 2 * LOOKING_AROUND_US))


@njit(cache=True)
def expose(world: Any, user: int, sink: Any, stream: Array, chances: Any, count: int) -> None:
    """Write what the shopper is shown on each arrival since the experiments began; a few see both variants."""
    for experiment in range(EXPERIMENTS):
        treated = draw(stream) < world.treated_share
        other = draw(stream) < world.rates.seen_in_both
        for each in range(count):
            at = chances[each].arrival
            if at < world.experiment_at or draw(stream) >= world.rates.exposed:
                continue
            row = sink.exposures[sink.counts[EXPOSURES_N]]
            sink.counts[EXPOSURES_N] += 1
            row.user = user
            row.experiment = experiment
            row.treated = treated
            row.at = at
            treated = treated != other
            other = False


@njit(cache=True)
def first_exposure(sink: Any, first_row: int, experiment: int, treated: int) -> int:
    """When the shopper whose exposures begin at ``first_row`` first saw a variant; NEVER if not."""
    for each in range(first_row, sink.counts[EXPOSURES_N]):
        row = sink.exposures[each]
        if row.experiment == experiment and row.treated == treated:
            return int(row.at)
    return NEVER


@njit(cache=True)
def begin(sink: Any, number: int, user: int, lines: Any, coupons: Any) -> Any:
    """An empty cart."""
    cart = sink.carts[number]
    cart.user = user
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
        lines[slot].product = NONE
        lines[slot].change_at = NEVER
    for slot in range(MAX_COUPONS):
        coupons[slot] = NONE
    return cart


@njit(cache=True)
def tally(world: Any, sink: Any, first_row: int, chances: Any, count: int) -> None:
    """Add what an exposed shopper would do under either variant, in expectation, to the sums of the truth.

    Only carts that would be completed in the window after the first exposure count; those begun before it are bought
    as likely under both variants.
    """
    control_at = first_exposure(sink, first_row, TESTED, 0)
    treated_at = first_exposure(sink, first_row, TESTED, 1)
    exposed_at = min(control_at, treated_at)
    if exposed_at == NEVER:
        return
    if max(control_at, treated_at) != NEVER:
        sink.sums[MIXED_USERS] += 1
        return
    none_control, none_treated = 1.0, 1.0
    for each in range(count):
        chance = chances[each]
        if exposed_at <= chance.completed_at <= exposed_at + world.window_us:
            treated = chance.base
            if exposed_at <= chance.arrival:
                treated = min(chance.base * (1.0 + world.lift), 1.0)
            none_control *= 1.0 - chance.base
            none_treated *= 1.0 - treated
            sink.sums[REVENUE_CONTROL] += chance.base * chance.charged_cents
            sink.sums[REVENUE_TREATMENT] += treated * chance.charged_cents
    sink.sums[ARM_USERS] += 1
    sink.sums[CONVERSION_CONTROL] += 1.0 - none_control
    sink.sums[CONVERSION_TREATMENT] += 1.0 - none_treated
