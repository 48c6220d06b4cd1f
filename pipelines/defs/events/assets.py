"""What comes in, and how it is kept: the inbox is emptied, the newest events are sealed."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from pipelines.defs.alerts import alert_on_failure
from pipelines.defs.deriving import OWNERS, RETRIES, preview
from pipelines.defs.events import inbox
from pipelines.defs.shop import Shop


@dg.asset(
    group_name="events", kinds={"parquet", "sqlite"}, owners=OWNERS, pool="inbox", retry_policy=RETRIES,
    hooks={alert_on_failure}, tags={"topic": "events"},
)  # fmt: skip
def events(context: dg.AssetExecutionContext, shop: Shop) -> dg.MaterializeResult[Any]:
    """Every event of every cart, append-only; making it imports the files that lie in the inbox.

    Each file goes to inbox/done, or to inbox/failed with the reason; importing one again adds nothing.
    """
    now = datetime.now(UTC)
    with shop.events() as store:
        taken = [inbox.take(store, shop.inbox, each, now) for each in inbox.arrivals(shop.inbox, now)]
        position = store.position()
    for each in taken:
        if each.problem:
            context.log.warning("%s was not imported: %s", each.name, each.problem)
    rows = [(each.name, each.source, each.problem, str(each.counts)) for each in taken]
    told = pl.DataFrame(rows, schema=["file", "source", "problem", "counts"], orient="row")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": position,
            "files": len(taken),
            "files_failed": sum(each.problem is not None for each in taken),
            "imported": dg.MetadataValue.md(preview(told, len(taken))),
        }
    )


@dg.asset(
    group_name="events", deps=["events"], kinds={"parquet"}, owners=OWNERS, pool="segments", retry_policy=RETRIES,
    hooks={alert_on_failure}, tags={"topic": "events"},
)  # fmt: skip
def segments(shop: Shop) -> dg.MaterializeResult[Any]:
    """The newest events in immutable files, and small files joined to large ones; no reader sees a difference."""
    with shop.events() as store:
        sealed, compacted = store.seal(), store.compact()
    return dg.MaterializeResult(
        metadata={
            "events_sealed": sealed.rows,
            "files_written": sealed.files,
            "files_joined": compacted.before,
            "files_after_joining": compacted.after,
            "files_swept": compacted.swept,
        }
    )
