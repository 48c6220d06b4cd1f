"""A table is derived, checked, written whole and told about, by whichever asset makes it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import dagster as dg
import polars as pl
import pytest

from pipelines.defs import deriving
from pipelines.defs.alerts import ALERTS_FILE, Alerts
from pipelines.defs.deriving import Derived, preview, table, tables
from pipelines.defs.in_process import QUIET, SETTINGS
from pipelines.defs.shop import Shop, Terms
from pipelines.files import read_notes, read_table, write_table
from pipelines.tables import TABLES
from tests.pipelines.dashboard.shop_tables import headline, rows_of

AS_OF = "2026-01-31T09:30:00Z"
DAY = date(2026, 1, 1)


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """The registry of derivations, restored afterwards."""
    monkeypatch.setattr(deriving, "DERIVES", dict(deriving.DERIVES))


@pytest.fixture
def made(tmp_path):
    """Make assets in this process; gives Dagster's result."""

    def run(*assets, tags=None, webhook="", terms=None, raise_on_error=False):
        with dg.DagsterInstance.ephemeral(settings=SETTINGS) as instance:
            return dg.materialize(
                list(assets),
                instance=instance,
                resources={
                    "shop": Shop(store=str(tmp_path)),
                    "terms": terms or Terms(as_of=AS_OF),
                    "alerts": Alerts(webhook=webhook),
                },
                run_config=QUIET,
                raise_on_error=raise_on_error,
                tags=tags,
            )

    return run


def told(result, name: str) -> dict[str, object]:
    """The metadata of a table's materialisation."""
    (event,) = result.asset_materializations_for_node(name)
    return {key: value.value for key, value in event.metadata.items()}


def day_rows(*days: int, converted: int = 1) -> pl.DataFrame:
    """One row of funnel_daily for each of some days of January 2026."""
    counts = {"entered": 5, "converted": converted, "skipped": 0, "rate": 1.0, "step_rate": 1.0, "mature": True}
    rows = [{"date": DAY + timedelta(day - 1), "step_index": 0, "step": "view"} | counts for day in days]
    return rows_of("funnel_daily", rows)


def test_a_table_is_written_with_what_it_was_made_of(made, tmp_path):
    """The frame is in the folder, with moment, position and definitions noted; Dagster is told rows and preview."""

    @table("headline", group="pages", deps=[])
    def headline_table(_shop, _terms, as_of):
        """A headline."""
        assert as_of == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
        return Derived(headline(), {"appended": 3})

    result = made(headline_table)
    assert result.success
    assert read_table(tmp_path / "derived", "headline").equals(headline())
    notes = read_notes(tmp_path / "derived", "headline")
    assert notes == {"as_of": AS_OF, "position": "0", "idle_s": "3600", "window_s": "604800", "time_zone": "UTC"}
    metadata = told(result, "headline")
    assert metadata["dagster/row_count"] == headline().height
    assert metadata["appended"] == 3
    assert metadata["preview"].startswith("| figure | unit |")


def test_the_graph_shows_what_a_table_is():
    """Description, columns with unit and meaning, owner, kinds, pool and retries stand on the asset."""

    @table("headline", group="pages", deps=["carts"])
    def headline_table(_shop, _terms, _as_of):
        """A headline."""

    (spec,) = headline_table.specs
    assert spec.description == f"A headline.\n\nA row: {TABLES['headline'].meaning}"
    assert [each.asset_key for each in spec.deps] == [dg.AssetKey("carts")]
    assert [each.name for each in spec.metadata["dagster/column_schema"].columns] == TABLES["headline"].schema.names()
    assert "[unit]" in spec.metadata["dagster/column_schema"].columns[2].description
    assert spec.owners == ["team:shop-data"]
    assert spec.group_name == "pages"
    assert headline_table.op.pool == "headline"
    assert headline_table.op.retry_policy.max_retries == 2


def test_a_frame_that_breaks_the_contract_leaves_the_old_table(made, tmp_path):
    """Nothing is written, nothing is tried again, and the reason is told."""
    write_table(tmp_path / "derived", "headline", headline())
    tries = []

    @table("headline", group="pages", deps=[])
    def headline_table(_shop, _terms, _as_of):
        """Two rows of one key."""
        tries.append(1)
        return pl.concat([headline(), headline()])

    result = made(headline_table)
    assert not result.success
    assert len(tries) == 1
    assert read_table(tmp_path / "derived", "headline").equals(headline())
    alert = json.loads((tmp_path / ALERTS_FILE).read_text())
    assert alert["step"] == "headline"
    assert "the key figure='carts' stands 2 times" in alert["error"]


def test_a_passing_fault_is_tried_again(made, monkeypatch):
    """What is no fault of the content, such as a busy store, is tried twice more."""
    monkeypatch.setattr(deriving, "RETRIES", dg.RetryPolicy(max_retries=2, delay=0))
    tries = []

    @table("headline", group="pages", deps=[])
    def headline_table(_shop, _terms, _as_of):
        """Succeeds at the third try."""
        tries.append(1)
        if len(tries) < 3:
            raise OSError("busy")
        return headline()

    assert made(headline_table).success
    assert len(tries) == 3


def test_several_tables_are_made_at_once(made, tmp_path):
    """One function gives the frames of two tables, each an asset of its own."""

    @tables("funnel_daily", "headline", group="pages", deps=[])
    def both(_shop, _terms, _as_of):
        """Two tables."""
        return {"funnel_daily": day_rows(1), "headline": headline()}

    result = made(both)
    assert {each.asset_key.to_user_string() for each in result.get_asset_materialization_events()} == {
        "funnel_daily",
        "headline",
    }
    assert read_table(tmp_path / "derived", "funnel_daily").height == 1


def test_without_a_moment_figures_are_as_of_the_run(made):
    """Every table of a run is as of the same moment, that at which the run was created."""
    moments = []

    @table("headline", group="pages", deps=[])
    def headline_table(_shop, _terms, as_of):
        """Told when."""
        moments.append(as_of)
        return headline()

    before = datetime.now(UTC) - timedelta(seconds=1)
    assert made(headline_table, terms=Terms(), raise_on_error=True).success
    assert before <= moments[0] <= datetime.now(UTC)


def days(first: int, last: int) -> dict[str, str]:
    """The tags of a run over days of January 2026."""
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return dict(zip(names, (f"2026-01-{first:02d}", f"2026-01-{last:02d}"), strict=True))


@pytest.fixture
def daily():
    """A daily table of the days 1 to 9 that all converted 5."""

    @table("funnel_daily", group="funnels", deps=[])
    def funnel_daily(_shop, _terms, _as_of):
        """By day."""
        return day_rows(*range(1, 10), converted=5)

    return deriving.days_of("funnel_daily")


def test_a_range_of_days_is_derived_in_one_run(made, tmp_path, daily):
    """The rows of these days are replaced, and the other days stay as they were."""
    write_table(tmp_path / "derived", "funnel_daily", day_rows(*range(1, 7)))
    result = made(daily, tags=days(3, 8))
    assert result.success
    found = read_table(tmp_path / "derived", "funnel_daily")
    assert found["converted"].to_list() == [1, 1, 5, 5, 5, 5, 5, 5]
    assert [each.day for each in found["date"]] == list(range(1, 9))
    metadata = result.asset_materializations_for_node("days_of_funnel_daily")[0].metadata
    assert metadata["days"].value == "2026-01-03 to 2026-01-08"
    assert metadata["rows_replaced"].value == 6


def test_days_of_a_table_that_was_never_derived(made, tmp_path, daily):
    """A backfill may come first: only its days are there."""
    assert made(daily, tags=days(2, 3)).success
    assert read_table(tmp_path / "derived", "funnel_daily")["date"].to_list() == [date(2026, 1, 2), date(2026, 1, 3)]


def test_a_failure_is_posted_to_the_webhook(made, tmp_path):
    """The alert goes to the address that is set, as the JSON that also stands in the file."""
    got = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    @table("headline", group="pages", deps=[])
    def headline_table(_shop, _terms, _as_of):
        """Fails."""
        raise ValueError("no such luck")

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        made(headline_table, webhook=f"http://127.0.0.1:{server.server_port}/alerts")
        server.shutdown()
    assert got == [json.loads((tmp_path / ALERTS_FILE).read_text())]
    assert (got[0]["step"], got[0]["error"]) == ("headline", "no such luck")


@pytest.mark.parametrize(
    ("webhook", "problem"), [("http://127.0.0.1:9/x", "could not be posted"), ("ftp://x", "is no http or https URL")]
)
def test_a_webhook_that_does_not_answer_hides_nothing(tmp_path, webhook, problem):
    """That the post failed is told; the line in the file stands all the same."""
    assert problem in str(Alerts(webhook=webhook).tell(tmp_path, {"step": "carts"}))
    assert json.loads((tmp_path / ALERTS_FILE).read_text()) == {"step": "carts"}


def test_a_preview_is_a_markdown_table_of_the_first_rows():
    """Long values are cut, bars are escaped, ids are text, nothing is empty."""
    frame = pl.DataFrame(
        {"cart_id": [bytes(16)], "name": ["a|b\nc"], "long": ["x" * 99], "none": [None], "rate": [1 / 3]}
    )
    assert preview(frame).splitlines() == [
        "| cart_id | name | long | none | rate |",
        "| --- | --- | --- | --- | --- |",
        f"| 00000000-0000-0000-0000-000000000000 | a\\|b c | {'x' * 37}... |  | 0.333333 |",
    ]
    assert preview(frame.clear()).count("\n") == 1
