"""The funnel by its definition: every assignment of touches to steps is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, permutations

Touch = tuple[int, str]
Attempt = tuple[tuple[int, int], ...]

FOREVER = 10**18


def outcome(touches: list[Touch], steps, window, order, exclude=(), optional=()) -> dict[int, int] | None:
    """Step index to time for the one attempt that counts; None where there is none, or none without an exclusion."""
    limit = FOREVER if window is None else window
    return _chosen(_attempts(sorted(touches), steps, limit, order, set(optional)), touches, exclude, limit)


def outcomes(touches: list[Touch], steps, window, order, exclude=(), optional=()) -> list[dict[int, int]]:
    """The same for totals: one attempt per window or conversion, the next from later touches only."""
    limit = FOREVER if window is None else window
    counted = []
    left = sorted(touches)
    while starts := [time for time, name in left if name == steps[0] or (order == "unordered" and name in steps)]:
        period = min(starts) + limit
        found = [each for each in _attempts(left, steps, limit, order, set(optional)) if each[0][1] <= period]
        stop = min((each[-1][1] for each in found if each[-1][0] == len(steps) - 1), default=None)
        if stop is not None:
            found = [each for each in found if each[-1][1] <= stop]
        attempt = _chosen(found, touches, exclude, limit)
        if attempt is not None:
            counted.append(attempt)
        if stop is None:
            stop = max([period, *(attempt or {}).values()])
        left = [touch for touch in left if touch[0] > stop]
    return counted


def _chosen(attempts: Iterable[Attempt], touches: list[Touch], exclude, limit: int) -> dict[int, int] | None:
    found = list(attempts)
    depth = max(((attempt[-1][0], len(attempt)) for attempt in found), default=None)
    deep = [attempt for attempt in found if (attempt[-1][0], len(attempt)) == depth]
    clean = [attempt for attempt in deep if not _excluded(attempt, touches, exclude, limit)]
    if not clean:
        return None
    latest = max(attempt[0][1] for attempt in clean)
    chosen = [attempt for attempt in clean if attempt[0][1] == latest]
    return dict(min(chosen, key=lambda attempt: [time for _, time in attempt][::-1]))


def _attempts(touches: list[Touch], steps, limit: int, order: str, optional: set[int]) -> Iterator[Attempt]:
    if order == "unordered":
        yield from _unordered(touches, steps, limit)
        return
    for skipped in _subsets(optional):
        way = [index for index in range(len(steps)) if index not in skipped]
        for length in range(1, len(way) + 1):
            for picked in _picks(touches, [steps[index] for index in way[:length]], order, steps):
                if picked[-1] - picked[0] <= limit:
                    yield tuple(zip(way[:length], picked, strict=True))


def _subsets(some: set[int]) -> Iterator[set[int]]:
    for size in range(len(some) + 1):
        yield from map(set, combinations(sorted(some), size))


def _picks(touches: list[Touch], names: list[str], order: str, steps) -> Iterator[list[int]]:
    if order == "strict":
        place = {name: index for index, name in reversed(list(enumerate(steps)))}
        line = sorted(touches, key=lambda touch: (touch[0], place.get(touch[1], len(steps))))
        for start in range(len(line) - len(names) + 1):
            part = line[start : start + len(names)]
            if [name for _, name in part] == names:
                yield [time for time, _ in part]
        return
    for picked in permutations(touches, len(names)):
        times = [time for time, _ in picked]
        if [name for _, name in picked] == names and times == sorted(times):
            yield times


def _unordered(touches: list[Touch], steps, limit: int) -> Iterator[Attempt]:
    """From each touch of a step on: when one more step was done, none twice unless it is listed twice."""
    for start, name in touches:
        left = list(steps)
        if name not in left:
            continue
        done = []
        for time, other in touches:
            if start <= time <= start + limit and other in left:
                left.remove(other)
                done.append(time)
        yield tuple(enumerate(done))


def _excluded(attempt: Attempt, touches: list[Touch], exclude, limit: int) -> bool:
    times = dict(attempt)
    end = attempt[0][1] + limit
    return any(
        start in times and times[start] < time and (time < times[stop] if stop in times else time <= end)
        for name, start, stop in exclude
        for time, other in touches
        if other == name
    )
