"""How a derived table becomes a Dagster asset: derive, write whole, and say what was written."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial, wraps
from typing import Any

import dagster as dg
import polars as pl

from cart_core import rules
from pipelines.by_cart import ByCart, carried_on
from pipelines.defs.alerts import alert_on_failure
from pipelines.defs.runs.jobs import HOURLY_GROUPS
from pipelines.defs.shop import Shop, Terms
from pipelines.tables import TABLES, ids_as_text

OWNERS = ["team:shop-data"]
RETRIES = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)
HOURLY_FRESH_H, DAILY_FRESH_H = 3, 26
PREVIEW_ROWS = 5
PREVIEW_CHARS = 40
FIRST_DAY = "2015-01-01"
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1)


@dataclass(frozen=True, slots=True)
class Derived:
    """A derived frame, and what else is worth telling about how it came to be.

    ``position`` is that of the last event read, where it is another than the last one when the step began. ``notes``
    are written with the table, beside those that every table has.
    """

    frame: pl.DataFrame
    told: Mapping[str, Any] = field(default_factory=dict)
    position: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


Derive = Callable[[Shop, Terms, datetime], pl.DataFrame | Derived]
DeriveAll = Callable[[Shop, Terms, datetime], dict[str, pl.DataFrame | Derived]]


@dataclass(frozen=True, slots=True)
class Made:
    """How a table is made: the function that derives it, and the pool that lets in one writer at a time."""

    derive: DeriveAll
    pool: str


DERIVES: dict[str, Made] = {}
"""How each table is made, by its name."""


def table(name: str, *, group: str, deps: Sequence[str]) -> Callable[[Derive], dg.AssetsDefinition]:
    """Make an asset of a function that reads, calls one pure function and gives the frame of table ``name``.

    The frame is checked against the table's contract and written in one step; a frame that breaks it, or input
    that does, fails at once, while anything else is tried twice more. Two runs never write one table at a time.
    """

    def wrap(derive: Derive) -> dg.AssetsDefinition:
        @wraps(derive)
        def derive_all(shop: Shop, terms: Terms, as_of: datetime) -> dict[str, pl.DataFrame | Derived]:
            return {name: derive(shop, terms, as_of)}

        return tables(name, group=group, deps=deps)(derive_all)

    return wrap


def tables(*names: str, group: str, deps: Sequence[str]) -> Callable[[DeriveAll], dg.AssetsDefinition]:
    """Make assets of a function that gives the frames of several tables at once; otherwise as ``table``."""

    def wrap(derive: DeriveAll) -> dg.AssetsDefinition:
        DERIVES.update(dict.fromkeys(names, Made(derive, names[0])))
        described = inspect.getdoc(derive) or ""

        @dg.multi_asset(
            name=names[0],
            specs=[specified(name, described, group, deps) for name in names],
            pool=names[0],
            retry_policy=RETRIES,
            hooks={alert_on_failure},
        )
        def asset(context: dg.AssetExecutionContext, shop: Shop, terms: Terms) -> Iterator[dg.MaterializeResult[Any]]:
            yield from derived(context, derive, shop, terms)

        return asset

    return wrap


def specified(name: str, described: str, group: str, deps: Sequence[str]) -> dg.AssetSpec:
    """What Dagster shows of a table: what it is, its columns, key, owner and place in the graph.

    A run that seals the newest events does so before tables of events are derived, as they are read faster then.
    """
    return dg.AssetSpec(
        name,
        deps=[*deps, *(["segments"] if "events" in deps else [])],
        description=f"{described}\n\nA row: {TABLES[name].meaning}",
        metadata={"dagster/column_schema": column_schema(name), "key": ", ".join(TABLES[name].key)},
        group_name=group,
        kinds={"parquet", "polars"},
        tags={"topic": group},
        owners=OWNERS,
        freshness_policy=freshness(group),
    )


def freshness(group: str) -> dg.FreshnessPolicy:
    """How old a table may become: an hour's may miss one run, a night's none."""
    hours = HOURLY_FRESH_H if group in HOURLY_GROUPS else DAILY_FRESH_H
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def days_of(name: str) -> dg.AssetsDefinition:
    """The asset of a daily table by day: it replaces the rows of the days asked for, any number in one run."""
    with warnings.catch_warnings():
        # Dagster calls the policy beta in every release since 1.5, and without it a range is a run for each day.
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.multi_asset(
            name=f"days_of_{name}",
            specs=[dg.AssetSpec(name, partitions_def=DAYS)],
            pool=DERIVES[name].pool,
            retry_policy=RETRIES,
            hooks={alert_on_failure},
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def asset(context: dg.AssetExecutionContext, shop: Shop, terms: Terms) -> Iterator[dg.MaterializeResult[Any]]:
            keys = context.partition_key_range
            days = (date.fromisoformat(keys.start), date.fromisoformat(keys.end))
            yield from derived(context, partial(_some_days, name, days), shop, terms)

    return asset


def carried(shop: Shop, plan: ByCart, as_of: datetime) -> Derived:
    """A derived table of rows by cart, of which only those of stale carts are derived again; see ``by_cart``."""
    done = carried_on(shop, plan, as_of)
    return Derived(done.frame, done.told, notes=done.notes)


def _some_days(
    name: str, days: tuple[date, date], shop: Shop, terms: Terms, as_of: datetime
) -> dict[str, pl.DataFrame | Derived]:
    """The table with the rows of these days, first to last, derived anew; the others stay as they stand."""
    found, wanted = _as_derived(DERIVES[name].derive(shop, terms, as_of)[name]), pl.col("date").is_between(*days)
    fresh = found.frame.filter(wanted)
    kept = shop.table(name).filter(~wanted) if shop.has_table(name) else fresh.clear()
    told = {**found.told, "days": f"{days[0]} to {days[1]}", "rows_replaced": fresh.height}
    return {name: Derived(pl.concat([kept, fresh]).sort(TABLES[name].key), told)}


def derived(
    context: dg.AssetExecutionContext, derive: DeriveAll, shop: Shop, terms: Terms
) -> Iterator[dg.MaterializeResult[Any]]:
    """Derive tables as of the run's moment, write each, and tell its rows, moment, position, time and first rows.

    Events that come in meanwhile are left to the next run: a table is of the events up to the position noted in it.
    """
    as_of, began = terms.moment(context), time.perf_counter()
    with shop.events() as store:
        last = store.position()
    with no_second_try():
        found = {name: _as_derived(each) for name, each in derive(shop.up_to(last), terms, as_of).items()}
        before = {name: _position_of(shop, name) for name in found}
        positions = {name: last if each.position is None else each.position for name, each in found.items()}
        about = {"as_of": rules.format_time(as_of), **terms.noted()}
        paths = {
            name: shop.write(name, each.frame, {**about, "position": str(positions[name]), **each.notes})
            for name, each in found.items()
        }
    for name, each in found.items():
        yield dg.MaterializeResult(
            asset_key=name,
            metadata={
                "dagster/row_count": each.frame.height,
                "preview": dg.MetadataValue.md(preview(each.frame)),
                "as_of": dg.MetadataValue.timestamp(as_of),
                "position": positions[name],
                "events_since_last": positions[name] - before[name],
                "recomputed": f"all {each.frame.height:,} rows, from {positions[name]:,} events",
                "seconds": round(time.perf_counter() - began, 3),
                "file": dg.MetadataValue.path(str(paths[name])),
                **each.told,
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


def _position_of(shop: Shop, name: str) -> int:
    """The position of the last event behind a table as it stands; 0 where it was never derived."""
    return int(shop.notes(name).get("position", 0)) if shop.has_table(name) else 0


def _as_derived(found: pl.DataFrame | Derived) -> Derived:
    return found if isinstance(found, Derived) else Derived(found)
