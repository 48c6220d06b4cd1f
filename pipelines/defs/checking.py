"""How a named invariant becomes a blocking asset check that shows the rows which break it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

from pipelines import files
from pipelines.by_cart import ByCart, kept
from pipelines.defs.deriving import preview
from pipelines.defs.shop import Shop
from pipelines.shop import NO_BOUND

Offending = Callable[[Shop], pl.DataFrame]
SHOWN_ROWS = 20
ERROR = dg.AssetCheckSeverity.ERROR


def invariant(
    table: str, *, blocking: bool = True, severity: dg.AssetCheckSeverity = ERROR
) -> Callable[[Offending], dg.AssetChecksDefinition]:
    """Make a check of a function that gives the rows breaking one rule of ``table``; no rows means it holds.

    The function's name is the invariant's, its docstring what it says. A blocking one stops whatever is derived
    from the table. What was found is also noted beside the tables, for whoever has no Dagster at hand.
    """

    def wrap(offending: Offending) -> dg.AssetChecksDefinition:
        named = (table, offending.__name__, offending.__doc__ or "")
        return _check(named, lambda shop: (offending(shop), {}), blocking=blocking, severity=severity)

    return wrap


def invariant_of_carts(
    table: str, columns: Sequence[str]
) -> Callable[[Callable[[pa.Table], pl.DataFrame]], dg.AssetChecksDefinition]:
    """Make a blocking check of a function that gives, with their cart_id, the rows of events that break a rule.

    The rule is one about the events of each cart by itself, which come whole, as in ``History.batches``. Carts without
    events since the check last looked stay as they were found then, and its metadata say how many it looked at; all
    are looked at again where ``Shop.check_all`` says so, as it does every week.
    """

    def wrap(offending: Callable[[pa.Table], pl.DataFrame]) -> dg.AssetChecksDefinition:
        plan = ByCart(f"check.{offending.__name__}", columns, offending, timedelta(0))

        def found(shop: Shop) -> tuple[pl.DataFrame, dict[str, Any]]:
            done = kept(shop, plan, NO_BOUND, anew=shop.check_all)
            looked_at = f"{done.carts_read:,} of {done.carts:,} carts"
            return done.frame, {"looked_at": looked_at, "carts_looked_at": done.carts_read, "carts": done.carts}

        return _check((table, offending.__name__, offending.__doc__ or ""), found, blocking=True, severity=ERROR)

    return wrap


def _check(
    named: tuple[str, str, str],
    found: Callable[[Shop], tuple[pl.DataFrame, dict[str, Any]]],
    *,
    blocking: bool,
    severity: dg.AssetCheckSeverity,
) -> dg.AssetChecksDefinition:
    table, name, rule = named

    @dg.asset_check(asset=table, name=name, description=rule, blocking=blocking)
    def check(shop: Shop) -> dg.AssetCheckResult:
        rows, told = found(shop)
        files.note_check(shop.derived, table, name, rule, rows.height, datetime.now(UTC))
        return dg.AssetCheckResult(
            passed=rows.is_empty(),
            severity=severity,
            description=_told(table, rule, rows),
            metadata={"offending_rows": rows.height, "sample": dg.MetadataValue.md(preview(rows, SHOWN_ROWS)), **told},
        )

    return check


def _told(table: str, rule: str, rows: pl.DataFrame) -> str:
    if rows.is_empty():
        return rule
    return f"{rows.height} rows of {table} break the rule: {rule}"
