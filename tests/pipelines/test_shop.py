"""A shop's folder is read up to a position, and its experiments are found where they are declared."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from cart_core.errors import StoreNotFound
from cart_core.events import CheckoutStarted, ItemAdded
from cart_core.simulator.run import DECLARED
from pipelines.defs.shop import Shop, Terms
from pipelines.derive.experiments import ExperimentError
from pipelines.shop import EXPERIMENTS_VARIABLE, PlainShop
from pipelines.tables import TABLES
from tests.builders import NOON, cart_id, envelope, history
from tests.conftest import REPOSITORY

SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
DECLARATION = '[[experiment]]\nkey = "{}"\ncontrol = "a"\nvariants = {{ a = 1, b = 1 }}\nprimary = "conversion"\n'


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with nothing in it, and no file named by the environment."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv(EXPERIMENTS_VARIABLE, raising=False)


def declare(place: Path, key: str) -> Path:
    """A file that declares one experiment."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(DECLARATION.format(key))
    return place


def test_experiments_are_the_shops_own_before_those_where_the_command_runs(tmp_path):
    """inputs/ of the shop's folder comes before data/ of the working folder; with neither there are none."""
    shop = PlainShop(tmp_path / "shop")
    assert shop.experiments() == ""
    declare(Path("data") / "experiments.toml", "from_data")
    assert "from_data" in shop.experiments()
    declare(shop.folder / "inputs" / "experiments.toml", "from_inputs")
    assert "from_inputs" in shop.experiments()


def test_a_named_file_is_the_one_that_counts(tmp_path, monkeypatch):
    """$CART_EXPERIMENTS comes before every place, and the configuration of a job before that."""
    declare(tmp_path / "shop" / "inputs" / "experiments.toml", "from_inputs")
    monkeypatch.setenv(EXPERIMENTS_VARIABLE, str(declare(tmp_path / "named.toml", "from_variable")))
    assert "from_variable" in PlainShop(tmp_path / "shop").experiments()
    configured = Shop(store=str(tmp_path / "shop"), declared=str(declare(tmp_path / "other.toml", "configured")))
    assert "configured" in configured.experiments()
    assert "configured" in configured.up_to(1).experiments()


def test_a_named_file_that_is_missing_is_told(tmp_path, monkeypatch):
    """Nothing is analysed on the quiet from another file: which one is missing is said, and who named it."""
    with pytest.raises(StoreNotFound, match=r"no file of experiments nowhere\.toml; it is named by the configuration"):
        Shop(store=str(tmp_path), declared="nowhere.toml").experiments()
    monkeypatch.setenv(EXPERIMENTS_VARIABLE, "nowhere.toml")
    with pytest.raises(StoreNotFound, match=r"it is named by \$CART_EXPERIMENTS"):
        PlainShop(tmp_path).experiments()


def test_an_experiment_that_nobody_declared_is_told(tmp_path):
    """Asking for another key than those declared names the key."""
    declare(tmp_path / "inputs" / "experiments.toml", "known")
    assert PlainShop(tmp_path).experiment("known")[0].key == "known"
    with pytest.raises(ExperimentError, match="unknown"):
        PlainShop(tmp_path).experiment("unknown")


def test_the_simulated_shop_brings_its_experiments():
    """What `cart simulate` writes is what data/experiments.toml documents."""
    assert DECLARED.read_text("utf-8") == (REPOSITORY / "data" / "experiments.toml").read_text("utf-8")


def test_a_bounded_shop_reads_no_later_event(tmp_path):
    """Up to a position every reading gives the same events, whatever is appended meanwhile."""
    shop = PlainShop(tmp_path, until=2)
    with shop.events() as store:
        store.append_many(history(SHIRT, CheckoutStarted(), cart=cart_id(1)))
    before = shop.all_events().collect()
    with shop.events() as store:
        store.append_many([*history(SHIRT, cart=cart_id(2)), envelope(SHIRT, 3, cart=cart_id(1))])
    assert shop.all_events().collect().equals(before)
    assert shop.events_of(pl.Series([cart_id(1), cart_id(2)]))["version"].to_list() == [1, 2]
    with shop.history() as read:
        assert sum(len(batch) for batch in read.batches(["cart_id", "version"])) == 2
    assert PlainShop(tmp_path).all_events().collect().height == 4


def test_a_shop_where_nobody_did_anything_has_a_part_without_acts(tmp_path):
    """An empty shop with experiments has parts to count, so that its tables are empty and not missing."""
    shop = PlainShop(tmp_path)
    shop.write("abandonment_episodes", TABLES["abandonment_episodes"].empty(), {})
    assert list({len(acts.act) for acts in shop.each_acts(lambda acts: acts)}) == [0]


def test_what_was_known_by_default_is_what_was_known_a_day_before():
    """Restatements compare the run's moment with a day before, unless two moments of knowledge are given."""
    assert Terms().knowledge(NOON) == (NOON - timedelta(days=1), NOON)
    given = Terms(known_at_1="2025-12-01T12:00:00Z", known_at_2="2025-12-25T12:00:00Z")
    assert given.knowledge(NOON) == (NOON - timedelta(days=31), NOON - timedelta(days=7))
