"""What is watched: files dropped into the shop's inbox."""

from datetime import UTC, datetime

import dagster as dg

from pipelines.defs.events import inbox
from pipelines.defs.runs.jobs import refresh
from pipelines.defs.shop import Shop

LOOK_EVERY_S = 30


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Imports files that are dropped into the inbox, and derives again what they change.",
)
def dropped_files(shop: Shop) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run where files are waiting; the same files start one run only."""
    found = inbox.arrivals(shop.inbox, datetime.now(UTC))
    if not found:
        return dg.SkipReason(f"no file is waiting in {shop.inbox}")
    names = ", ".join(each.path.name for each in found)
    return dg.RunRequest(run_key=inbox.digest(found), tags={"files": names[:250]})
