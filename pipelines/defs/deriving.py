"""How a derived table becomes a Dagster asset: derive, write whole, and say what was written."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from cart_core import rules
from pipelines.defs.alerts import alert_on_failure
from pipelines.defs.shop import Shop, Terms
from pipelines.tables import TABLES, ids_as_text

OWNERS = ["team:shop-data"]
RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)
PREVIEW_ROWS = 5
PREVIEW_CHARS = 40
FIRST_DAY = "2015-01-01"
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)


@dataclass(frozen=True, slots=True)
class Derived:
    """A derived frame, and what else is worth telling about how it came to be."""

    frame: pl.DataFrame
    told: Mapping[str, Any] = field(default_factory=dict)


Derive = Callable[[Shop, Terms, datetime], pl.DataFrame | Derived]
DERIVES: dict[str, Derive] = {}
"""What derives each table, by the table's name."""


def table(name: str, *, group: str, deps: Sequence[str]) -> Callable[[Derive], dg.AssetsDefinition]:
    """Make an asset of a function that reads, calls one pure function and gives the frame of table ``name``.

    The frame is checked against the table's contract and written in one step; a frame that breaks it, or input
    that does, fails at once, while anything else is tried twice more. Two runs never write one table at a time.
    """

    def wrap(derive: Derive) -> dg.AssetsDefinition:
        DERIVES[name] = derive

        @dg.asset(
            name=name,
            group_name=group,
            deps=deps,
            description=f"{derive.__doc__}\n\nA row: {TABLES[name].meaning}",
            metadata={"dagster/column_schema": column_schema(name), "key": ", ".join(TABLES[name].key)},
            kinds={"parquet", "polars"},
            tags={"topic": group},
            owners=OWNERS,
            pool=name,
            retry_policy=RETRIES,
            hooks={alert_on_failure},
        )
        def asset(context: dg.AssetExecutionContext, shop: Shop, terms: Terms) -> dg.MaterializeResult[Any]:
            return derived(context, name, derive, shop, terms)

        return asset

    return wrap


def days_of(name: str) -> dg.AssetsDefinition:
    """The asset of a daily table by day: it replaces the rows of the days asked for, any number in one run."""
    derive = DERIVES[name]
    with warnings.catch_warnings():
        # Dagster calls the policy beta in every release since 1.5, and without it a range is a run for each day.
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.multi_asset(
            name=f"days_of_{name}",
            specs=[dg.AssetSpec(name, partitions_def=DAYS)],
            pool=name,
            retry_policy=RETRIES,
            hooks={alert_on_failure},
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def asset(context: dg.AssetExecutionContext, shop: Shop, terms: Terms) -> dg.MaterializeResult[Any]:
            keys = context.partition_key_range
            days = (date.fromisoformat(keys.start), date.fromisoformat(keys.end))
            return derived(context, name, partial(_some_days, name, derive, days), shop, terms)

    return asset


def _some_days(
    name: str, derive: Derive, days: tuple[date, date], shop: Shop, terms: Terms, as_of: datetime
) -> Derived:
    """The table with the rows of these days, first to last, derived anew; the others stay as they stand."""
    found, wanted = _as_derived(derive(shop, terms, as_of)), pl.col("date").is_between(*days)
    fresh = found.frame.filter(wanted)
    kept = shop.table(name).filter(~wanted) if shop.has_table(name) else fresh.clear()
    told = {**found.told, "days": f"{days[0]} to {days[1]}", "rows_replaced": fresh.height}
    return Derived(pl.concat([kept, fresh]).sort(TABLES[name].key), told)


def derived(
    context: dg.AssetExecutionContext, name: str, derive: Derive, shop: Shop, terms: Terms
) -> dg.MaterializeResult[Any]:
    """Derive a table as of the run's moment, write it, and tell its rows, moment, position, time and first rows."""
    as_of, began = terms.moment(context), time.perf_counter()
    with shop.events() as store:
        position = store.position()
    with no_second_try():
        found = _as_derived(derive(shop, terms, as_of))
        notes = {"as_of": rules.format_time(as_of), "position": str(position), **terms.noted()}
        path = shop.write(name, found.frame, notes)
    return dg.MaterializeResult(
        asset_key=name,
        metadata={
            "dagster/row_count": found.frame.height,
            "preview": dg.MetadataValue.md(preview(found.frame)),
            "as_of": dg.MetadataValue.timestamp(as_of),
            "position": position,
            "seconds": round(time.perf_counter() - began, 3),
            "file": dg.MetadataValue.path(str(path)),
            **found.told,
        },
    )


@contextmanager
def no_second_try() -> Iterator[None]:
    """Turn errors of content into failures that no retry follows: the same input would break the same rule."""
    try:
        yield
    except ValueError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def column_schema(name: str) -> dg.TableSchema:
    """The columns of a derived table as Dagster shows them, each with its unit and meaning."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.dtype),
            description=f"{column.meaning} [{column.unit}]" + (f" Null {column.null}." if column.null else ""),
            constraints=dg.TableColumnConstraints(nullable=column.null is not None),
        )
        for column in TABLES[name].columns
    ]
    return dg.TableSchema(columns, dg.TableConstraints([f"unique: {', '.join(TABLES[name].key)}"]))


def preview(frame: pl.DataFrame, rows: int = PREVIEW_ROWS) -> str:
    """The first rows as a Markdown table; long values are cut."""
    shown = ids_as_text(frame.head(rows))
    head = [shown.columns, ["---"] * len(shown.columns)]
    body = [[_cell(value) for value in row] for row in shown.iter_rows()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (*head, *body))


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 3] + "..."


def _as_derived(found: pl.DataFrame | Derived) -> Derived:
    return found if isinstance(found, Derived) else Derived(found)
