"""Funnels, taken apart into the attempts of units and the touches that fill their steps."""

from __future__ import annotations

import polars as pl

from pipelines.derive.explain.evidence import Evidence, Row, parts, together
from pipelines.derive.funnel import Funnel, attempts
from pipelines.derive.shop_funnels import cart_funnel, exposed_touches, user_funnel
from pipelines.derive.touches import (
    ADD,
    PURCHASE,
    STEP_OF,
    VIEW,
    bought_lines,
    cart_touches,
    product_touches,
    user_touches,
)
from pipelines.tables.contract import TEXT, ids_as_text

ONE = pl.lit(1)


def day(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A day's step is the attempts that began that day and got there."""
    definition = user_funnel(evidence.window, totals=True)
    found = attempts(user_touches(evidence.all_events(), evidence.views()), definition, as_of=evidence.as_of)
    began = pl.col("at_0").dt.convert_time_zone(evidence.time_zone).dt.date()
    return _step(found.filter(began == row["date"]), row, "user", evidence)


def step(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A step of a funnel is the units that got there, under one value of the breakdown."""
    users = row["funnel"] == "user"
    events = evidence.all_events()
    touches = user_touches(events, evidence.views()) if users else cart_touches(events)
    definition = user_funnel(evidence.window) if users else cart_funnel(evidence.window)
    by = row["breakdown"]
    if by == "weekday":
        weekday = pl.col("at").dt.convert_time_zone(evidence.time_zone).dt.weekday().cast(TEXT)
        touches = touches.with_columns(value=weekday)
    elif by != "all":
        touches = exposed_touches(touches, evidence.experiment(by)[1], by).rename({"variant": "value"})
    else:
        touches = touches.with_columns(value=pl.lit("all"))
    found = attempts(touches, definition, "value", evidence.as_of)
    return _step(found.filter(pl.col("value") == row["breakdown_value"]), row, row["funnel"], evidence)


def user(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A shopper's depth is the steps of the attempt that counts."""
    touches = user_touches(evidence.all_events(), evidence.views()).filter(pl.col("unit") == row["user_id"])
    found = attempts(touches, user_funnel(evidence.window), as_of=evidence.as_of)
    steps = [found.select("unit", at=f"at_{k}", step=pl.lit(name)) for k, name in enumerate(user_funnel().steps)]
    filled = pl.concat(steps).drop_nulls("at")
    passed_over = row["depth"] - filled.height
    depth = pl.when(pl.col("step") == VIEW).then(1 + passed_over).otherwise(1)
    return _resolved(filled.with_columns(depth=depth), "user", evidence, ["depth"])


def product(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A product's counts are its shoppers, and its units and revenue the lines of its orders."""
    events = evidence.all_events()
    bought = bought_lines(events, evidence.as_of)
    mine = pl.col("product_id") == row["product_id"]
    touches = product_touches(events, evidence.views(), bought).filter(mine)
    found = attempts(touches, Funnel((VIEW, ADD, PURCHASE), evidence.window), as_of=evidence.as_of)
    shopper = pl.col("unit").str.split("\x1f").list.first()
    seen = parts(
        found.with_columns(user_id=shopper, at=pl.col("at_0")),
        "shopper",
        viewers=ONE,
        adders=(pl.col("depth") > 1).cast(pl.Int64),
        buyers=(pl.col("depth") > 2).cast(pl.Int64),  # noqa: PLR2004 - the third step
    )
    revenue = pl.col("price_cents") * pl.col("quantity")
    lines = bought.filter(mine).with_columns(
        at=pl.col("completed_at"),
        step=pl.lit(PURCHASE),
        units_bought=pl.col("quantity").cast(pl.Int64),
        revenue_cents=pl.lit(0) if row["currency"] is None else revenue,
    )
    return together(seen, _with_events(lines, evidence, ["units_bought", "revenue_cents"]))


def time_class(row: Row, evidence: Evidence) -> pl.DataFrame:
    """A class of times is the attempts that took as long."""
    users = row["funnel"] == "user"
    events = evidence.all_events()
    touches = user_touches(events, evidence.views()) if users else cart_touches(events)
    definition = user_funnel(evidence.window) if users else cart_funnel(evidence.window)
    found = attempts(touches, definition, as_of=evidence.as_of)
    start, stop = row["from_step"], row["to_step"]
    took_s = (pl.col(f"at_{stop}") - pl.col(f"at_{start}")).dt.total_microseconds() / 1_000_000
    inside = found.filter(took_s >= row["from_s"], took_s < row["to_s"]).with_columns(
        step=pl.lit(definition.steps[stop]), at=pl.col(f"at_{stop}"), converted=ONE
    )
    return _resolved(inside, row["funnel"], evidence, ["converted"])


def _step(found: pl.DataFrame, row: Row, unit: str, evidence: Evidence) -> pl.DataFrame:
    """Each attempt that entered the step, standing on the last touch up to it."""
    index = row["step_index"]
    entered = found.filter(pl.col("depth") >= max(index, 1))
    steps = (user_funnel() if unit == "user" else cart_funnel()).steps
    last = pl.coalesce(f"at_{k}" for k in range(index, -1, -1))
    name = pl.coalesce(pl.when(pl.col(f"at_{k}").is_not_null()).then(pl.lit(steps[k])) for k in range(index, -1, -1))
    got = pl.col("depth") > index
    amounts = {
        "entered": ONE,
        "converted": got.cast(pl.Int64),
        "skipped": (got & pl.col(f"at_{index}").is_null()).cast(pl.Int64),
    }
    return _resolved(entered.with_columns(at=last, step=name, **amounts), unit, evidence, list(amounts))


def _resolved(touched: pl.DataFrame, unit: str, evidence: Evidence, amounts: list[str]) -> pl.DataFrame:
    column = "user_id" if unit == "user" else "cart_id"
    return _with_events(touched.with_columns(pl.col("unit").alias(column)), evidence, amounts)


def _with_events(rows: pl.DataFrame, evidence: Evidence, amounts: list[str]) -> pl.DataFrame:
    """Touches of users or carts as parts, each with the cart and version of its event; a view has none."""
    owner = next(name for name in ("user_id", "cart_id") if name in rows.columns)
    step = pl.col("type").replace_strict(STEP_OF, return_dtype=TEXT)
    events = evidence.all_events().filter(pl.col("type").is_in(list(STEP_OF)))
    acted = ids_as_text(events.select("cart_id", "user_id", "version", at="timestamp", step=step).collect())
    keys = [owner, "at", "step"]
    first = acted.sort("cart_id", "version").unique(keys, keep="first", maintain_order=True)
    told = rows.select(*keys, *amounts).join(first, on=keys, how="left")
    return parts(told, "attempt", **{name: name for name in amounts})


TRACERS = {
    "funnel_daily": day,
    "funnel_steps": step,
    "user_funnel": user,
    "product_funnel": product,
    "funnel_times": time_class,
}
