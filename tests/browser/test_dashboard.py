"""The dashboard in a real browser: it stands alone, keeps filters in its address, and keeps nobody out."""

from __future__ import annotations

import io
import re
import socket
import zipfile
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Locator, Page, expect

from cart_core.evidence import check_pack
from pipelines import files
from pipelines.dashboard.app import PAGES
from pipelines.dashboard.theme import DARK, LIGHT
from tests.browser.serving import CART, Served, free_port, served
from tests.browser.visitors import Visitors, barriers, settled

pytestmark = pytest.mark.browser

PNG = b"\x89PNG\r\n\x1a\n"
ADDRESSES = ["", *(address for address in PAGES if address != "overview")]
NARROW_PX = 400


def titles(page: Page) -> list[str]:
    """The titles of a page's cards, once all of them are drawn."""
    settled(page)
    return page.locator("h2").all_inner_texts()


def tile(page: Page, name: str) -> Locator:
    """The headline figure of a name."""
    return page.locator(".figure", has=page.locator(".name", has_text=re.compile(f"^{name}$")))


def taken(page: Page, button: str) -> bytes:
    """What a button gives to take away."""
    with page.expect_download() as download:
        page.locator(f".st-key-{button} button:visible").click()
    return Path(download.value.path()).read_bytes()


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_loads_and_keeps_nobody_out(dashboard: Served, visitors: Visitors, address: str):
    """Every page stands without an error or a request to another host, and axe-core finds nothing serious on it."""
    page = visitors.open(f"{dashboard.url}/{address}")
    assert page.locator("h1").inner_text() == PAGES[address or "overview"][0]
    assert page.locator('[data-testid="stException"], [data-testid="stAlert"]').count() == 0
    assert barriers(page) == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_fits_a_phone_at_night(dashboard: Served, visitors: Visitors, address: str):
    """At 400 pixels nothing is wider than the window, and by night the page is dark and still readable."""
    page = visitors.open(f"{dashboard.url}/{address}", NARROW_PX, scheme="dark")
    main = page.locator('[data-testid="stMain"]')
    assert main.evaluate("each => each.scrollWidth") <= NARROW_PX
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW_PX
    assert barriers(page) == []


def test_day_and_night(dashboard: Served, visitors: Visitors):
    """The page's ground is that of the theme that the visitor's system has."""
    for scheme, palette in (("light", LIGHT), ("dark", DARK)):
        page = visitors.open(dashboard.url, scheme=scheme)
        ground = page.locator(".stApp").evaluate("each => getComputedStyle(each).backgroundColor")
        assert ground == f"rgb({', '.join(str(int(palette.page[at : at + 2], 16)) for at in (1, 3, 5))})"


def test_a_filter_changes_the_figures_and_the_address_restores_it(dashboard: Served, visitors: Visitors):
    """What a visitor chooses stands in the address; whoever opens that address sees the same."""
    page = visitors.open(f"{dashboard.url}/funnel")
    everybody = titles(page)
    page.get_by_role("combobox", name="Split by").click()
    page.get_by_role("option", name="Weekday").click()
    expect(page.get_by_text("Side by side: weekday")).to_be_visible()
    page.wait_for_url(re.compile(r"by=Weekday"))
    chosen = titles(page)
    assert chosen != everybody
    again = visitors.open(page.url)
    expect(again.get_by_text("Side by side: weekday")).to_be_visible()
    assert titles(again) == chosen


def test_a_chart_is_taken_away_as_rows_and_as_a_picture(dashboard: Served, visitors: Visitors, shop: Path):
    """The CSV of a chart has the rows of its table, the PNG is a picture."""
    page = visitors.open(f"{dashboard.url}/funnel")
    rows = pl.read_csv(io.BytesIO(taken(page, "csv-funnel")))
    steps = files.read_table(shop / "derived", "funnel_steps")
    everybody = steps.filter((pl.col("funnel") == "user") & (pl.col("breakdown") == "all"))
    assert rows["converted"].to_list() == everybody["converted"].to_list()
    picture = taken(page, "png-funnel")
    assert picture.startswith(PNG)
    assert len(picture) > 10_000


def test_a_figure_leads_to_its_carts(dashboard: Served, visitors: Visitors, shop: Path):
    """From a headline figure to its carts, as many as it counts, and from one of them to its life."""
    figures = files.read_table(shop / "derived", "headline")
    orders = int(figures.filter(pl.col("figure") == "orders")["value"].item())
    page = visitors.open(dashboard.url)
    tile(page, "Orders").get_by_role("link", name="Explain").click()
    expect(page.get_by_text(f"{orders} parts of {orders} carts")).to_be_visible()
    page.locator("td a").first.click()
    expect(page.get_by_role("heading", name="Its events")).to_be_visible()
    assert page.get_by_text("Checkout completed").count() > 0


def test_a_definition_is_one_click_away(dashboard: Served, visitors: Visitors):
    """What a figure means opens below it, and how a chart is counted beside it."""
    page = visitors.open(dashboard.url)
    orders = tile(page, "Orders")
    orders.get_by_text("Definition").click()
    expect(orders.get_by_text("Carts that were checked out.")).to_be_visible()
    page.get_by_role("button", name="How this is counted").first.click()
    expect(page.get_by_text("Hollow points and dashed lines are days that are not settled")).to_be_visible()


def test_a_cart_is_walked_through_and_its_evidence_holds(dashboard: Served, visitors: Visitors, tmp_path: Path):
    """The slider goes back in a cart's life by keyboard, the address follows, and the evidence checks offline."""
    page = visitors.open(f"{dashboard.url}/carts")
    page.locator("td a").first.click()
    slider = page.get_by_role("slider")
    slider.wait_for()
    slider.press("Home")
    page.wait_for_url(re.compile(r"version=1\b"))
    expect(page.locator(".verdict")).to_contain_text("event 1,")
    with zipfile.ZipFile(io.BytesIO(taken(page, "evidence"))) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert check_pack(folder) == []


def test_it_stops_when_it_is_told_to(shop: Path, tmp_path: Path):
    """Ctrl-C ends the dashboard without an error, and nothing answers afterwards."""
    port = free_port()
    command = [*CART, "--store", str(shop), "dashboard", "--port", str(port)]
    with served(command, f"http://127.0.0.1:{port}", tmp_path / "log", "/_stcore/health") as running:
        assert running.interrupt() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
