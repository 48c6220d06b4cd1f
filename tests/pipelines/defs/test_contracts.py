"""The keys of tables on disk are checked whatever wrote them, and every named rule guards what depends on it."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest

from cart_core.events import ItemAdded
from pipelines.defs import everything
from pipelines.defs.contracts.checks import keys_are_unique
from pipelines.defs.shop import Shop
from pipelines.engines import engine
from pipelines.files import path_of
from pipelines.tables import TABLES
from tests.builders import cart_id, history
from tests.pipelines.dashboard.shop_tables import rows_of

BLOCKING = {
    "events": "versions_are_gapless",
    "carts": "totals_add_up",
    "lines": "lines_add_up_to_their_carts",
    "funnel_daily": "days_never_widen",
    "funnel_steps": "funnels_never_widen",
    "experiment_srm": "arms_are_split_as_planned",
    "headline": "figures_are_of_one_moment",
    "recovery_candidates": "buyers_are_excluded",
}


@pytest.fixture(scope="module")
def named() -> dict[tuple[str, str], dg.AssetCheckSpec]:
    """Every check by its table and name."""
    specs = [spec for each in everything.checks() for spec in each.check_specs]
    return {(spec.asset_key.to_user_string(), spec.name): spec for spec in specs}


def test_every_table_has_its_key_checked(named):
    """Whatever wrote a table, what depends on it waits while a key stands in it twice."""
    assert {table for table, name in named if name == "keys_are_unique"} == set(TABLES)
    assert all(named[table, "keys_are_unique"].blocking for table in TABLES)


@pytest.mark.parametrize(("table", "name"), [*BLOCKING.items(), ("recovery_candidates", "silences_are_fresh")])
def test_what_must_hold_blocks(named, table, name):
    """Gaps, totals, widening funnels, wrong splits, stale silences and buyers stop what is derived from them."""
    assert named[table, name].blocking


@pytest.mark.parametrize(("rows", "offending"), [([1, 2], 0), ([1, 1], 2), ([1, None], 1)])
def test_a_key_that_stands_twice_or_nowhere_is_found(tmp_path, rows, offending):
    """Rows that share a key, and rows without one, are shown."""
    shop = Shop(store=str(tmp_path))
    shop.derived.mkdir()
    frame = rows_of("user_funnel", [{"user_id": None if each is None else f"u{each}"} for each in rows])
    frame.write_parquet(path_of(shop.derived, "user_funnel"))
    result = keys_are_unique("user_funnel")(shop)
    assert result.metadata["offending_rows"].value == offending
    assert result.passed == (offending == 0)


def test_kept_carts_have_keys_too(tmp_path):
    """Carts and lines lie in parts behind one name, and are checked there."""
    shop = Shop(store=str(tmp_path))
    with shop.events() as store:
        store.append_many(history(ItemAdded("p1", "Shirt", 1, 2900, "USD"), cart=cart_id(1)))
        engine("local").refresh(store, shop.derived)
    assert keys_are_unique("carts")(shop).passed
    assert keys_are_unique("lines")(shop).passed
    assert pl.read_parquet(path_of(shop.derived, "carts")).height == 1


def test_every_table_says_how_old_it_may_become():
    """An hour's table is stale after 3 hours, a night's after 26."""
    windows = {
        spec.key.to_user_string(): spec.freshness_policy.fail_window.to_timedelta().total_seconds() / 3600
        for each in everything.assets()
        for spec in each.specs
        if spec.key.to_user_string() in TABLES
    }
    assert set(windows) == set(TABLES)
    assert windows["recovery_candidates"] == windows["carts"] == 3
    assert windows["experiment_results"] == windows["coupon_effects"] == windows["overcharges"] == 26
