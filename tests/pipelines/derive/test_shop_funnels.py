from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from cart_core.events import CheckoutCompleted, CheckoutStarted, Envelope, ItemAdded, QuantityChanged
from cart_core.schema import to_table
from pipelines.derive import funnel_lots, product_funnels, shop_funnels
from pipelines.derive.funnel import Funnel, attempts, histogram, step_rows, trend
from pipelines.derive.funnel_attempts import runs
from pipelines.derive.product_funnels import product_funnel
from pipelines.derive.shop_funnels import (
    cart_funnel,
    funnel_daily,
    funnel_steps,
    funnel_times,
    user_depths,
    user_funnel,
)
from pipelines.derive.touches import bought_lines, cart_touches, product_touches, user_touches
from pipelines.tables import INPUTS, TABLES, conformed
from tests.builders import NOON, cart_id, envelope
from tests.strategies import shops

MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(days=30)
BOOK = ItemAdded("p1", "Book", 2, 1_000, "USD")
PEN = ItemAdded("p2", "Pen", 1, 300, "USD")
ORDER = CheckoutCompleted("o1", 2_000)


def cart(*events: tuple[float, Any], number: int = 1, user: str = "ann") -> list[Envelope]:
    """One cart's events, each given as (minutes after noon, event)."""
    return [
        envelope(event, version, cart=cart_id(number), user=user, at=NOON + MINUTE * minute)
        for version, (minute, event) in enumerate(events, 1)
    ]


def views(*rows: tuple[float, str, str]) -> pl.DataFrame:
    """Product views, each given as (minutes after noon, user, product)."""
    told = [
        {"view_id": f"v{n}", "product_id": product, "user_id": user, "session": None, "at": NOON + MINUTE * minute}
        for n, (minute, user, product) in enumerate(rows)
    ]
    return pl.DataFrame(told, schema=INPUTS["views"].schema)


SHOP = to_table(
    [
        *cart((1, BOOK), (5, CheckoutStarted()), (9, ORDER)),
        *cart((20, PEN), number=2, user="bob"),
        *cart((30, PEN), (31, ORDER), number=3, user="eve"),
    ]
)
VIEWS = views((0, "ann", "p1"), (10, "bob", "p2"), (0, "dan", "p1"))


def test_a_shopper_counts_over_all_carts_and_once_per_attempt() -> None:
    """Three viewers, two of them add, one buys; who never viewed is in no user funnel."""
    rows = conformed(TABLES["funnel_daily"], funnel_daily(SHOP, VIEWS, LATER))
    assert rows.select("date", "step", "converted").rows() == [
        (date(2026, 1, 1), "view", 3),
        (date(2026, 1, 1), "add", 2),
        (date(2026, 1, 1), "checkout", 1),
        (date(2026, 1, 1), "purchase", 1),
    ]


def test_a_shopper_who_comes_back_begins_another_attempt() -> None:
    """After an order a new view is a new attempt, on its own day."""
    again = pl.concat([VIEWS, views((3_000, "ann", "p2"))])
    rows = funnel_daily(SHOP, again, LATER).filter(pl.col("step") == "view")
    assert rows.select("date", "converted").rows() == [(date(2026, 1, 1), 3), (date(2026, 1, 3), 1)]


def test_the_cart_funnel_passes_over_a_checkout_that_a_source_does_not_know() -> None:
    """Eve's cart was bought without a CheckoutStarted: it counts as converted there, and as skipped."""
    rows = conformed(TABLES["funnel_steps"], funnel_steps(SHOP, VIEWS, LATER))
    carts = rows.filter((pl.col("funnel") == "cart") & (pl.col("breakdown") == "all"))
    told = carts.select("step", "converted", "skipped").rows()
    assert told == [("add", 3, 0), ("checkout", 2, 1), ("purchase", 2, 0)]


def test_breakdowns_add_up() -> None:
    """The weekdays of each funnel add up to all."""
    sums = (
        funnel_steps(SHOP, VIEWS, LATER)
        .group_by("funnel", "breakdown", "step_index")
        .agg(pl.col("converted").sum())
        .sort("funnel", "breakdown", "step_index")
    )
    assert sums.filter(breakdown="all")["converted"].equals(sums.filter(breakdown="weekday")["converted"])


def test_an_experiment_breaks_down_from_the_first_exposure_on() -> None:
    """Ann's view before her exposure does not count; who saw two variants is in neither; others keep theirs."""
    told = [("ann", "b", 0.5), ("bob", "a", 1), ("dan", "a", 0), ("dan", "b", 1)]
    rows = [
        {"user_id": user, "experiment": "button", "variant": variant, "exposed_at": NOON + MINUTE * minute}
        for user, variant, minute in told
    ]
    exposures = pl.DataFrame(rows, schema=INPUTS["exposures"].schema)
    seen = pl.concat([VIEWS, views((0.7, "ann", "p1"))])
    found = funnel_steps(SHOP, seen, LATER, exposures).filter(breakdown="button", step="view")
    assert found.select("breakdown_value", "converted").rows() == [("a", 1), ("b", 1)]
    times = funnel_steps(SHOP, seen, LATER, exposures).filter(breakdown="button", breakdown_value="b", step="add")
    assert times["mean_s"].to_list() == [18.0]


def test_each_viewer_has_a_depth() -> None:
    """The row of a shopper tells the attempt that counts."""
    rows = conformed(TABLES["user_funnel"], user_depths(SHOP, VIEWS, LATER))
    assert rows.select("user_id", "depth", "deepest_step").rows() == [
        ("ann", 4, "purchase"),
        ("bob", 2, "add"),
        ("dan", 1, "view"),
    ]
    ann = rows.row(0, named=True)
    assert (ann["viewed_at"], ann["purchased_at"], ann["convert_s"]) == (NOON, NOON + 9 * MINUTE, 540.0)


def test_a_product_counts_its_viewers_adders_and_buyers() -> None:
    """p1 was viewed by two and bought by one; p2 was bought by eve, who had not viewed it."""
    rows = conformed(TABLES["product_funnel"], product_funnel(SHOP, VIEWS, LATER))
    columns = ["product_id", "product_name", "viewers", "adders", "buyers", "units_bought", "revenue_cents", "buy_rate"]
    assert rows.select(columns).rows() == [
        ("p1", "Book", 2, 1, 1, 2, 2_000, 0.5),
        ("p2", "Pen", 1, 1, 0, 1, 300, 0.0),
    ]


def test_what_was_bought_is_what_stood_at_the_checkout() -> None:
    """Lines of an order have the quantity and price they had then, whatever follows."""
    events = to_table(cart((0, BOOK), (1, QuantityChanged("p1", 2, 5)), (2, ORDER), (3, QuantityChanged("p1", 5, 1))))
    assert bought_lines(events, LATER).select("user_id", "product_id", "quantity", "price_cents").rows() == [
        ("ann", "p1", 5, 1_000)
    ]
    assert bought_lines(events, NOON).height == 0


def test_times_are_classed_for_each_span() -> None:
    """Each funnel has classes for every step and for the whole; the conversions of one span add up."""
    rows = conformed(TABLES["funnel_times"], funnel_times(SHOP, VIEWS, LATER))
    spans = rows.group_by("funnel", "from_step", "to_step").agg(pl.col("converted").sum()).sort(pl.all())
    assert spans.rows() == [
        ("cart", 0, 1, 1),
        ("cart", 0, 2, 2),
        ("cart", 1, 2, 1),
        ("user", 0, 1, 2),
        ("user", 0, 3, 1),
        ("user", 1, 2, 1),
        ("user", 2, 3, 1),
    ]


def test_an_empty_shop_has_empty_funnels() -> None:
    """Without events and views every table is there; the steps are rows of zeros."""
    nothing, unseen = to_table([]), views()
    for name, rows in (
        ("funnel_daily", funnel_daily(nothing, unseen, LATER)),
        ("user_funnel", user_depths(nothing, unseen, LATER)),
        ("product_funnel", product_funnel(nothing, unseen, LATER)),
    ):
        assert conformed(TABLES[name], rows).height == 0
    steps = conformed(TABLES["funnel_steps"], funnel_steps(nothing, unseen, LATER))
    assert steps["converted"].sum() == 0
    assert steps.height == 7


looks = st.lists(st.tuples(st.integers(0, 9_000), st.just("u1"), st.sampled_from(["p1", "p2", "p10"])), max_size=6)


@settings(max_examples=30)
@given(shops(max_carts=3), looks)
def test_funnels_of_any_shop_keep_their_contract(events: list[Envelope], seen: list[Any]) -> None:
    """On any histories and views the tables conform and no rate is above 1."""
    table, looked = to_table(events), views(*seen)
    for name, rows in (
        ("funnel_daily", funnel_daily(table, looked, LATER)),
        ("funnel_steps", funnel_steps(table, looked, LATER)),
        ("product_funnel", product_funnel(table, looked, LATER)),
    ):
        rates = [column for column in rows.columns if column.endswith("rate")]
        assert conformed(TABLES[name], rows).select(pl.any_horizontal(pl.col(rates) > 1).any()).item() is not True


AS_OF, WINDOW, ZONE = NOON + 90 * MINUTE, 40 * MINUTE, "Asia/Tokyo"
USERS, GOODS = ("ann", "bob", "eve"), (BOOK, PEN)
acts = st.tuples(st.integers(0, 120), st.sampled_from([*GOODS, *GOODS, CheckoutStarted(), ORDER]))
many_carts = st.lists(st.tuples(st.sampled_from(USERS), st.lists(acts, min_size=1, max_size=7)), max_size=6)
many_views = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from(USERS), st.sampled_from(["p1", "p2"])), max_size=12
)
shown = st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from("ab"), st.integers(0, 100)), max_size=4)


def exposed(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Exposures to one experiment, each given as (user, variant, minutes after noon)."""
    told = [
        {"user_id": user, "experiment": "button", "variant": variant, "exposed_at": NOON + MINUTE * minute}
        for user, variant, minute in rows
    ]
    return pl.DataFrame(told, schema=INPUTS["exposures"].schema)


def tables_in_parts(carts: list[Any], seen: pl.DataFrame, exposures: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Every funnel table of a shop whose carts are read one by one, its views in batches, ids as dictionaries."""
    tables = [to_table(cart(*told, number=number, user=user)) for number, (user, told) in enumerate(carts, 1)]
    tables = [
        each.set_column(each.column_names.index("user_id"), "user_id", each["user_id"].dictionary_encode())
        for each in [*tables, to_table([])]
    ]
    parts = [shop_funnels.part_of(each, AS_OF, WINDOW) for each in tables]
    walks = shop_funnels.walks_of(parts, seen.lazy(), AS_OF, WINDOW, ZONE)
    products = [product_funnels.part_of(each, AS_OF) for each in tables]
    return {
        "daily": shop_funnels.daily_of(walks),
        "steps": shop_funnels.steps_of(walks, exposures),
        "depths": shop_funnels.depths_of(walks).select("user_id", "depth", "mature"),
        "times": shop_funnels.times_of(walks).filter(pl.col("funnel") == "user", pl.col("from_step") == 1),
        "products": product_funnels.products_of(products, seen.lazy(), AS_OF, WINDOW).select(
            "product_id", "viewers", "adders", "buyers", "median_add_s", "median_buy_s"
        ),
    }


def tables_from_touches(carts: list[Any], seen: pl.DataFrame, exposures: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The same from ``attempts`` over touches with names, which is held to trying every assignment."""
    events = to_table(
        [each for number, (user, told) in enumerate(carts, 1) for each in cart(*told, number=number, user=user)]
    )
    users, by_user = user_touches(events, seen), user_funnel(WINDOW)
    found = attempts(users, by_user, as_of=AS_OF)
    return {
        "daily": trend(users, user_funnel(WINDOW, totals=True), AS_OF, time_zone=ZONE),
        "steps": steps_from_touches(cart_touches(events), users, exposures),
        "depths": found.select("depth", "mature", user_id="unit").sort("user_id"),
        "times": histogram(found, 1, 2).with_columns(funnel=pl.lit("user")),
        "products": products_from_touches(product_touches(events, seen, bought_lines(events, AS_OF))),
    }


def steps_from_touches(carts: pl.DataFrame, users: pl.DataFrame, exposures: pl.DataFrame) -> pl.DataFrame:
    """The rows of funnel_steps."""
    by_user, by_cart = user_funnel(WINDOW), cart_funnel(WINDOW)
    weekday = pl.col("at").dt.convert_time_zone(ZONE).dt.weekday().cast(pl.String)
    rows = []
    for name, touches, definition in (("cart", carts, by_cart), ("user", users, by_user)):
        found = attempts(touches.with_columns(weekday=weekday), definition, "weekday", AS_OF)
        rows.append((name, "all", step_rows(found, definition)))
        rows.append((name, "weekday", step_rows(found, definition, "weekday")))
    if len(exposures):
        touches = shop_funnels.exposed_touches(users, exposures, "button")
        rows.append(("user", "button", step_rows(attempts(touches, by_user, "variant", AS_OF), by_user, "variant")))
    return steps_named(rows)


def products_from_touches(touches: pl.DataFrame) -> pl.DataFrame:
    """What the rows of product_funnel say of shoppers."""
    pairs = attempts(touches, Funnel(("view", "add", "purchase"), WINDOW), "product_id", AS_OF)
    took_s = [(pl.col(f"at_{k}") - pl.col(f"at_{k - 1}")).dt.total_microseconds() / 1_000_000 for k in (1, 2)]
    counts = ("viewers", "adders", "buyers")
    counted = pairs.group_by("product_id").agg(
        *((pl.col("depth") >= k).sum().cast(pl.Int64).alias(name) for k, name in enumerate(counts, 1)),
        median_add_s=took_s[0].median(),
        median_buy_s=took_s[1].median(),
    )
    known = touches.filter(pl.col("at") <= AS_OF).select("product_id").unique()
    told = known.join(counted, on="product_id", how="left").with_columns(pl.col(counts).fill_null(0))
    return told.sort("product_id")


def steps_named(rows: list[tuple[str, str, pl.DataFrame]]) -> pl.DataFrame:
    """Step rows with the funnel's and the breakdown's name, as a table of funnel_steps."""
    told = [
        each.rename({each.columns[0]: "breakdown_value"} if breakdown != "all" else {})
        .with_columns(funnel=pl.lit(name), breakdown=pl.lit(breakdown))
        .with_columns([] if breakdown != "all" else pl.lit("all").alias("breakdown_value"))
        for name, breakdown, each in rows
    ]
    return conformed(TABLES["funnel_steps"], pl.concat(told, how="diagonal")).sort(TABLES["funnel_steps"].key)


@settings(max_examples=60)
@given(many_carts, many_views, shown)
def test_parts_and_numbers_change_nothing(carts: list[Any], seen: list[Any], exposures: list[Any]) -> None:
    """Read cart by cart and counted over numbers, every funnel table is what touches with names give."""
    with pytest.MonkeyPatch.context() as small:
        small.setattr(funnel_lots, "PART_ROWS", 3)
        small.setattr(funnel_lots, "SHARE_ROWS", 4)
        found = tables_in_parts(carts, views(*seen), exposed(exposures))
    for name, expected in tables_from_touches(carts, views(*seen), exposed(exposures)).items():
        assert_frame_equal(found[name], expected.select(found[name].columns), rel_tol=1e-12)


@pytest.mark.parametrize("share", [1, 2, 5])
def test_shares_of_any_size_hold_whole_units(share: int) -> None:
    """Units fall into runs one after another, none is cut, and units without touches are in some run or in none."""
    starts = np.array([0, 0, 3, 4, 4, 9, 9])
    found = runs(starts, share)
    assert [last for _, last in found[:-1]] == [first for first, _ in found[1:]]
    assert sum(starts[last] - starts[first] for first, last in found) == 9
    assert all(starts[first + 1] - starts[first] for first, _ in found)
