"""A shop's folder as derivations read it: events up to a position, what the shop hands in, tables, experiments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cart_core import rules, schema, settings
from cart_core.errors import Problem, StoreNotFound
from cart_core.projector import kept
from cart_core.projector.many import uuids
from cart_core.projector.streaming import in_order
from cart_core.store import CartStore
from pipelines import files
from pipelines.derive import experiments
from pipelines.derive.experiments import Acted, Experiment, ExperimentError
from pipelines.derive.explain import Evidence
from pipelines.tables import INPUTS, ids_as_bytes

Derived = TypeVar("Derived")
Ids = np.ndarray[Any, np.dtype[np.uint8]]

EXPERIMENTS = "experiments.toml"
EXPERIMENTS_VARIABLE = "CART_EXPERIMENTS"
WEEK_S = 604_800
PIECE_CARTS = 30_000
VIEWS_AT_ONCE = 1_000_000
NO_BOUND = datetime.max.replace(tzinfo=UTC)
EXPLAINED_COLUMNS = (
    "event_id", "cart_id", "user_id", "version", "timestamp", "recorded_at", "type", "product_id", "product_name",
    "quantity", "price_cents", "currency", "coupon_code", "discount_type", "discount_value", "reason", "order_id",
    "total_cents", "metadata",
)  # fmt: skip
EXPOSURE_COLUMNS = ("user_id", "timestamp", "metadata")


@dataclass(frozen=True, slots=True)
class History:
    """The events of a store up to a position: the same rows at every reading, however busy the store is."""

    store: CartStore
    until: int | None = None

    def position(self) -> int:
        """The position of the last event that is read; 0 where there is none."""
        last = self.store.position()
        return last if self.until is None else min(self.until, last)

    def event_id(self, position: int) -> str:
        """The id of the event at a position as hexadecimal digits; empty at 0."""
        return kept.event_id(self.store, position)

    def batches(self, columns: Sequence[str], after: int = 0, encoded: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Events after a position, in tables that hold whole carts, versions ascending inside a cart.

        Columns that are ``encoded`` may come as dictionaries.
        """
        return self.store.batches(columns, after=after, until=self.until, encoded=encoded)

    def each(
        self, columns: Sequence[str], derive: Callable[[pa.Table], Derived], encoded: Sequence[str] = ()
    ) -> list[Derived]:
        """What a function gives for every table of ``batches``, in order; on all cores, a few tables in memory."""
        return list(in_order(derive, self.batches(columns, encoded=encoded)))

    def scan(self, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Events in order of position."""
        return self.store.scan(until=self.until, columns=columns)

    def of(self, ids: Ids, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The events of some carts, given as (n, 16) bytes each, in tables as ``batches`` gives.

        They are looked up by index, in order of their keys: only those row groups are read that hold any.
        """
        ids = schema.distinct(ids)
        pieces = [ids[first : first + PIECE_CARTS] for first in range(0, max(1, len(ids)), PIECE_CARTS)]
        yield from in_order(partial(self._read, columns=columns), pieces)

    def of_carts(self, carts: pl.Series) -> pa.Table:
        """The events of some carts, given their ids as text, by position."""
        return self._read(ids_of(carts), schema.EVENTS.names)

    def _read(self, ids: Ids, columns: Sequence[str]) -> pa.Table:
        carts = uuids(ids)
        if self.until is None:
            return self.store.read_many(carts, columns)
        found = self.store.read_many(carts, [*dict.fromkeys((*columns, "position"))])
        return found.filter(pc.less_equal(found["position"], self.until)).select(columns)

    def none(self, columns: Sequence[str]) -> pl.LazyFrame:
        """No event, with these columns."""
        return pl.DataFrame(schema.EVENTS.empty_table().select(list(columns))).lazy()


def ids_of(carts: pl.Series) -> Ids:
    """Cart ids, as text or 16 bytes, as an array of (n, 16) bytes."""
    raw = ids_as_bytes(carts.alias("cart_id").to_frame())["cart_id"]
    return schema.id_bytes(raw.to_arrow().cast(pa.binary(16)))


class ShopFolder:
    """One shop's folder; a subclass says where it is, and may say up to which event it is read."""

    @property
    def folder(self) -> Path:
        """The shop's folder."""
        raise NotImplementedError

    @property
    def bound(self) -> int | None:
        """The position of the last event that is read; None means the store's last."""
        return None

    @property
    def declarations(self) -> str:
        """The file of declared experiments where somebody names one; empty means the places of ``experiments``."""
        return ""

    @property
    def derived(self) -> Path:
        """Where derived tables stand."""
        return self.folder / "derived"

    @property
    def inbox(self) -> Path:
        """Where files are dropped to be imported."""
        return self.folder / "inbox"

    def events(self) -> CartStore:
        """Open the store of events, making an empty one where there is none."""
        return CartStore.open(self.folder, **settings.parts())

    @contextmanager
    def history(self) -> Iterator[History]:
        """The events that are read, up to ``bound``."""
        with self.events() as store:
            yield History(store, self.bound)

    def given(self, name: str) -> pl.DataFrame:
        """A table that the shop hands in, such as contacts; without rows where it hands in none."""
        return files.read_input(self.folder / "inputs", name)

    def views(self) -> pl.LazyFrame:
        """Every product view that was imported or handed in, each id once."""
        found = sorted((self.folder / "views").glob("*.parquet"))
        return pl.scan_parquet(found) if found else INPUTS["views"].empty().lazy()

    def table(self, name: str) -> pl.DataFrame:
        """A derived table. Raises StoreNotFound where it was never derived."""
        return files.read_table(self.derived, name)

    def has_table(self, name: str) -> bool:
        """Whether a table was ever derived."""
        return files.path_of(self.derived, name).exists()

    def notes(self, name: str) -> dict[str, str]:
        """What was noted when a table was written: as_of and the position of the last event read."""
        return files.read_notes(self.derived, name)

    def write(self, name: str, frame: files.Frame, notes: Mapping[str, str]) -> Path:
        """Replace a derived table in one step. Raises TableError where the frame breaks its contract."""
        return files.write_table(self.derived, name, frame, notes)

    def experiments(self) -> str:
        """The declared experiments as TOML text, and none where there is no declaration.

        A file that is named, by configuration or by $CART_EXPERIMENTS, is the one that counts; else inputs/ of the
        shop's folder; else data/ where the command runs. Raises StoreNotFound where a file that is named is not there.
        """
        named = self.declarations or os.environ.get(EXPERIMENTS_VARIABLE, "")
        if named:
            if not Path(named).is_file():
                raise StoreNotFound(
                    f"there is no file of experiments {named}; it is named by "
                    + ("the configuration" if self.declarations else f"${EXPERIMENTS_VARIABLE}")
                )
            return Path(named).read_text("utf-8")
        places = (self.folder / "inputs" / EXPERIMENTS, Path("data") / EXPERIMENTS)
        return next((place.read_text("utf-8") for place in places if place.is_file()), "")

    def exposed(self) -> Iterator[tuple[Experiment, pl.DataFrame]]:
        """Each declared experiment with its exposures, wherever they come from. Raises as ``declared``."""
        given = cache(partial(self.given, "exposures"))
        for experiment in experiments.declared(self.experiments()):
            yield experiment, given() if experiment.exposures == "file" else self.exposures(experiment)

    def exposures(self, experiment: Experiment) -> pl.DataFrame:
        """The exposures of an experiment: handed in, in the events' metadata, or drawn by hash over all users."""
        if experiment.exposures == "metadata":
            derive = partial(experiments.exposures_from_metadata, experiment=experiment.key)
            with self.history() as history:
                return pl.concat([INPUTS["exposures"].empty(), *history.each(EXPOSURE_COLUMNS, derive)])
        if experiment.exposures == "hash":
            first = pl.concat(self.each_acts(partial(experiments.first_acts, start=experiment.start or rules.EPOCH)))
            return experiments.exposures_by_hash(
                first, experiment.key, experiment.variants, experiment.start or rules.EPOCH, experiment.salt or None
            )
        return self.given("exposures")

    def experiment(self, key: str) -> tuple[Experiment, pl.DataFrame]:
        """A declared experiment with its exposures. Raises ExperimentError where none of that key is declared."""
        for each in experiments.declared(self.experiments()):
            if each.key == key:
                return each, self.exposures(each)
        raise ExperimentError({key: [Problem("key", key, "declared in experiments.toml")]})

    def all_events(self) -> pl.LazyFrame:
        """Every event that is read, with the columns that figures rest on."""
        with self.history() as history:
            return history.scan(EXPLAINED_COLUMNS)

    def events_of(self, carts: pl.Series) -> pl.DataFrame:
        """The events of some carts, given their ids as text, with the columns that figures rest on."""
        with self.history() as history:
            found = history.of_carts(carts)
        return cast("pl.DataFrame", pl.from_arrow(found.select(EXPLAINED_COLUMNS)))

    def each_acts(self, derive: Callable[[Acted], Derived]) -> list[Derived]:
        """What a function gives for what users did that experiments measure, part by part; a few parts in memory.

        The parts are the acts of some carts each, by their events and episodes, and some views each; the last is empty.
        """
        episodes = self.table("abandonment_episodes").select("cart_id", "abandoned_at")
        silences = _Silences(ids_as_bytes(episodes))
        with self.history() as history:
            found = history.each(
                experiments.ACT_COLUMNS,
                lambda part: derive(experiments.acted(part, silences.of(part))),
                encoded=("user_id", "type"),
            )
            none = history.none(experiments.ACT_COLUMNS).collect()
        viewed = self.views().select("user_id", "at").collect_batches(maintain_order=False, chunk_size=VIEWS_AT_ONCE)
        looked = in_order(lambda part: derive(experiments.viewed(part)), viewed)
        return [*found, *looked, derive(experiments.acted(none))]


class _Silences:
    """When carts were abandoned, to be asked for the carts of one part of a history after the other."""

    def __init__(self, episodes: pl.DataFrame) -> None:
        keys = schema.cart_keys(ids_of(episodes["cart_id"]))
        order = schema.ascending(keys)
        self._keys = keys[order]
        self._episodes = episodes[order]

    def of(self, part: pa.Table) -> pl.DataFrame:
        """The episodes whose carts' keys lie among those of the part, which are a range of all keys, or few."""
        keys = schema.cart_keys(schema.id_bytes(part["cart_id"]))
        if not len(keys):
            return self._episodes.clear()
        low, high = np.searchsorted(self._keys, keys.min(), "left"), np.searchsorted(self._keys, keys.max(), "right")
        return self._episodes.slice(low, high - low)


@dataclass(frozen=True)
class PlainShop(ShopFolder):
    """A shop's folder that is read outside of any job."""

    path: Path
    until: int | None = None

    @property
    def folder(self) -> Path:
        """The shop's folder."""
        return self.path

    @property
    def bound(self) -> int | None:
        """The position of the last event that is read."""
        return self.until


def evidence_for(folder: Path, name: str) -> Evidence:
    """What a row of a derived table can be explained from: the events that it was derived from, and no later ones.

    Moment, definitions and position are those noted in the table; carts and lines have no moment. Raises StoreNotFound
    where the table was never derived.
    """
    notes = files.read_notes(folder / "derived", name)
    shop = PlainShop(folder, int(notes["position"]))
    return Evidence(
        table=cache(shop.table),
        scan=partial(files.scan_table, shop.derived),
        events=shop.events_of,
        all_events=cache(shop.all_events),
        views=cache(lambda: shop.views().collect()),
        experiment=cache(shop.experiment),
        as_of=rules.parse_time(notes["as_of"]) if "as_of" in notes else NO_BOUND,
        window=timedelta(seconds=int(notes.get("window_s", WEEK_S))),
        time_zone=notes.get("time_zone", "UTC"),
    )
