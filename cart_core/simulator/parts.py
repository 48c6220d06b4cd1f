"""The simulated shop in parts that fit into memory, as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cart_core.simulator import records, tables
from cart_core.simulator.catalog import Catalog, Coupons, catalog, coupons
from cart_core.simulator.records import Array, World
from cart_core.simulator.shop import EXPERIMENT, NULL_EXPERIMENT, Shop, world
from cart_core.simulator.shoppers import play

CHUNK_CARTS = 16_384
CONTACTS_STREAM = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole carts of a shop with all their events, cart by cart, and what else those shoppers left behind.

    ``sums`` are the parts of the true effects (``records.ARM_USERS`` and on), ``overcharged`` the carts that were
    charged another total than the projected one.
    """

    carts: int
    completed: int
    events: pa.Table
    views: pa.Table
    exposures: pa.Table
    contacts: pa.Table
    episodes: pa.Table
    sums: Array
    overcharged: list[dict[str, Any]]


def chunks(shop: Shop) -> Iterator[Chunk]:
    """The shop in parts of at most 16 384 carts, without touching a disk; the same shop gives the same parts."""
    goods = catalog(shop.seed, shop.start_us, shop.days)
    offers = coupons(shop.seed, shop.start_us, shop.days)
    first_view = 1
    for first in range(0, shop.carts, CHUNK_CARTS):
        count = min(CHUNK_CARTS, shop.carts - first)
        visitors = int(count * shop.behaviour.visitors_per_cart)
        played = world(shop, goods, offers, count, visitors)
        play(played, first, count, visitors)
        chunk = _chunk(shop, goods, offers, played, first, first_view)
        first_view += len(chunk.views)
        yield chunk


def _chunk(shop: Shop, goods: Catalog, offers: Coupons, played: World, first: int, first_view: int) -> Chunk:
    events, views, episodes, exposures, users = (
        getattr(played, name)[:count] for name, count in zip(records.COUNTED, played.counts, strict=True)
    )
    carts = played.carts
    names = tables.user_ids(users)
    owners = names.take(pa.array(carts["user"]))
    rng = np.random.default_rng(np.random.SeedSequence((shop.seed, CONTACTS_STREAM, first)))
    rates = shop.behaviour
    return Chunk(
        carts=len(carts),
        completed=int((carts["completed_at"] != records.NEVER).sum()),
        events=tables.events(shop.seed, first, events, owners, goods, offers),
        views=tables.views(first, views, users, names, goods, first_view),
        exposures=tables.exposures(exposures, names, (EXPERIMENT, NULL_EXPERIMENT)),
        contacts=tables.contacts(users, names, rng, rates.address_share, rates.consent_share),
        episodes=tables.episodes(shop.seed, first, episodes, carts, owners, played.settings),
        sums=played.sums,
        overcharged=_overcharged(shop.seed, first, carts),
    )


def _overcharged(seed: int, first: int, carts: Array) -> list[dict[str, Any]]:
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
