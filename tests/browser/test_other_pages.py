"""The other pages that people open: the report, Dagster's asset graph, and a notebook in JupyterLab."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
import yaml
from playwright.sync_api import Page, expect

from pipelines.dashboard.report import REPORT_FILE
from tests.browser.serving import Served, free_port, served
from tests.browser.visitors import Visitors, barriers

pytestmark = pytest.mark.browser

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOK = "01_a_cart_from_its_events.ipynb"
MEGABYTE = 1_000_000
SLIDER = """\
from cart_core.display import slider
from cart_core.events import ItemAdded, QuantityChanged
from tests.builders import history
slider(history(ItemAdded("mug", "Mug", 2, 2900, "USD"), QuantityChanged("mug", 2, 5)))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_stands_alone(visitors: Visitors, shop: Path, scheme):
    """The file opens without a server or a network, fits a phone, and keeps nobody out, by day and by night."""
    report = shop / "derived" / REPORT_FILE
    assert report.stat().st_size < MEGABYTE
    page = visitors.window(400, scheme=scheme)
    page.goto(report.as_uri())
    assert "of carts end in an order" in page.locator("h1").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("svg.drawing:visible").count() >= 6
    assert barriers(page) == []


def test_the_report_and_the_dashboard_say_the_same(dashboard: Served, visitors: Visitors, shop: Path):
    """Every headline figure reads alike in the mailed file and on the overview."""
    report = visitors.window()
    report.goto((shop / "derived" / REPORT_FILE).as_uri())
    expected = report.locator(".figure .value").all_inner_texts()
    assert len(expected) == 8
    assert visitors.open(dashboard.url).locator(".figure .value").all_inner_texts() == expected


def test_the_asset_graph_is_drawn(visitors: Visitors, shop: Path, tmp_path: Path):
    """Dagster's own page loads our definitions and draws the tables as a graph; no window asks for an address first."""
    port = free_port()
    ours = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text("utf-8"))
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({name: ours[name] for name in ("telemetry", "nux")}))
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-m", "pipelines.definitions"]
    settings = {"DAGSTER_HOME": str(tmp_path), "CART_STORE": str(shop)}
    with served(command, f"http://127.0.0.1:{port}", tmp_path / "log", "/server_info", settings) as running:
        page = visitors.window(ours=False)
        page.goto(f"{running.url}/asset-groups")
        for group in ("abandonment", "recovery", "pages"):
            expect(page.get_by_text(group, exact=True).first).to_be_attached()
        page.goto(f"{running.url}/locations/pipelines.definitions/asset-groups/pages/lineage")
        for table in ("headline", "report"):
            expect(page.get_by_text(table, exact=True).first).to_be_attached()
        expect(page.get_by_text("Join the Dagster community")).to_have_count(0)


@contextmanager
def laboratory(folder: Path) -> Iterator[Served]:
    """JupyterLab on a folder, as ``make notebooks`` starts it, without asking anybody for news."""
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--ServerApp.port_retries=0"]
    command += ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    settings = {"PYTHONPATH": str(REPOSITORY), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    with served(command, f"http://127.0.0.1:{port}", folder / "log", "/api", settings) as running:
        yield running


def run_all(page: Page, url: str) -> None:
    """Open a notebook in JupyterLab and run it to the end."""
    page.goto(url)
    page.locator(".jp-Notebook").wait_for()
    expect(page.get_by_text(re.compile(r"\| Idle$"))).to_be_visible()  # before that a run asks which kernel to take
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    expect(prompts.last).to_have_text(re.compile(r"\[\d+\]:"))


def test_a_notebook_runs_in_jupyterlab(visitors: Visitors, tmp_path: Path):
    """JupyterLab opens the first notebook and runs it to the end without an error."""
    notebook = nbformat.read(REPOSITORY / "notebooks" / NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(execution_count=None, outputs=[])
    nbformat.write(notebook, tmp_path / NOTEBOOK)
    with laboratory(tmp_path) as running:
        page = visitors.window(ours=False)
        run_all(page, f"{running.url}/lab/tree/{NOTEBOOK}")
        assert page.locator('.jp-RenderedText[data-mime-type*="stderr"]').count() == 0
        assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0


def test_a_slider_walks_through_a_cart_in_jupyterlab(visitors: Visitors, tmp_path: Path):
    """The slider of a notebook moves by keyboard, and the cart below it is the one of that moment."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(SLIDER)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "slider.ipynb")
    with laboratory(tmp_path) as running:
        page = visitors.window(ours=False)
        run_all(page, f"{running.url}/lab/tree/slider.ipynb")
        shown = page.locator(".jp-OutputArea .widget-html")
        expect(shown).to_contain_text("145.00")
        page.get_by_role("slider").press("Home")
        expect(shown).to_contain_text("58.00")
