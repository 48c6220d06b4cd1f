"""The clock: jobs that run by the hour, the night and the week, each as of the moment it was due."""

import dagster as dg

from cart_core import rules
from pipelines.defs.runs.jobs import nightly, refresh, weekly

RUNNING = dg.DefaultScheduleStatus.RUNNING
HOURLY = "Five past every hour: what changes by the hour, as of that moment."
WEEKLY = "Half past six on Mondays, UTC: the report of the week, as of that moment."
DAILY = "Half past midnight UTC: every table, as of that moment."


@dg.schedule(job=refresh, cron_schedule="5 * * * *", default_status=RUNNING, description=HOURLY)
def hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for a run of what changes by the hour."""
    return _as_of(context)


@dg.schedule(job=nightly, cron_schedule="30 0 * * *", default_status=RUNNING, description=DAILY)
def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for a run of everything."""
    return _as_of(context)


@dg.schedule(job=weekly, cron_schedule="30 6 * * 1", default_status=RUNNING, description=WEEKLY)
def by_week(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for the report of the week that is over."""
    return _as_of(context)


def _as_of(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    due = rules.format_time(context.scheduled_execution_time)
    return dg.RunRequest(
        run_key=due, run_config={"resources": {"terms": {"config": {"as_of": due}}}}, tags={"as_of": due}
    )
