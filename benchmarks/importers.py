"""How fast a click stream comes into a new store, and how much memory that takes.

Run ``python benchmarks/importers.py [ROWS]``. Each import runs in a process of its own, over a made-up REES46 file; one
row per measurement: rows/s, events appended (none the second time), and the process's peak memory.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

SEED = 1
SESSIONS = 4_000
HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def main(rows: int) -> None:
    """Print every measurement."""
    with tempfile.TemporaryDirectory() as folder:
        clicks = Path(folder) / "clicks.csv"
        write_clicks(clicks, rows)
        for what in ("first import", "second import"):
            print(f"rees46, {what:<14} {_measured('rees46', clicks, folder)}", flush=True)


def write_clicks(path: Path, rows: int) -> None:
    """A month of a shop: half views, a third cart rows, removes, purchases, one row in twenty a copy of the last."""
    draw = random.Random(SEED)  # noqa: S311 - a benchmark's data, not a secret
    moment = datetime(2019, 10, 1, tzinfo=UTC)
    sessions = [_session(draw) for _ in range(SESSIONS)]
    line = ""
    with path.open("w") as out:
        out.write(HEADER)
        for _ in range(rows):
            if not line or draw.random() > 0.05:
                moment += timedelta(seconds=draw.random())
                place = draw.randrange(SESSIONS)
                if draw.random() < 0.1:
                    sessions[place] = _session(draw)
                line = _line(draw, moment, *sessions[place])
            out.write(line)


def _session(draw: random.Random) -> tuple[UUID, int, list[int]]:
    return UUID(int=draw.getrandbits(128), version=4), draw.randrange(5 * 10**8, 6 * 10**8), []


def _line(draw: random.Random, moment: datetime, session: UUID, user: int, cart: list[int]) -> str:
    kind = draw.choices(("view", "cart", "remove_from_cart", "purchase"), (50, 33, 13, 4))[0]
    if kind in ("view", "cart") or not cart:
        product = draw.randrange(50_000)
        kind = "view" if kind == "view" else "cart"
        cart += [product] * (kind == "cart")
    else:
        product = cart.pop()
    price = f"{(product % 3_000 + 50) / 100:.2f}"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC,{kind},{product},1487580,,runail,{price},{user},{session}\n"


def _measured(source: str, file: Path, folder: str) -> str:
    command = [sys.executable, __file__, "--import", source, str(file), f"{folder}/store"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - ourselves


def _import(source: str, file: str, folder: str) -> str:
    from cart_core import CartStore
    from cart_core.ingest import import_files

    with CartStore.open(folder) as store:
        start = time.perf_counter()
        report = import_files(store, source, [file])
        took_s = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{report.rows / took_s:>12,.0f} rows/s  {report.events:>10,} events  {peak_mib:>7,.0f} MiB peak"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--import"]:
        print(_import(*sys.argv[2:]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
