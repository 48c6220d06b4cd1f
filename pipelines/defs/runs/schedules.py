"""The clock: jobs that run by the hour, the night and the week, each as of the moment it was due."""

from typing import Any

import dagster as dg

from cart_core import rules
from pipelines.defs.runs.jobs import nightly, refresh, weekly

RUNNING = dg.DefaultScheduleStatus.RUNNING
HOURLY = "Five past every hour: what changes by the hour, as of that moment."
WEEKLY = "Half past six on Mondays, UTC: the report of the week, as of that moment; checks look at all carts."
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
    """Ask for the report of the week that is over, all carts checked."""
    return _as_of(context, shop={"check_all": True})


def _as_of(context: dg.ScheduleEvaluationContext, **resources: dict[str, Any]) -> dg.RunRequest:
    due = rules.format_time(context.scheduled_execution_time)
    given = {"terms": {"as_of": due}, **resources}
    return dg.RunRequest(
        run_key=due,
        run_config={"resources": {name: {"config": config} for name, config in given.items()}},
        tags={"as_of": due},
    )
