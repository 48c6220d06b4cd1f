"""How long each page of the dashboard takes to a first paint, and to a change of filter, on shops of some sizes.

``python benchmarks/dashboard.py --events 1_000_000 10_000_000 --scratch FOLDER``: one shop is simulated and derived
(``--carts``), and its large tables are repeated under new ids until they are those of a shop of so many events; small
tables, which grow with days and not with carts, stay. Needs Chromium and the extras dashboard and dev.
First paint is from the request of the address, in a new window, to the page's title drawn and its script over; a
change of filter is from the click on an option to the new rows, both drawn. Medians of ``--repeats``; "very first" is
the one overview that a visitor sees after the start.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl
from playwright.sync_api import Browser, Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipelines import files  # noqa: E402 - the project is found first
from pipelines.dashboard.app import PAGES  # noqa: E402
from tests.browser.serving import CART, free_port, served  # noqa: E402

GROWING = ("carts", "abandonment_episodes", "abandonment_events", "recovery_candidates", "user_funnel")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WHOLE = {"width": 1280, "height": 3000}
"""A window with all of a page in it: what a list opens into does not slip out of sight while charts are arranged."""

AT_REST = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def made(scratch: Path, carts: int) -> tuple[Path, int]:
    """A simulated shop with every table derived, and how many events it has."""
    folder = scratch / f"base-{carts}"
    if not (folder / "store" / "derived" / "headline.parquet").exists():
        subprocess.run(  # noqa: S603 - our own command
            [*CART, "demo", "--dir", str(folder), "--carts", str(carts)],
            check=True,
            capture_output=True,
        )
    store = folder / "store"
    return store, int(files.read_notes(store / "derived", "headline")["position"])


def grown(base: Path, times: int, scratch: Path) -> Path:
    """The shop's folder with its large tables repeated so many times; the store itself stays as it is."""
    folder = scratch / f"grown-{times}"
    if folder.exists():
        return folder
    shutil.copytree(base, folder, symlinks=True)
    for name in GROWING:
        path = files.path_of(folder / "derived", name)
        frame, notes = files.read_table(base / "derived", name), files.read_notes(base / "derived", name)
        path.unlink()
        parts = pl.concat([_renamed(frame, copy) for copy in range(times)])
        if "rank" in frame.columns:
            parts = pl.concat([parts.filter("eligible").sort("rank"), parts.filter(~pl.col("eligible"))])
        parts.sink_parquet(path, metadata=notes, row_group_size=files.ROW_GROUP_ROWS)
    return folder


def _renamed(frame: pl.DataFrame, copy: int) -> pl.LazyFrame:
    """The same rows under other ids and ranks: the eight first digits of a cart's id are the copy's number."""
    if copy == 0 or "cart_id" not in frame.columns:
        return frame.lazy()
    head, text = f"{copy:08x}", frame["cart_id"].dtype == pl.String
    digits = pl.col("cart_id") if text else pl.col("cart_id").bin.encode("hex")
    renamed = pl.lit(head) + digits.str.slice(len(head))
    told = frame.lazy().with_columns((renamed if text else renamed.str.decode("hex")).alias("cart_id"))
    last = frame["rank"].max() if "rank" in frame.columns else None
    return told if last is None else told.with_columns(pl.col("rank") + copy * last)


def timed(act: Callable[[], None]) -> float:
    """How many seconds an act takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def first_paint(browser: Browser, url: str) -> float:
    """A new window, from the request to a page that is drawn and whose script is over."""
    page = browser.new_page()

    def paint() -> None:
        page.goto(url)
        page.locator("h1").first.wait_for()
        page.locator(AT_REST).wait_for()

    seconds = timed(paint)
    page.close()
    return seconds


def filter_changes(page: Page, url: str, repeats: int) -> list[float]:
    """From silent carts that may be written to, to those left alone, and back: the largest table that is listed."""
    page.goto(f"{url}/recovery")
    page.locator("#candidates").wait_for()
    chosen = page.get_by_role("combobox", name="Silent carts")
    taken = []
    for turn in range(repeats):
        option, rank = ("May be written to", "1") if turn % 2 else ("Left alone: no consent", "\N{EN DASH}")
        page.locator(AT_REST).wait_for()
        chosen.fill(option)
        wanted = page.get_by_role("option", name=option, exact=True)
        wanted.wait_for()
        taken.append(timed(lambda wanted=wanted, rank=rank: _choose(page, wanted, rank)))
    return taken


def _choose(page: Page, option: Locator, rank: str) -> None:
    option.click()
    page.wait_for_function(
        "rank => document.querySelector('[aria-label=\"Silent carts\"] tbody td')?.innerText.trim() === rank", arg=rank
    )


def measured(browser: Browser, store: Path, scratch: Path, repeats: int) -> dict[str, float]:
    """The very first paint after the start, the median paint of each page after it, the median change of a filter."""
    port = free_port()
    command = [*CART, "--store", str(store), "dashboard", "--port", str(port)]
    with served(command, f"http://127.0.0.1:{port}", scratch / "dashboard.log", "/_stcore/health") as running:
        found = {"very first": first_paint(browser, running.url)}
        for address in PAGES:
            place = running.url if address == "overview" else f"{running.url}/{address}"
            found[address] = median(first_paint(browser, place) for _ in range(repeats))
        found["filter"] = median(filter_changes(browser.new_page(viewport=WHOLE), running.url, repeats))
    return found


def main() -> None:
    """Measure every size asked for, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=lambda text: int(text.replace("_", "")), nargs="+", default=[1_000_000])
    options.add_argument(
        "--carts", type=int, default=20_000, help="how many carts to simulate before they are repeated"
    )
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--scratch", type=Path, required=True, help="a folder for the shops; kept for the next run")
    chosen = options.parse_args()
    chosen.scratch.mkdir(parents=True, exist_ok=True)
    base, events = made(chosen.scratch, chosen.carts)
    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    names = ["very first", *PAGES, "filter"]
    print(f"{'events':>12} {'carts':>10} " + " ".join(f"{name:>11}" for name in names) + "   (s)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for wanted in chosen.events:
            times = max(1, round(wanted / events))
            store = grown(base, times, chosen.scratch)
            found = measured(browser, store, chosen.scratch, chosen.repeats)
            taken = " ".join(f"{found[name]:>11.2f}" for name in names)
            print(f"{times * events:>12,} {times * chosen.carts:>10,} {taken}", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
