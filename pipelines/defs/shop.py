"""What every job is told: which shop's folder it works on, and by which definitions and as of which moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from cart_core import rules
from cart_core.store import CartStore
from pipelines import files
from pipelines.derive.recovery_policy import Policy
from pipelines.tables import INPUTS

DEFAULT_STORE = "data/store"
STORE_VARIABLE = "CART_STORE"
EXPERIMENTS = "experiments.toml"


class Shop(dg.ConfigurableResource["Shop"]):
    """One shop's folder: its store of events, what it hands in, and the tables derived from both."""

    store: str = Field(default="", description=f"The folder; empty means ${STORE_VARIABLE}, or {DEFAULT_STORE}.")

    @property
    def folder(self) -> Path:
        """The shop's folder."""
        return Path(self.store or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE)

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
        return CartStore.open(self.folder)

    def given(self, name: str) -> pl.DataFrame:
        """A table that the shop hands in, such as contacts; without rows where it hands in none."""
        return files.read_input(self.folder / "inputs", name)

    def views(self) -> pl.LazyFrame:
        """Every product view that was imported or handed in, each id once."""
        found = sorted((self.folder / "views").glob("*.parquet"))
        return pl.scan_parquet(found) if found else INPUTS["views"].empty().lazy()

    def experiments(self) -> str:
        """The declared experiments as TOML text: the shop's own, else those of data/experiments.toml, else none."""
        places = (self.folder / "inputs" / EXPERIMENTS, Path("data") / EXPERIMENTS)
        return next((place.read_text("utf-8") for place in places if place.exists()), "")

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


class Terms(dg.ConfigurableResource["Terms"]):
    """The definitions that figures are made by, and the moment they are as of."""

    as_of: str = Field(default="", description="The moment (RFC 3339); empty means the moment the run was created.")
    idle_minutes: int = Field(default=60, gt=0, description="Silence after which a cart counts as abandoned.")
    other_idle_minutes: list[int] = Field(default=[10, 1440], description="More definitions, for rates by day.")
    window_days: int = Field(default=7, gt=0, description="How long after it a checkout still counts.")
    time_zone: str = Field(default="UTC", description="The zone whose days daily tables count in (IANA name).")
    engine: str = Field(default="local", description="Where carts are folded when all are: local or spark.")
    campaign: str = Field(default="recovery", description="The recovery campaign; each draws its own holdout.")
    holdout: float = Field(default=0.1, ge=0, le=1, description="The share of shoppers who are never written to.")
    min_value_cents: int = Field(default=0, ge=0, description="Carts worth less are not written about.")
    max_age_hours: int = Field(default=72, gt=0, description="Nor are carts that have been silent for longer.")

    @property
    def idle(self) -> timedelta:
        """The silence after which a cart counts as abandoned."""
        return timedelta(minutes=self.idle_minutes)

    @property
    def idles(self) -> list[timedelta]:
        """Every definition of silence, the main one first."""
        return [timedelta(minutes=minutes) for minutes in dict.fromkeys([self.idle_minutes, *self.other_idle_minutes])]

    @property
    def window(self) -> timedelta:
        """How long after it a checkout still counts."""
        return timedelta(days=self.window_days)

    @property
    def policy(self) -> Policy:
        """The campaign's rules."""
        return Policy(
            self.campaign,
            self.idle,
            self.window,
            min_value_cents=self.min_value_cents,
            max_age=timedelta(hours=self.max_age_hours),
            time_zone=self.time_zone,
            holdout=self.holdout,
        )

    def noted(self) -> dict[str, str]:
        """The definitions as they are noted in every table."""
        seconds = {"idle_s": self.idle, "window_s": self.window}
        return {"time_zone": self.time_zone} | {
            name: str(span // timedelta(seconds=1)) for name, span in seconds.items()
        }

    def moment(self, context: dg.AssetExecutionContext) -> datetime:
        """The moment that a run's figures are as of: the same for every table of the run."""
        if self.as_of:
            return rules.parse_time(self.as_of)
        record = context.instance.get_run_record_by_id(context.run.run_id)
        if record is None:
            raise dg.DagsterInvariantViolationError(f"run {context.run.run_id} is not known to its own instance")
        created: datetime = record.create_timestamp
        return created.astimezone(UTC)
