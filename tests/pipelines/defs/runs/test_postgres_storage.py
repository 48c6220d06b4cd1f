"""Runs, logs and pools may be kept in PostgreSQL, set up as docs/running.md says."""

from __future__ import annotations

import re

import dagster as dg
import pytest
import yaml

from pipelines.defs import deriving, everything
from pipelines.defs.in_process import QUIET
from pipelines.defs.shop import Shop, Terms
from pipelines.files import read_table
from tests import postgres
from tests.conftest import REPOSITORY
from tests.pipelines.dashboard.shop_tables import headline

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A Dagster home as the page describes it: this repository's settings, with the storage that the page gives."""
    pytest.importorskip("dagster_postgres")
    page = (REPOSITORY / "docs" / "running.md").read_text("utf-8")
    (block,) = [each for each in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "postgres" in each]
    settings = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text("utf-8")) | yaml.safe_load(block)
    for name in ("local_artifact_storage", "compute_logs"):
        settings[name]["config"]["base_dir"] = str(tmp_path / name)
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
    address = postgres.server().new_database().replace("postgresql:", "postgresql+psycopg2:", 1)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", address)
    monkeypatch.setattr(deriving, "DERIVES", dict(deriving.DERIVES))
    return folder


def test_a_run_is_kept_in_postgresql(home, tmp_path):
    """A table is derived, and another process' look at the storage finds the run with its rows and its moment."""

    @deriving.table("headline", group="pages", deps=[])
    def headline_table(_shop, _terms, _as_of):
        """A headline."""
        return headline()

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        done = dg.materialize(
            [headline_table],
            instance=instance,
            resources={**everything.resources(), "shop": Shop(store=str(tmp_path / "shop")), "terms": Terms()},
            run_config=QUIET,
        )
    assert read_table(tmp_path / "shop" / "derived", "headline").equals(headline())
    with dg.DagsterInstance.from_config(str(home)) as other:
        (run,) = other.get_runs()
        event = other.get_latest_materialization_event(dg.AssetKey("headline"))
        assert (run.run_id, run.status) == (done.run_id, dg.DagsterRunStatus.SUCCESS)
        assert event.asset_materialization.metadata["dagster/row_count"].value == headline().height


def test_the_second_host_waits_for_a_table(home):
    """Slots of a table's pool are counted in the database: a second instance gets none until the first is done."""
    with dg.DagsterInstance.from_config(str(home)) as one, dg.DagsterInstance.from_config(str(home)) as other:
        one.event_log_storage.initialize_concurrency_limit_to_default("carts")
        assert one.event_log_storage.claim_concurrency_slot("carts", "run-1", "carts").is_claimed
        assert not other.event_log_storage.claim_concurrency_slot("carts", "run-2", "carts").is_claimed
        one.event_log_storage.free_concurrency_slots_for_run("run-1")
        assert other.event_log_storage.claim_concurrency_slot("carts", "run-2", "carts").is_claimed
