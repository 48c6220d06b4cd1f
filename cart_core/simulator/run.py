"""Run the simulated shop and write what it would have recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import rules
from cart_core.errors import Refused
from cart_core.schema import EVENTS
from cart_core.simulator import catalog as catalogs
from cart_core.simulator import records, rhythm, tables
from cart_core.simulator.behaviour import Behaviour
from cart_core.simulator.records import World
from cart_core.simulator.shoppers import play
from cart_core.simulator.truth import Effect, Truth

START = datetime(2026, 1, 5, tzinfo=UTC)
EXPERIMENT = "checkout_button"
NULL_EXPERIMENT = "aa_check"
EXPERIMENT_AFTER = 0.4
IDLE = timedelta(minutes=60)
WINDOW = timedelta(days=7)
CHUNK_CARTS = 16_384
MAX_CARTS = 100_000_000
MAX_DAYS = 3_650
MAX_SEED = 2**63 - 1
PLAIN_COLUMNS = frozenset(("event_id", "cart_id", "view_id", "order_id", "user_id", "session"))
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Shop:
    """One simulated shop: its size, its seed, and what is true about its shoppers.

    ``lift`` is the relative change of the chance that a cart is bought, for carts begun at or after the first
    exposure to ``treatment`` of the experiment ``checkout_button``; ``aa_check`` has no effect. Both run from 40 %
    of the period to its end. Raises Refused (``bad_shop``) where a size is out of range.
    """

    carts: int
    days: int
    seed: int
    start: datetime = START
    lift: float = 0.10
    treated_share: float = 0.5
    behaviour: Behaviour = field(default_factory=Behaviour)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("carts", 1, MAX_CARTS),
            ("days", 1, MAX_DAYS),
            ("seed", 0, MAX_SEED),
            ("lift", -1, 10),
            ("treated_share", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise Refused("bad_shop", f"{name} is {value}, but must be from {low} to {high}", field=name)
        if self.start.tzinfo is None:
            raise Refused("bad_shop", f"start is {self.start}, but must have a time zone", field="start")

    @property
    def end(self) -> datetime:
        """When the period ends; every event is earlier."""
        return self.start + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole carts of a shop with all their events, cart by cart, and what else those shoppers left behind."""

    events: pa.Table
    views: pa.Table
    exposures: pa.Table
    contacts: pa.Table
    episodes: pa.Table
    sums: np.ndarray[Any, np.dtype[Any]]
    completed: int
    overcharged: list[dict[str, Any]]


def simulate(
    out: Path,
    *,
    carts: int,
    days: int,
    seed: int,
    start: datetime = START,
    lift: float = 0.10,
    behaviour: Behaviour | None = None,
    progress: Progress | None = None,
) -> Truth:
    """Write a shop of ``carts`` carts over ``days`` days to the folder ``out``, and return what is true about it.

    Files: events, views, exposures, contacts, coupons, stock and truth_episodes .parquet, and truth.json. Events
    stand cart by cart, versions and times ascending within a cart; position and recorded_at are null. The same
    arguments give the same bytes. Memory does not grow with ``carts``. ``progress`` is called with carts done and
    carts in all. Existing files are replaced; a crash leaves files half written.
    Raises Refused (``bad_shop``) where an argument is out of range.
    """
    shop = Shop(carts, days, seed, start, lift, behaviour=behaviour or Behaviour())
    out.mkdir(parents=True, exist_ok=True)
    tally = Tally(shop)
    with ExitStack() as stack:
        writers = {name: stack.enter_context(_writer(out, name, kind)) for name, kind in FILES.items()}
        for chunk in chunks(shop):
            for name, writer in writers.items():
                writer.write_table(getattr(chunk, _FIELDS[name]), row_group_size=CHUNK_CARTS * 16)
            tally.add(chunk)
            if progress is not None:
                progress(tally.counts["carts"], carts)
    offers = catalogs.coupons(seed, rules.to_micros(start), days)
    pq.write_table(tables.coupon_table(offers), out / "coupons.parquet", compression="zstd")
    pq.write_table(catalogs.stock(seed), out / "stock.parquet", compression="zstd")
    truth = tally.truth()
    truth.write(out / "truth.json")
    return truth


FILES = {
    "events": EVENTS,
    "views": tables.VIEWS,
    "exposures": tables.EXPOSURES,
    "contacts": tables.CONTACTS,
    "truth_episodes": tables.EPISODES,
}
_FIELDS = {name: name.removeprefix("truth_") for name in FILES}


def chunks(shop: Shop) -> Iterator[Chunk]:
    """The shop in parts of at most 16 384 carts, without touching a disk."""
    start_us = rules.to_micros(shop.start)
    goods = catalogs.catalog(shop.seed, start_us, shop.days)
    offers = catalogs.coupons(shop.seed, start_us, shop.days)
    world = _world(shop, goods, offers)
    first_view = 1
    for number, first in enumerate(range(0, shop.carts, CHUNK_CARTS)):
        count = min(CHUNK_CARTS, shop.carts - first)
        visitors = int(count * shop.behaviour.visitors_per_cart)
        sink = records.sink(count, visitors)
        play(world, first, count, visitors, sink)
        chunk = _chunk(shop, world, goods, offers, sink, first, first_view, number)
        first_view += len(chunk.views)
        yield chunk


@dataclass
class Tally:
    """Counts over all chunks of a shop."""

    shop: Shop
    counts: Counter[str] = field(default_factory=Counter)
    episodes: Counter[str] = field(default_factory=Counter)
    sums: np.ndarray[Any, np.dtype[Any]] = field(default_factory=lambda: np.zeros(6))
    overcharged: list[dict[str, Any]] = field(default_factory=list)

    def add(self, chunk: Chunk) -> None:
        """Count one chunk."""
        for name in ("events", "views", "exposures", "contacts", "episodes"):
            self.counts[name] += len(getattr(chunk, name))
        self.counts["carts"] += _distinct_carts(chunk.events)
        self.counts["completed"] += chunk.completed
        self.sums += chunk.sums
        self.overcharged += chunk.overcharged
        groups = chunk.episodes.group_by(["stage", "outcome"]).aggregate([([], "count_all")]).to_pylist()
        for group in groups:
            self.episodes[f"{group['stage']}/{group['outcome']}"] += group["count_all"]

    def truth(self) -> Truth:
        """What is true about the shop."""
        shop, sums = self.shop, self.sums
        users = max(float(sums[records.ARM_USERS]), 1.0)
        return Truth(
            parameters={
                "carts": shop.carts,
                "days": shop.days,
                "seed": shop.seed,
                "lift": shop.lift,
                "treated_share": shop.treated_share,
                "experiment": EXPERIMENT,
                "null_experiment": NULL_EXPERIMENT,
                "experiment_start": rules.format_time(_experiment_start(shop)),
                "idle_s": int(IDLE.total_seconds()),
                "window_days": WINDOW.days,
                "behaviour": shop.behaviour._asdict(),
            },
            start=rules.format_time(shop.start),
            end=rules.format_time(shop.end),
            counts=dict(sorted(self.counts.items())),
            effects={
                "conversion": Effect(
                    float(sums[records.CONVERSION_CONTROL]) / users, float(sums[records.CONVERSION_TREATMENT]) / users
                ),
                "revenue_cents": Effect(
                    float(sums[records.REVENUE_CONTROL]) / users, float(sums[records.REVENUE_TREATMENT]) / users
                ),
            },
            exposed_users=int(sums[records.ARM_USERS]),
            mixed_users=int(sums[records.MIXED_USERS]),
            episodes=dict(sorted(self.episodes.items())),
            overcharged=self.overcharged,
        )


def _world(shop: Shop, goods: catalogs.Catalog, offers: catalogs.Coupons) -> World:
    return World(
        seed=np.uint64(shop.seed),
        start_us=rules.to_micros(shop.start),
        end_us=rules.to_micros(shop.end),
        idle_us=IDLE // timedelta(microseconds=1),
        window_us=WINDOW // timedelta(microseconds=1),
        rates=shop.behaviour,
        zone_shares=rhythm.zone_shares(),
        hour_shares=rhythm.hour_shares(shop.start, shop.days),
        offsets_us=rhythm.offsets_us(shop.start, shop.days),
        product_shares=goods.shares,
        change_start=goods.change_start,
        change_at=goods.change_at,
        change_cents=goods.change_cents,
        change_pushed=goods.change_pushed,
        coupon_starts=offers.starts_at,
        coupon_ends=offers.ends_at,
        coupon_percentage=offers.percentage,
        coupon_steps=offers.steps,
        experiment_at=rules.to_micros(_experiment_start(shop)),
        lift=float(shop.lift),
        treated_share=float(shop.treated_share),
    )


def _experiment_start(shop: Shop) -> datetime:
    return shop.start + timedelta(hours=round(shop.days * 24 * EXPERIMENT_AFTER))


def _chunk(
    shop: Shop,
    world: World,
    goods: catalogs.Catalog,
    offers: catalogs.Coupons,
    sink: records.Sink,
    first: int,
    first_view: int,
    number: int,
) -> Chunk:
    users = sink.users[: sink.counts[records.USERS_N]]
    names = tables.user_ids(users)
    owners = names.take(pa.array(sink.carts["user"]))
    episodes = sink.episodes[: sink.counts[records.EPISODES_N]]
    rng = np.random.default_rng(np.random.SeedSequence((shop.seed, 3, number)))
    rates = shop.behaviour
    return Chunk(
        events=tables.events(
            shop.seed, first, sink.events[: sink.counts[records.EVENTS_N]], owners, goods, offers
        ),
        views=tables.views(
            first, sink.views[: sink.counts[records.VIEWS_N]], names, sink.carts, goods, first_view
        ),
        exposures=tables.exposures(
            sink.exposures[: sink.counts[records.EXPOSURES_N]], names, (EXPERIMENT, NULL_EXPERIMENT)
        ),
        contacts=tables.contacts(users, names, rng, rates.address_share, rates.consent_share),
        episodes=tables.episodes(
            shop.seed, first, episodes, sink.carts, owners, world.idle_us, world.window_us, world.end_us
        ),
        sums=sink.sums,
        completed=int((sink.carts["completed_at"] != records.NEVER).sum()),
        overcharged=_overcharged(shop.seed, first, sink.carts),
    )


def _overcharged(seed: int, first: int, carts: np.ndarray[Any, np.dtype[Any]]) -> list[dict[str, Any]]:
    where = np.flatnonzero(carts["overcharged"])
    names = tables.uuid_texts(tables.ids(seed, where + first, 0)).to_pylist()
    return [
        {
            "cart_id": name,
            "order_id": f"order-{first + row}",
            "charged_cents": int(carts["charged_cents"][row]),
            "projected_cents": int(carts["total_cents"][row]),
        }
        for name, row in zip(names, where.tolist(), strict=True)
    ]


def _distinct_carts(events: pa.Table) -> int:
    return int((events["version"].to_numpy() == 1).sum())


def _writer(out: Path, name: str, kind: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        out / f"{name}.parquet",
        kind,
        compression="zstd",
        compression_level=1,
        use_dictionary=[column for column in kind.names if column not in PLAIN_COLUMNS],
    )
