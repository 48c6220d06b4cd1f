"""The search for the attempt that counts, unit by unit, compiled.

The touches of a unit stand name by name in ``times``, each name ascending. A *chain* is one touch per step, times not
descending, all at most a window after the first. Among chains that keep clear of exclusions the componentwise minimum
of two is one again, so pushing touches later until nothing is violated finds the earliest such chain, if any.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cart_core.compiling import compile_loop
from cart_core.projector.compiled import compiled

Ints = np.ndarray[Any, np.dtype[np.int64]]

ORDERED, STRICT, UNORDERED = 0, 1, 2
FOREVER = 2**63 - 1
NOT_FILLED = -(2**63)
HEAD = 4


class Plans(NamedTuple):
    """Every way to fill the steps: with optional steps there are several, else one.

    ``steps[p, j]`` is the step that place j of plan p fills, ``name[p, j]`` its name, ``same[p, j]`` the last earlier
    place with that name or -1, ``length[p]`` the places in use. ``exclude[e]`` is (name, from step, to step).
    Names count from 0, the ``step_names`` that steps have before those that only exclusions have.
    """

    steps: Ints
    name: Ints
    same: Ints
    length: Ints
    exclude: Ints
    names: int
    step_names: int
    order: int
    window: int


class Desk(NamedTuple):
    """Room to work on one unit: its times name by name and where each name's begin, where attempts may, and when."""

    times: Ints
    anchors: Ints
    moments: Ints
    bounds: Ints


@compiled()
def filled_with(row: Ints, value: int) -> None:
    """Set every place of a row."""
    for j in range(len(row)):
        row[j] = value


@compiled()
def copied(row: Ints, other: Ints) -> None:
    """Write a row over another."""
    for j in range(len(row)):
        other[j] = row[j]


@compiled()
def first_at_least(times: Ints, low: int, high: int, bound: int) -> int:
    """The first index in [low, high) whose time is at least the bound, or high."""
    while low < high:
        middle = (low + high) // 2
        if times[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def deadline(start: int, window: int) -> int:
    """The last moment of a window, which is included; without overflow."""
    return FOREVER if start > FOREVER - window else start + window


@compiled()
def chase(unit: Any, plans: Any, plan: int, end: int, place: int, chosen: Ints) -> int:
    """Give each place after ``place`` its earliest touch; returns how many places are filled.

    Touches already in ``chosen`` are moved only later, never earlier.
    """
    times, bounds, _ = unit
    for j in range(place + 1, plans.length[plan]):
        name = plans.name[plan, j]
        low = bounds[name]
        if plans.same[plan, j] >= 0:
            low = chosen[plans.same[plan, j]] + 1
        low = max(low, chosen[j])
        at = first_at_least(times, low, bounds[name + 1], times[chosen[j - 1]])
        if at == bounds[name + 1] or times[at] > end:
            return j
        chosen[j] = at
    return int(plans.length[plan])


@compiled()
def walk(unit: Any, plans: Any, plan: int, end: int, anchor: int, chain: Ints) -> int:
    """Strict: the touches that follow the anchor one by one, as long as each is the next place's."""
    _, _, sequence = unit
    at, code = sequence
    for j in range(plans.length[plan]):
        here = anchor + j
        if here >= len(at) or code[here] != plans.name[plan, j] or at[here] > end:
            return j
        chain[j] = at[here]
    return int(plans.length[plan])


@compiled()
def insert(ascending: Ints, count: int, value: int) -> None:
    """Put a value among the first ``count``, which ascend."""
    place = count
    while place > 0 and ascending[place - 1] > value:
        ascending[place] = ascending[place - 1]
        place -= 1
    ascending[place] = value


@compiled()
def gather(unit: Any, plans: Any, end: int, start: int, chain: Ints) -> int:
    """Unordered: the times in [start, end] at which one more step of the plan was done."""
    times, bounds, _ = unit
    count = 0
    for j in range(plans.length[0]):
        name = plans.name[0, j]
        nth = 0
        before = plans.same[0, j]
        while before >= 0:
            nth += 1
            before = plans.same[0, before]
        at = first_at_least(times, bounds[name], bounds[name + 1], start) + nth
        if at < bounds[name + 1] and times[at] <= end:
            insert(chain, count, times[at])
            count += 1
    return count


@compiled()
def intruder(unit: Any, exclusion: Ints, after: int, before: int) -> int:
    """The latest touch of the excluded name strictly between two times, or NOT_FILLED."""
    times, bounds, _ = unit
    low, high = bounds[exclusion[0]], bounds[exclusion[0] + 1]
    at = first_at_least(times, low, high, before) - 1
    return int(times[at]) if at >= low and times[at] > after else int(NOT_FILLED)


@compiled()
def place_of(plans: Any, plan: int, filled: int, step: int) -> int:
    """The place of a plan that fills a step, or -1 where it is not reached."""
    for j in range(filled):
        if plans.steps[plan, j] == step:
            return j
    return -1


@compiled()
def violated(unit: Any, plans: Any, plan: int, filled: int, end: int, chain: Ints) -> Any:
    """The place that a touch of an exclusion follows too closely, and that touch's time; (-1, 0) where none does."""
    for e in range(len(plans.exclude)):
        start = place_of(plans, plan, filled, plans.exclude[e, 1])
        if start < 0:
            continue
        stop = place_of(plans, plan, filled, plans.exclude[e, 2])
        before = chain[stop] if stop >= 0 else deadline(end, 1)
        bad = intruder(unit, plans.exclude[e], chain[start], before)
        if bad != NOT_FILLED:
            return start, bad
    return -1, NOT_FILLED


@compiled()
def make_clean(unit: Any, plans: Any, plan: int, filled: int, end: int, chosen: Ints, chain: Ints) -> bool:
    """Move touches of an ordered chain later until no exclusion is violated; false where that cannot be."""
    times, bounds, _ = unit
    while True:
        for j in range(filled):
            chain[j] = times[chosen[j]]
        place, bound = violated(unit, plans, plan, filled, end, chain)
        if place < 0:
            return True
        if place == 0:
            return False
        name = plans.name[plan, place]
        at = first_at_least(times, chosen[place], bounds[name + 1], bound)
        if at == bounds[name + 1] or times[at] > end:
            return False
        chosen[place] = at
        if chase(unit, plans, plan, end, place, chosen) < filled:
            return False


@compiled()
def reach(unit: Any, plans: Any, plan: int, anchor: int, latest: int, chosen: Ints, chain: Ints) -> Any:
    """The earliest chain of one plan from one anchor: how many places it fills, and its last allowed moment."""
    times, _, sequence = unit
    start = times[anchor] if plans.order == ORDERED else sequence[0][anchor]
    end = min(deadline(start, plans.window), latest)
    if plans.order == STRICT:
        return walk(unit, plans, plan, end, anchor, chain), end
    if plans.order == UNORDERED:
        return gather(unit, plans, end, start, chain), end
    filled_with(chosen, 0)
    chosen[0] = anchor
    filled = chase(unit, plans, plan, end, 0, chosen)
    for j in range(filled):
        chain[j] = times[chosen[j]]
    return filled, end


@compiled()
def deepest(unit: Any, plans: Any, anchors: Ints, latest: int, scratch: Any) -> Any:
    """The deepest step that any anchor and plan reach, and the most places filled on the way to it."""
    chosen, chain, _ = scratch
    depth, filled = -1, 0
    for i in range(len(anchors) - 1, -1, -1):
        for plan in range(len(plans.length)):
            got, _ = reach(unit, plans, plan, anchors[i], latest, chosen, chain)
            if got > 0 and plans.steps[plan, got - 1] >= depth:
                step = plans.steps[plan, got - 1]
                filled = max(filled, got) if step == depth else got
                depth = step
        if filled == plans.steps.shape[1]:
            break
    return depth, filled


@compiled()
def conversion(unit: Any, plans: Any, anchors: Ints, scratch: Any) -> int:
    """The first moment at which the last step is reached, or FOREVER."""
    chosen, chain, _ = scratch
    first = FOREVER
    for i in range(len(anchors)):
        for plan in range(len(plans.length)):
            got, _ = reach(unit, plans, plan, anchors[i], FOREVER, chosen, chain)
            if got > 0 and plans.steps[plan, got - 1] == plans.steps.shape[1] - 1:
                first = min(first, chain[got - 1])
        if first < FOREVER:
            break
    return int(first)


@compiled()
def earlier(chain: Ints, other: Ints, filled: int) -> bool:
    """Whether a chain ends before another; where both end at once, the place before decides, and so on."""
    for j in range(filled - 1, -1, -1):
        if chain[j] != other[j]:
            return bool(chain[j] < other[j])
    return False


@compiled()
def settle(unit: Any, plans: Any, anchors: Ints, latest: int, target: Any, scratch: Any) -> int:
    """Leave in the scratch the chain that counts: the latest first touch that gets as deep as the target, and clean.

    Of chains with that first moment the earliest counts. Returns its plan, or -1 where every chain that deep has an
    exclusion.
    """
    chosen, chain, best = scratch
    depth, filled = target
    found = -1
    for i in range(len(anchors) - 1, -1, -1):
        for plan in range(len(plans.length)):
            got, end = reach(unit, plans, plan, anchors[i], latest, chosen, chain)
            if found >= 0 and chain[0] < best[0]:
                return found
            if got != filled or plans.steps[plan, got - 1] != depth:
                continue
            if plans.order == ORDERED:
                clean = make_clean(unit, plans, plan, filled, end, chosen, chain)
            else:
                clean = violated(unit, plans, plan, filled, end, chain)[0] < 0
            if clean and (found < 0 or earlier(chain, best, filled)):
                copied(chain, best)
                found = plan
    return found


@compiled()
def by_name(sequence: Any, times: Ints, bounds: Ints) -> None:
    """Sort a unit's touches into ``times`` name by name, in time order; touches of no name (-1) are left out."""
    at, code = sequence
    filled_with(bounds, 0)
    for i in range(len(code)):
        if code[i] >= 0:
            bounds[code[i]] += 1
    total = 0
    for name in range(len(bounds)):
        total += bounds[name]
        bounds[name] = total
    for i in range(len(code) - 1, -1, -1):
        if code[i] >= 0:
            bounds[code[i]] -= 1
            times[bounds[code[i]]] = at[i]


@compiled()
def anchors_of(unit: Any, plans: Any, anchors: Ints, moments: Ints) -> int:
    """Write where an attempt can begin, in time order, and the times of these touches; returns how many there are.

    In an ordered funnel these are places in ``times``, otherwise in the sequence.
    """
    times, bounds, sequence = unit
    at, code = sequence
    first = plans.name[0, 0]
    count = 0
    if plans.order == ORDERED:
        for place in range(bounds[first], bounds[first + 1]):
            anchors[count], moments[count] = place, times[place]
            count += 1
        return count
    for i in range(len(code)):
        if code[i] == first or (plans.order == UNORDERED and 0 <= code[i] < plans.step_names):
            anchors[count], moments[count] = i, at[i]
            count += 1
    return count


@compiled()
def attempt(unit: Any, plans: Any, anchors: Ints, latest: int, scratch: Any, row: Ints) -> int:
    """Write one attempt into a row of ``search``; returns its last moment, or NOT_FILLED where no chain is clean."""
    target = deepest(unit, plans, anchors, latest, scratch)
    plan = settle(unit, plans, anchors, latest, target, scratch)
    row[1], row[2] = target[0], plan >= 0
    for step in range(len(row) - HEAD):
        row[HEAD + step] = NOT_FILLED
    if plan < 0:
        return int(NOT_FILLED)
    best = scratch[2]
    for j in range(target[1]):
        row[HEAD + plans.steps[plan, j]] = best[j]
    return int(best[target[1] - 1])


def search(starts: Ints, at: Ints, code: Ints, plans: Plans, *, totals: bool) -> Ints:
    """The attempts that count, unit by unit in time order: (unit, depth, clean, last anchor's time, times by step).

    Unit u has the touches ``starts[u]`` to ``starts[u + 1]``, ascending by time; a touch of no name has code -1.
    Without ``totals`` a unit has one attempt at most. With it, an attempt takes in every anchor of one window, or up
    to its conversion, and the next begins after its last moment. It runs without the interpreter lock.
    """
    steps = plans.steps.shape[1]
    widest = int(np.diff(starts).max(initial=0))
    rows = len(at) if totals else len(starts) - 1
    table = np.empty((rows, HEAD + steps), np.int64)
    times, anchors, moments = np.empty((3, widest), np.int64)
    desk = Desk(times, anchors, moments, np.empty(plans.names + 1, np.int64))
    scratch = (np.zeros(steps, np.int64), np.zeros(steps, np.int64), np.zeros(steps, np.int64))
    return table[: _search(starts, at, code, plans, totals, desk, scratch, table)]


@partial(compile_loop, _nrt=False)  # its reference counts made this search five times slower
def _search(starts: Ints, at: Ints, code: Ints, plans: Any, totals: bool, desk: Any, scratch: Any, table: Ints) -> int:  # noqa: FBT001 - numba takes no keywords
    rows = 0
    for u in range(len(starts) - 1):
        sequence = (at[starts[u] : starts[u + 1]], code[starts[u] : starts[u + 1]])
        by_name(sequence, desk.times, desk.bounds)
        unit = (desk.times, desk.bounds, sequence)
        anchors, moments = desk.anchors, desk.moments
        count = anchors_of(unit, plans, anchors, moments)
        begin = 0
        while begin < count:
            latest, stop = FOREVER, FOREVER
            if totals:
                period = deadline(moments[begin], plans.window)
                end = first_at_least(moments, begin, count, deadline(period, 1))
                latest = conversion(unit, plans, anchors[begin:end], scratch)
                stop = min(latest, period)
            end = first_at_least(moments, begin, count, deadline(stop, 1))
            row = table[rows]
            row[0], row[3] = u, moments[end - 1]
            last = attempt(unit, plans, anchors[begin:end], latest, scratch, row)
            begin = first_at_least(moments, end, count, deadline(max(stop, last), 1))
            rows += 1
    return rows
