"""The docs in a real browser: every page keeps nobody out, by day and by night, on a desk and on a phone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.visitors import Visitors, barriers
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADDRESSES = sorted(
    [path.relative_to(REPOSITORY / "docs").with_suffix(".html").as_posix() for path in REPOSITORY.glob("docs/**/*.md")]
    + ["reference/cli.html", "reference/http.html", "reference/python.html", "404.html"]
)
WINDOWS = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]
TELLING = ["index.html", "commands.html", "first-steps/analyst.html"]
"""Pages with everything that pages are made of: a drawing, wide tables, code with output, links in text."""


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each request."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def docs(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built docs on this machine."""
    del program
    folder: Path = tmp_path_factory.mktemp("docs")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_of_the_docs_keeps_nobody_out(docs: str, visitors: Visitors, address: str):
    """Axe-core finds nothing serious, nothing comes from another host, and no console tells of an error."""
    page = visitors.window()
    page.goto(f"{docs}/{address}")
    assert barriers(page) == []


@pytest.mark.parametrize("address", TELLING)
@pytest.mark.parametrize(("width", "scheme"), WINDOWS[1:])
def test_the_docs_are_read_at_night_and_on_a_phone(docs: str, visitors: Visitors, address: str, width: int, scheme):
    """The same by night and in a narrow window, which no page is wider than."""
    page = visitors.window(width, scheme=scheme)
    page.goto(f"{docs}/{address}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert barriers(page) == []
