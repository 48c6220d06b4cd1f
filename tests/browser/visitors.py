"""Visitors of pages: each has a window of its own, and what goes wrong in any of them is noted."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

TIMEOUT_MS = 60_000
HOME = {"127.0.0.1"}
LOCAL = {"data", "blob", "file", "about"}
PROBES = ("/_stcore/health", "/_stcore/host-config")
"""What Streamlit's page asks below its own address first and, where there is nothing, at the root: no fault of ours."""

GRAVE = {"serious", "critical"}

expect.set_options(timeout=TIMEOUT_MS)


class Visitors:
    """Windows of one browser; ``errors`` are what their consoles told, ``strangers`` requests to other hosts."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.errors: list[str] = []
        self.strangers: list[str] = []

    def window(self, width: int = 1280, *, scheme: Literal["light", "dark"] = "light", ours: bool = True) -> Page:
        """A window of a width, by day or by night; of pages that are not ours nothing is noted."""
        context = self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(TIMEOUT_MS)
        self._contexts.append(context)
        page = context.new_page()
        if not ours:
            return page
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        return page

    def open(self, url: str, width: int = 1280, *, scheme: Literal["light", "dark"] = "light") -> Page:
        """A page of the dashboard in a window of its own, drawn to the end."""
        page = self.window(width, scheme=scheme)
        page.goto(url)
        settled(page)
        return page

    def leave(self) -> None:
        """Close every window."""
        for context in self._contexts:
            context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.location["url"].endswith(PROBES):
            self.errors.append(f"{message.text} ({message.location['url']})")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in LOCAL and address.hostname not in HOME:
            self.strangers.append(request.url)


def settled(page: Page) -> None:
    """Wait until the page's script has run and its title stands."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    page.locator("h1").first.wait_for()
    expect(page.locator('[data-testid="stSpinner"]')).to_have_count(0)


def barriers(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds on a page that keeps somebody out: rule, impact, and the elements."""
    found = Axe().run(page).response["violations"]
    return [
        {"rule": each["id"], "impact": each["impact"], "where": [node["html"][:200] for node in each["nodes"][:3]]}
        for each in found
        if each["impact"] in GRAVE
    ]
