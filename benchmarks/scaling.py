r"""What a history of any size needs, worked out from one measurement: the table of docs/scaling.md.

``benchmarks/projector.py`` prints it from what it measured. With figures at hand, from another machine or run::

    python benchmarks/scaling.py --events 50000000 --import-s 170 --project-s 18 --peak-mb 900 --bytes 65 \
        --refresh-s 1 --scattered-s 12
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, fields

SIZES = (10**8, 10**9, 10**10)
CORE_HOUR_USD = 0.05
GB_MONTH_USD = 0.023
SPARK_CORES = {10**8: 0, 10**9: 0, 10**10: 64}
HOUR_S = 3_600
COLUMNS = (
    "events", "at rest", "first import", "rebuild, where", "rebuild", "peak memory", "a refresh",
    "of scattered carts, at most", "a rebuild costs",
    "a month at rest costs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: ``cores`` worked on ``events`` of history, which take ``bytes`` each at rest.

    ``project_s`` is a rebuild of all carts, ``refresh_s`` an hour's new events on top, of carts lately touched, and
    ``scattered_s`` of carts from anywhere; ``spark_start_s`` and ``spark_s`` are Spark's start and its rebuild, 0 where
    it was not measured.
    """

    events: int
    import_s: float
    project_s: float
    peak_mb: float
    bytes: float
    refresh_s: float
    scattered_s: float
    spark_start_s: float = 0.0
    spark_s: float = 0.0
    cores: int = os.cpu_count() or 1


def table(measured: Measured) -> str:
    """A Markdown table with a row for each size of history.

    A rebuild's time is proportional to the events, its memory is not; a refresh of carts that are scattered over all of
    history writes all tables at most, which is proportional too. Where Spark is proposed, its time is the measured one
    over its cores, plus its start. Costs are core hours and gigabyte months at the prices above.
    """
    head = [
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    return "\n".join([*head, *(_row(measured, events) for events in SIZES)])


def _row(measured: Measured, events: int) -> str:
    times = events / measured.events
    spark_cores = SPARK_CORES[events]
    cores = spark_cores or measured.cores
    if spark_cores:
        inside = measured.spark_s or measured.project_s
        rebuild_s = measured.spark_start_s + inside * times * measured.cores / spark_cores
        where, memory = f"Spark, {spark_cores} cores", f"{measured.peak_mb / measured.cores:,.0f} MB a core"
    else:
        rebuild_s = measured.project_s * times
        where, memory = f"one machine, {cores} cores", f"{measured.peak_mb:,.0f} MB"
    gigabytes = measured.bytes * events / 1e9
    cells = (
        f"10^{len(str(events)) - 1}",
        f"{gigabytes:,.0f} GB",
        _span(measured.import_s * times),
        where,
        _span(rebuild_s),
        memory,
        _span(measured.refresh_s),
        _span(measured.scattered_s * times),
        f"{rebuild_s / HOUR_S * cores * CORE_HOUR_USD:,.2f} USD",
        f"{gigabytes * GB_MONTH_USD:,.2f} USD",
    )
    return f"| {' | '.join(cells)} |"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:,.1f} h"


def main() -> None:
    """Print the table for figures given as options."""
    parser = argparse.ArgumentParser(description="What a history of any size needs.")
    for field in fields(Measured):
        kind = int if field.name in ("events", "cores") else float
        optional = field.name.startswith("spark") or field.name == "cores"
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            required=not optional,
            default=field.default if optional else None,
        )
    print(table(Measured(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
