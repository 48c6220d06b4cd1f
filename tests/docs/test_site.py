"""The docs site builds without a warning, from pages that somebody can reach, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from cart_core.cli import app
from tests.conftest import REPOSITORY

RUN_KINDS = frozenset(("python", "console", "shell"))
"""Run by tests: the first two by test_docs, ``shell`` by the test of the HTTP API's page."""

SHOWN_KINDS = frozenset(("", "text", "sh", "py", "json", "toml", "yaml", "sql", "scala"))
"""Shown and not run: output, drawings, files, and commands that install or serve."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>[^\n`]*)\n.*?^ *```$", re.MULTILINE | re.DOTALL)
LOADING = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src"}
ELSEWHERE = re.compile(r"^(?:https?:)?//")
CSS_LOADS = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^)'\"]+)")
NO_LOADING = frozenset(("canonical", "alternate"))


class Loads(HTMLParser):
    """What a page makes a browser load from another host."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag loads."""
        told = dict(attrs)
        place = told.get(LOADING.get(tag, "")) or ""
        if ELSEWHERE.match(place) and told.get("rel") not in NO_LOADING:
            self.found.append(place)


@pytest.mark.parametrize(
    "path",
    sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]),
    ids=lambda path: path.relative_to(REPOSITORY).as_posix(),
)
def test_every_block_is_run_or_known_to_be_shown_only(path: Path):
    """A block's kind says which; one that is to be run stands at the margin, where it is found."""
    found = [(match["kind"], len(match["indent"])) for match in FENCE.finditer(path.read_text("utf-8"))]
    assert [kind for kind, _ in found if kind not in RUN_KINDS | SHOWN_KINDS] == []
    assert [kind for kind, indent in found if indent and kind in RUN_KINDS] == []


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The hook that writes the reference pages."""
    spec = spec_from_file_location("reference", REPOSITORY / "docs" / "site" / "reference.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails the build, unless it is told to be quiet."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path):
    """No script, style, font or image of another host in any page or style sheet."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    assert {page.name: found for page in pages if (found := Loads(page.read_text("utf-8")).found)} == {}
    styles = {style.name: CSS_LOADS.findall(style.read_text("utf-8")) for style in site.rglob("*.css")}
    assert [found for found in styles.values() if found] == []


def test_a_page_that_loads_from_elsewhere_is_found():
    """The check above can fail."""
    html = '<script src="//cdn.example/x.js"></script><link rel="stylesheet" href="https://fonts.example/a.css">'
    assert Loads(html).found == ["//cdn.example/x.js", "https://fonts.example/a.css"]
    assert CSS_LOADS.findall("@import 'https://a.example/x.css'; b {background: url(//b.example/y.png)}") == [
        "https://a.example/x.css",
        "//b.example/y.png",
    ]


@pytest.mark.slow
def test_every_page_can_be_reached(site: Path):
    """The first page's menu leads to every page of docs/ and to those that are written from the code."""
    first = (site / "index.html").read_text("utf-8")
    written = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"404.html", "index.html"}
    assert [name for name in sorted(written) if f'href="{name}"' not in first] == []


@pytest.mark.slow
def test_first_steps_are_one_click_away(site: Path):
    """The first page leads each kind of user to steps of their own."""
    first = (site / "index.html").read_text("utf-8")
    for page in (REPOSITORY / "docs" / "first-steps").glob("*.md"):
        assert f'href="first-steps/{page.stem}.html"' in first


def test_every_command_is_in_the_reference(reference: ModuleType):
    """Whatever ``cart`` can do is on the page of commands."""
    page = reference.cli_page()
    assert [name for name in get_command(app).commands if f"\n## cart {name}\n" not in page] == []
    assert "--known-at" in page


def test_every_call_is_in_the_reference(reference: ModuleType):
    """Each call has its parameters, the fields of its body and its refusals."""
    page = reference.http_page()
    added = page.partition("## POST /v1/cart/{cartId}/add")[2].partition("\n## ")[0]
    assert "| productId | yes |" in added
    assert "`too_many`" in added


def test_the_python_reference_tells_what_is_promised(reference: ModuleType):
    """Public names stand with signature and description, private ones do not, and nothing of this machine shows."""
    page = reference.python_page()
    for told in ("#### CartStore.append", "expected_version: int", "ConcurrencyError", "### episodes", "### timeline"):
        assert told in page
    assert re.search(r"^#+ _", page, re.MULTILINE) is None
    assert re.search(r"0x[0-9a-f]{6,}|/site-packages/|/home/|/root/|/work/", page) is None
