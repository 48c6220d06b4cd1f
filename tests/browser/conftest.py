"""A browser without network, a derived shop, its dashboard, and visitors who note every error and every request."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.serving import CART, Served, free_port, served
from tests.browser.visitors import Visitors

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SHOP = ("--carts", "400", "--seed", "5")


@pytest.fixture(scope="session")
def program() -> str:
    """Chromium as this machine has it; nothing is fetched."""
    found = next((place for name in PROGRAMS if (place := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no browser here: none of {', '.join(PROGRAMS)}")
    return found


@pytest.fixture(scope="module")
def chromium(program: str) -> Iterator[Browser]:
    """Headless Chromium; it goes with its module, as Playwright keeps an event loop running while it is there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small simulated shop, sealed, with every table derived, and its report."""
    folder = tmp_path_factory.mktemp("browser") / "demo"
    subprocess.run([*CART, "demo", "--dir", str(folder), *SHOP], check=True, capture_output=True)
    store = folder / "store"
    subprocess.run([*CART, "--store", str(store), "seal"], check=True, capture_output=True)
    return store


@pytest.fixture(scope="session")
def dashboard(program: str, shop: Path) -> Iterator[Served]:
    """The shop's dashboard as ``cart dashboard`` serves it."""
    del program
    port = free_port()
    command = [*CART, "--store", str(shop), "dashboard", "--port", str(port)]
    with served(command, f"http://127.0.0.1:{port}", shop.parent / "dashboard.log", "/_stcore/health") as running:
        yield running


@pytest.fixture
def visitors(chromium: Browser) -> Iterator[Visitors]:
    """Whoever opens pages; in the end none may have seen an error, or sent a request to another host."""
    arrived = Visitors(chromium)
    yield arrived
    arrived.leave()
    assert arrived.errors == []
    assert arrived.strangers == []
