"""How fast the simulated shop is written, and that its memory does not grow with its size.

Run ``python benchmarks/simulator.py [CARTS ...]`` (default 100000 1000000). Each size runs in a process of its own, so
that its peak memory is its own; the compiled shop is loaded before the clock starts.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from cart_core.simulator import simulate

DAYS = 60
KB_PER_MB = 1_024
BYTES_PER_MB = 1_000_000


def main(sizes: list[int]) -> None:
    """Print one row for each size."""
    print(f"{'carts':>12}{'events':>14}{'seconds':>10}{'CPU s':>9}{'events/s':>12}{'peak MB':>10}{'files MB':>10}")
    for carts in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            events, seconds, cpu_s, peak_mb, files_mb = pool.apply(measured, (carts,))
        rate = events / seconds
        print(
            f"{carts:>12,}{events:>14,}{seconds:>10.1f}{cpu_s:>9.1f}{rate:>12,.0f}{peak_mb:>10,.0f}{files_mb:>10,.0f}"
        )


def measured(carts: int) -> tuple[int, float, float, float, float]:
    """Events, seconds, CPU seconds, peak megabytes and the megabytes written for a shop of this size."""
    with tempfile.TemporaryDirectory() as name:
        simulate(Path(name), carts=10, days=1, seed=1)
        started, cpu_started = time.perf_counter(), time.process_time()
        truth = simulate(Path(name), carts=carts, days=DAYS, seed=1)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
        files_mb = sum(path.stat().st_size for path in Path(name).iterdir()) / BYTES_PER_MB
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KB_PER_MB
    return truth.counts["events"], seconds, cpu_s, peak_mb, files_mb


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000])
