"""Jobs run by the clock, by what is dropped, and over days of the past, each as of the moment it says."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import yaml

from pipelines.dashboard.report import render
from pipelines.dashboard.source import load
from pipelines.definitions import defs
from pipelines.defs import everything
from pipelines.defs.deriving import DERIVES
from pipelines.defs.events import inbox
from pipelines.defs.in_process import QUIET, SETTINGS
from pipelines.defs.pages.assets import SHOWN, weekly_report
from pipelines.defs.pages.checks import reports_fit_a_mail
from pipelines.defs.runs import jobs, schedules, sensors
from pipelines.defs.shop import Shop, Terms
from pipelines.files import write_table
from tests.builders import NOON
from tests.conftest import REPOSITORY
from tests.pipelines.dashboard.shop_tables import headline

DUE = datetime(2026, 1, 31, 9, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    """What Dagster loads."""
    return defs.get_repository_def()


@pytest.mark.parametrize("schedule", [schedules.hourly, schedules.daily, schedules.by_week])
def test_a_schedule_runs_as_of_the_moment_it_was_due(schedule):
    """The moment is that of the schedule, however late the run starts, and the same tick starts one run only."""
    context = dg.build_schedule_context(scheduled_execution_time=DUE)
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_config["resources"]["terms"] == {"config": {"as_of": "2026-01-31T09:05:00Z"}}
    checks = {"shop": {"config": {"check_all": True}}} if schedule is schedules.by_week else {}
    assert request.run_config["resources"] == {"terms": request.run_config["resources"]["terms"], **checks}
    assert request.run_key == "2026-01-31T09:05:00Z"


def test_schedules_and_the_sensor_run_unless_somebody_stops_them():
    """After `dg dev` nothing has to be switched on."""
    clocks = (schedules.hourly, schedules.daily, schedules.by_week)
    assert {each.default_status for each in clocks} == {dg.DefaultScheduleStatus.RUNNING}
    assert [each.cron_schedule for each in clocks] == ["5 * * * *", "30 0 * * *", "30 6 * * 1"]
    assert sensors.dropped_files.default_status == dg.DefaultSensorStatus.RUNNING


def look(folder):
    """What the sensor says of an inbox."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"shop": Shop(store=str(folder))})
        return sensors.dropped_files.evaluate_tick(context)


def test_an_empty_inbox_starts_nothing(tmp_path):
    """The sensor says that no file is waiting."""
    found = look(tmp_path)
    assert found.run_requests == []
    assert "no file is waiting" in found.skip_message


def test_a_dropped_file_starts_one_run(tmp_path):
    """Looking again at the same file gives the same key, so Dagster starts no second run for it."""
    place = tmp_path / "inbox" / "today.jsonl"
    place.parent.mkdir()
    place.write_text("{}\n")
    os.utime(place, (NOON.timestamp(), NOON.timestamp()))
    first, second = look(tmp_path), look(tmp_path)
    assert first.run_requests[0].run_key == second.run_requests[0].run_key
    assert first.run_requests[0].tags["files"] == "today.jsonl"


def test_a_file_that_is_being_written_starts_nothing(tmp_path):
    """A file that was touched just now is left to the next look."""
    place = tmp_path / "inbox" / "today.jsonl"
    place.parent.mkdir()
    place.write_text("{}\n")
    assert inbox.SETTLE_S >= 5
    assert look(tmp_path).run_requests == []


def keys_of(repository, name: str) -> set[str]:
    """The tables that a job makes."""
    return {key.to_user_string() for key in repository.get_job(name).asset_layer.executable_asset_keys}


def test_the_hour_leaves_out_what_can_wait(repository):
    """Candidates, silences and the report are made by the hour; experiments and sealing wait for the night."""
    hourly, nightly = keys_of(repository, "refresh"), keys_of(repository, "nightly")
    assert {"events", "carts", "abandonment_episodes", "recovery_candidates", "headline"} <= hourly
    assert not hourly & {"segments", "experiment_results", "restatements", "overcharges"}
    every = {key.to_user_string() for each in everything.assets() for key in each.keys}
    assert nightly == every - {"weekly_report"}


def test_the_weeks_report_is_of_tables_of_its_own_moment(repository):
    """The weekly job derives what the report shows before it writes it; nothing else writes it."""
    week = keys_of(repository, "weekly")
    assert {"weekly_report", *SHOWN} <= week
    assert "weekly_report" not in keys_of(repository, "refresh")


def test_a_weeks_report_is_kept_by_its_day(tmp_path):
    """The file under reports/ is the report of the tables as they stand; one that fits no mail is found."""
    shop = Shop(store=str(tmp_path))
    write_table(shop.derived, "headline", headline())
    with dg.DagsterInstance.ephemeral(settings=SETTINGS) as instance:
        done = dg.materialize(
            [weekly_report],
            instance=instance,
            resources={**everything.resources(), "shop": shop, "terms": Terms(as_of="2026-02-02T06:30:00Z")},
            run_config=QUIET,
        )
    place = tmp_path / "reports" / "report-2026-02-02.html"
    assert done.success
    assert place.read_text("utf-8") == render(load(shop.derived))
    assert reports_fit_a_mail(shop).passed
    place.with_name("report-2026-02-09.html").write_text(
        place.read_text("utf-8") + '<img src="https://elsewhere.test/x">'
    )
    place.with_name("report-2026-02-16.html").write_text("x" * 1_000_000)
    assert reports_fit_a_mail(shop).metadata["offending_rows"].value == 2


def test_the_backfill_is_of_days_in_one_run(repository):
    """Its assets are all daily tables, partitioned by day, any range of them in a single run."""
    layer = repository.get_job("backfill").asset_layer
    assert keys_of(repository, "backfill") == {name for name in DERIVES if name.endswith("_daily")} | {"cart_cohorts"}
    for key in layer.executable_asset_keys:
        node = layer.get(key)
        assert node.partitions_def.has_partition_key("2025-12-31")
        assert node.backfill_policy == dg.BackfillPolicy.single_run()


def test_two_runs_never_write_one_table():
    """Every asset has a pool of its own, every day's backfill that of its table, and a pool lets one step in."""
    settings = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    pools = {each.op.pool for each in everything.assets()}
    assert None not in pools
    assert len(pools) == len(everything.assets())
    assert {node.definition.pool for node in everything.backfill().graph.nodes if "days_of" in node.name} <= pools


def test_the_second_writer_of_a_table_waits(tmp_path):
    """Under the settings of dagster.yaml a step of another run gets no slot of a table's pool until it is free."""
    settings = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"concurrency": settings["concurrency"]}) as instance:
        slots = instance.event_log_storage
        slots.initialize_concurrency_limit_to_default("carts")
        assert slots.claim_concurrency_slot("carts", "run-1", "carts").is_claimed
        assert not slots.claim_concurrency_slot("carts", "run-2", "carts").is_claimed
        slots.free_concurrency_slots_for_run("run-1")
        assert slots.claim_concurrency_slot("carts", "run-2", "carts").is_claimed


def test_telemetry_is_off():
    """Nothing that runs here tells anybody outside."""
    assert yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())["telemetry"] == {"enabled": False}


def test_everything_runs_in_one_process(repository):
    """Starting a process for each table costs more than most tables."""
    assert all(repository.get_job(name).executor_def is dg.in_process_executor for name in ("refresh", "backfill"))


def test_jobs_say_what_they_do():
    """Each job, schedule and sensor has a description."""
    told = [jobs.refresh, jobs.nightly, jobs.weekly, everything.backfill(), schedules.hourly, schedules.daily]
    told += [schedules.by_week, sensors.dropped_files]
    assert all(each.description for each in told)


def test_the_same_moment_of_two_clocks_is_one_run():
    """A moment is noted in UTC, whatever zone the scheduler's clock shows."""
    local = DUE.astimezone(tz=None) + timedelta(0)
    (request,) = schedules.hourly.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=local)).run_requests
    assert request.run_key == "2026-01-31T09:05:00Z"
