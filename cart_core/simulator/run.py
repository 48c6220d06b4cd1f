"""Run the simulated shop and write what it would have recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import rules
from cart_core.schema import EVENTS
from cart_core.simulator import catalog as catalogs
from cart_core.simulator import records, tables
from cart_core.simulator.behaviour import Behaviour
from cart_core.simulator.parts import Chunk, chunks
from cart_core.simulator.records import Array
from cart_core.simulator.shop import START, Shop
from cart_core.simulator.truth import Effect, Truth

DECLARED = Path(__file__).with_name("experiments.toml")
ROW_GROUP_ROWS = 262_144
PLAIN_COLUMNS = frozenset(("event_id", "cart_id", "view_id", "order_id", "user_id", "session", "email"))
FILES = {
    "events": EVENTS,
    "views": tables.VIEWS,
    "exposures": tables.EXPOSURES,
    "contacts": tables.CONTACTS,
    "truth_episodes": tables.EPISODES,
}


def simulate(
    out: Path,
    *,
    carts: int,
    days: int,
    seed: int,
    start: datetime = START,
    lift: float = 0.10,
    behaviour: Behaviour | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Write a shop of ``carts`` carts over ``days`` days to the folder ``out``, and return what is true about it.

    Files: events, views, exposures, contacts, coupons, stock and truth_episodes .parquet, experiments.toml, and
    truth.json. Events
    stand cart by cart, versions and times ascending within a cart; position and recorded_at are null. The same
    arguments give the same bytes. Memory does not grow with ``carts``. ``progress`` is called with carts done and
    carts in all. Existing files are replaced; a crash leaves files half written.
    Raises Refused (``bad_shop``) where an argument is out of range.
    """
    shop = Shop(carts, days, seed, start, lift, behaviour=behaviour or Behaviour())
    out.mkdir(parents=True, exist_ok=True)
    tally = Tally(shop)
    with ExitStack() as stack:
        writers = {name: stack.enter_context(_writer(out, name)) for name in FILES}
        for chunk in _ahead(chunks(shop)):
            for name, writer in writers.items():
                writer.write_table(_part(chunk, name), row_group_size=ROW_GROUP_ROWS)
            tally.add(chunk)
            if progress is not None:
                progress(tally.counts["carts"], carts)
    offers = catalogs.coupons(seed, shop.start_us, days)
    pq.write_table(tables.coupon_table(offers), out / "coupons.parquet", compression="zstd")
    pq.write_table(catalogs.stock(seed), out / "stock.parquet", compression="zstd")
    (out / DECLARED.name).write_bytes(DECLARED.read_bytes())
    truth = tally.truth()
    truth.write(out / "truth.json")
    return truth


@dataclass
class Tally:
    """What is counted over all chunks of a shop."""

    shop: Shop
    counts: Counter[str] = field(default_factory=Counter)
    episodes: Counter[str] = field(default_factory=Counter)
    sums: Array = field(default_factory=lambda: np.zeros(records.SUMS))
    overcharged: list[dict[str, Any]] = field(default_factory=list)

    def add(self, chunk: Chunk) -> None:
        """Count one chunk."""
        self.counts.update({"carts": chunk.carts, "completed": chunk.completed})
        self.counts.update({name.removeprefix("truth_"): len(_part(chunk, name)) for name in FILES})
        self.sums += chunk.sums
        self.overcharged += chunk.overcharged
        groups = chunk.episodes.group_by(["stage", "outcome"]).aggregate([([], "count_all")]).to_pylist()
        self.episodes.update({f"{group['stage']}/{group['outcome']}": group["count_all"] for group in groups})

    def truth(self) -> Truth:
        """What is true about the shop."""
        users, *values, mixed = self.sums.tolist()
        per_user = [value / max(users, 1.0) for value in values]
        return Truth(
            parameters=self.shop.parameters(),
            start=rules.format_time(self.shop.start),
            end=rules.format_time(self.shop.end),
            counts=dict(sorted(self.counts.items())),
            effects={"conversion": Effect(*per_user[:2]), "revenue_cents": Effect(*per_user[2:])},
            exposed_users=int(users),
            mixed_users=int(mixed),
            episodes=dict(sorted(self.episodes.items())),
            overcharged=self.overcharged,
        )


def _ahead(parts: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same parts in the same order, the next one made while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        coming = worker.submit(next, parts, None)
        while (chunk := coming.result()) is not None:
            coming = worker.submit(next, parts, None)
            yield chunk


def _part(chunk: Chunk, name: str) -> pa.Table:
    return getattr(chunk, name.removeprefix("truth_"))


def _writer(out: Path, name: str) -> pq.ParquetWriter:
    kind = FILES[name]
    return pq.ParquetWriter(
        out / f"{name}.parquet",
        kind,
        compression="zstd",
        compression_level=1,
        use_dictionary=[column for column in kind.names if column not in PLAIN_COLUMNS],
    )
