"""Running jobs in this process, without a Dagster home, daemon or web server: what ``cart demo`` and tests do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from cart_core import rules
from cart_core.errors import CartError
from pipelines.defs import everything
from pipelines.defs.runs.jobs import WEEK
from pipelines.defs.shop import Shop, Terms
from pipelines.tables.contract import TableError

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SETTINGS = {"telemetry": {"enabled": False}}


class RefreshFailed(CartError, RuntimeError):
    """Some tables could not be derived, or a check of theirs failed; the message names each with its reason."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a run did: for each asset what it told, and for each check whether it held."""

    told: dict[str, dict[str, Any]]
    checks: dict[str, bool]


def refresh(folder: Path, as_of: datetime | None = None, only: Sequence[str] | None = None) -> Refreshed:
    """Derive every table of a shop's folder (or ``only`` some), run their checks, and say what was done.

    With a table come those that are made in one step with it. ``as_of`` is the moment that figures are as of, by
    default the moment of the call. Tables are exchanged one by one, each whole; a table whose input breaks a blocking
    check is left as it was.
    Raises RefreshFailed where an asset or a blocking check fails, TableError where one of ``only`` is not known.
    """
    terms = Terms(as_of=rules.format_time(as_of) if as_of else "")
    with dg.DagsterInstance.ephemeral(settings=SETTINGS) as instance:
        done = dg.materialize(
            [*everything.assets(), *everything.checks()],
            selection=dg.AssetSelection.all() - WEEK if only is None else _whole(only),
            instance=instance,
            resources={**everything.resources(), "shop": Shop(store=str(folder)), "terms": terms},
            run_config=QUIET,
            raise_on_error=False,
        )
    if not done.success:
        raise RefreshFailed(_told_failures(done))
    return Refreshed(_told(done), _checks(done))


def _whole(names: Sequence[str]) -> dg.AssetSelection:
    """These tables, and those that are made in one step with any of them. Raises TableError for an unknown one."""
    known = sorted({key.to_user_string() for each in everything.assets() for key in each.keys})
    for name in names:
        if name not in known:
            raise TableError(f"there is no table {name!r}; there are {', '.join(known)}")
    return dg.AssetSelection.assets(*names).required_multi_asset_neighbors()


def _told(done: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    events = done.get_asset_materialization_events()
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items() if hasattr(value, "value")
        }
        for event in events
        if event.asset_key is not None
    }


def _checks(done: dg.ExecuteInProcessResult) -> dict[str, bool]:
    found = done.get_asset_check_evaluations()
    return {f"{each.asset_key.to_user_string()}.{each.check_name}": each.passed for each in found}


def _told_failures(done: dg.ExecuteInProcessResult) -> str:
    failed = [
        f"{event.step_key}: {_cause(event.step_failure_data.error)}"
        for event in done.all_events
        if event.is_step_failure
    ]
    return "; ".join(failed) or "the run failed before any step did"


def _cause(error: Any) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(str(error.message).split()) if error is not None else "no reason was given"
