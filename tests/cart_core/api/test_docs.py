"""The session in docs/api.md is real: every command is run, and answers what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cart_core.api.problems import table
from tests.cart_core.api.processes import served

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
BLOCK = re.compile(r"^```shell\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
)


def session() -> list[tuple[str, str]]:
    """Every command of the page with what it prints."""
    steps: list[tuple[str, str]] = []
    for block in BLOCK.findall(PAGE.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, told = part.partition("\n")
            steps.append((command, told))
    return steps


def settled(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text


@pytest.mark.slow
def test_the_session_is_real(tmp_path: Path) -> None:
    """Each command in turn, in one shell's folder, against one server."""
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (serve, listening), *steps = session()
    assert (serve, listening) == ("cart --store shop serve --port 8000 &", "listening on http://127.0.0.1:8000\n")
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    variables = ""
    with served(tmp_path / "shop") as (url, _):
        for command, told in steps:
            here = command.replace("http://127.0.0.1:8000", url)
            if re.match(r"[A-Z]+=", here):
                variables += here + "\n"
                continue
            done = subprocess.run(
                ["bash", "-c", variables + here],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            printed = settled(done.stdout)
            if told.count("\n") == 1 and not printed.endswith("\n"):
                printed += "\n"
            assert printed == told, (command, done.stderr)


def test_the_page_lists_every_error() -> None:
    """As the code has them: status, code and meaning."""
    assert table() in PAGE.read_text()
