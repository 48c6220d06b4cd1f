"""Every notebook runs from top to bottom, is the same as its script, and shows everywhere what it showed here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import pytest

from tests.conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
RUN = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.spark] if "spark" in path.stem else []) for path in NOTEBOOKS
]
MOST_BYTES = 200_000
TIMEOUT_S = 280


def outputs(path: Path) -> Iterator[Any]:
    """Every output that is kept in a notebook."""
    for cell in jupytext.read(path).cells:
        yield from cell.get("outputs", [])


def test_there_are_notebooks():
    """What is tested below is there."""
    assert len(NOTEBOOKS) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In an empty folder, without an error in any cell."""
    if "spark" in path.stem and not shutil.which("java"):
        pytest.skip("Spark needs Java")
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}})
    done = client.execute()
    errors = [output for cell in done.cells for output in cell.get("outputs", []) if output["output_type"] == "error"]
    assert errors == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_its_script(path: Path):
    """The cells of the pair are the same."""
    notebook, script = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_its_charts_everywhere(path: Path):
    """Charts are kept as images, so that viewers that run nothing show them; and the file stays small."""
    shown = [output["data"] for output in outputs(path) if "data" in output]
    charts = [each for each in shown if str(each.get("text/plain", "")).startswith("alt.")]
    assert charts != []
    assert [each for each in charts if "image/png" not in each] == []
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_without_a_complaint(path: Path):
    """What is kept are results: no error, no warning, nothing of the machine's log."""
    kinds = {(output["output_type"], output.get("name", "")) for output in outputs(path)}
    assert kinds <= {("execute_result", ""), ("display_data", ""), ("stream", "stdout")}
