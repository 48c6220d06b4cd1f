"""The clock: jobs that run by the hour and by the night, each as of the moment it was due."""

import dagster as dg

from cart_core import rules
from pipelines.defs.runs.jobs import nightly, refresh

RUNNING = dg.DefaultScheduleStatus.RUNNING
HOURLY = "Five past every hour: what changes by the hour, as of that moment."
DAILY = "Half past midnight UTC: every table, as of that moment."


@dg.schedule(job=refresh, cron_schedule="5 * * * *", default_status=RUNNING, description=HOURLY)
def hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for a run of what changes by the hour."""
    return _as_of(context)


@dg.schedule(job=nightly, cron_schedule="30 0 * * *", default_status=RUNNING, description=DAILY)
def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for a run of everything."""
    return _as_of(context)


def _as_of(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    due = rules.format_time(context.scheduled_execution_time)
    return dg.RunRequest(
        run_key=due, run_config={"resources": {"terms": {"config": {"as_of": due}}}}, tags={"as_of": due}
    )
