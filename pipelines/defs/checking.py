"""How a named invariant becomes a blocking asset check that shows the rows which break it."""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from pipelines import files
from pipelines.defs.deriving import preview
from pipelines.defs.shop import Shop

Offending = Callable[[Shop], pl.DataFrame]
SHOWN_ROWS = 20


def invariant(
    table: str, *, blocking: bool = True, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> Callable[[Offending], dg.AssetChecksDefinition]:
    """Make a check of a function that gives the rows breaking one rule of ``table``; no rows means it holds.

    The function's name is the invariant's, its docstring what it says. A blocking one stops whatever is derived
    from the table. What was found is also noted beside the tables, for whoever has no Dagster at hand.
    """

    def wrap(offending: Offending) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=table, name=offending.__name__, description=offending.__doc__, blocking=blocking)
        def check(shop: Shop) -> dg.AssetCheckResult:
            rows = offending(shop)
            files.note_check(
                shop.derived, table, offending.__name__, offending.__doc__ or "", rows.height, datetime.now(UTC)
            )
            return dg.AssetCheckResult(
                passed=rows.is_empty(),
                severity=severity,
                description=_told(table, offending.__doc__ or "", rows),
                metadata={"offending_rows": rows.height, "sample": dg.MetadataValue.md(preview(rows, SHOWN_ROWS))},
            )

        return check

    return wrap


def _told(table: str, rule: str, rows: pl.DataFrame) -> str:
    if rows.is_empty():
        return rule
    return f"{rows.height} rows of {table} break the rule: {rule}"
