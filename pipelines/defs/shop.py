"""What every job is told: which shop's folder it works on, and by which definitions and as of which moment."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from cart_core import rules
from pipelines.derive.recovery_policy import Policy
from pipelines.shop import EXPERIMENTS_VARIABLE, ShopFolder

DEFAULT_STORE = "data/store"
DAY = timedelta(days=1)
STORE_VARIABLE = "CART_STORE"


class Shop(dg.ConfigurableResource["Shop"], ShopFolder):
    """One shop's folder: its store of events, what it hands in, and the tables derived from both."""

    store: str = Field(default="", description=f"The folder; empty means ${STORE_VARIABLE}, or {DEFAULT_STORE}.")
    declared: str = Field(
        default="", description=f"The file of declared experiments; empty means ${EXPERIMENTS_VARIABLE}, or its places."
    )
    check_all: bool = Field(
        default=False, description="Checks look at all carts, not only at those with events since they last looked."
    )
    until: int | None = Field(default=None, ge=0, description="Only events up to this position; empty means all.")

    @property
    def folder(self) -> Path:
        """The shop's folder."""
        return Path(self.store or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE)

    @property
    def bound(self) -> int | None:
        """The position of the last event that is read."""
        return self.until

    @property
    def declarations(self) -> str:
        """The file of declared experiments, where it is configured."""
        return self.declared

    def up_to(self, position: int) -> Shop:
        """The same shop, read up to a position."""
        return Shop(store=self.store, declared=self.declared, check_all=self.check_all, until=position)


class Terms(dg.ConfigurableResource["Terms"]):
    """The definitions that figures are made by, and the moment they are as of."""

    as_of: str = Field(default="", description="The moment (RFC 3339); empty means the moment the run was created.")
    idle_minutes: int = Field(default=60, gt=0, description="Silence after which a cart counts as abandoned.")
    other_idle_minutes: list[int] = Field(default=[10, 1440], description="More definitions, for rates by day.")
    window_days: int = Field(default=7, gt=0, description="How long after it a checkout still counts.")
    time_zone: str = Field(default="UTC", description="The zone whose days daily tables count in (IANA name).")
    known_at_1: str = Field(default="", description="What was known then (RFC 3339) is restated; empty: a day before.")
    known_at_2: str = Field(default="", description="By what was known then (RFC 3339); empty: the run's moment.")
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

    def knowledge(self, as_of: datetime) -> tuple[datetime, datetime]:
        """The two moments of knowledge that restatements compare."""
        then = rules.parse_time(self.known_at_2) if self.known_at_2 else as_of
        return rules.parse_time(self.known_at_1) if self.known_at_1 else then - DAY, then

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
