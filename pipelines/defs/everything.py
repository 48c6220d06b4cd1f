"""All assets, checks, jobs, schedules and sensors, gathered from their topics."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import dagster as dg

from pipelines import defs as topics
from pipelines.defs.alerts import Alerts
from pipelines.defs.deriving import DERIVES, days_of
from pipelines.defs.runs import jobs, schedules, sensors
from pipelines.defs.shop import Shop, Terms
from pipelines.tables import TABLES


def definitions() -> dg.Definitions:
    """What Dagster loads: runs are in one process, in the order of the tables."""
    return dg.Definitions(
        assets=assets(),
        asset_checks=checks(),
        jobs=[jobs.refresh, jobs.nightly, jobs.weekly, backfill()],
        schedules=[schedules.hourly, schedules.daily, schedules.by_week],
        sensors=[sensors.dropped_files],
        resources=resources(),
        executor=dg.in_process_executor,
    )


def backfill() -> dg.JobDefinition:
    """The job that derives days of the past anew: one run for any range of them.

    Its assets are the daily tables by day. They are no assets of the whole, where the same tables are made as they
    stand: a table that were partitioned there could only be made a day or a range at a time.
    """
    daily = [name for name, table in TABLES.items() if "date" in table.key and name in DERIVES]
    keys = {dg.AssetKey(name) for name in daily}
    inner = dg.Definitions(
        assets=[days_of(name) for name in daily],
        asset_checks=[each for each in checks() if {key.asset_key for key in each.check_keys} <= keys],
        jobs=[dg.define_asset_job("backfill", dg.AssetSelection.all(), description=jobs.BACKFILL)],
        resources=resources(),
        executor=dg.in_process_executor,
    )
    return inner.resolve_job_def("backfill")


def assets() -> list[dg.AssetsDefinition]:
    """Every asset of every topic."""
    return [each for each in dg.load_assets_from_modules(_modules("assets")) if isinstance(each, dg.AssetsDefinition)]


def checks() -> list[dg.AssetChecksDefinition]:
    """Every check of every topic."""
    return list(dg.load_asset_checks_from_modules(_modules("checks")))


def resources() -> Mapping[str, Any]:
    """What jobs are given unless a run says otherwise."""
    return {"shop": Shop(), "terms": Terms(), "alerts": Alerts()}


def _modules(name: str) -> list[ModuleType]:
    folders = [each.name for each in iter_modules(topics.__path__) if each.ispkg]
    found = [f"pipelines.defs.{folder}.{name}" for folder in sorted(folders)]
    return [import_module(each) for each in found if _exists(each)]


def _exists(name: str) -> bool:
    return find_spec(name) is not None
