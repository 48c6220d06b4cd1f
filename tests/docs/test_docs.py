"""Every code block of README and docs does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres
from tests.conftest import REPOSITORY
from tests.docs.blocks import WrongBlock, blocks, matches, run

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
WITH_BLOCKS = [path for path in DOCUMENTS if blocks(path.read_text(encoding="utf-8"))]

NEEDS_SERVER = "postgresql:///"
"""What a document writes that is run with a PostgreSQL server to be found in the environment."""


def test_the_readme_is_run():
    """The first page a reader sees shows real output."""
    assert REPOSITORY / "README.md" in WITH_BLOCKS


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_BLOCKS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_document_does_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From top to bottom in an empty folder, each block gives the output that stands below it."""
    monkeypatch.chdir(tmp_path)
    if any(NEEDS_SERVER in block.text for block in blocks(path.read_text(encoding="utf-8"))):
        for name, value in postgres.server().environment.items():
            monkeypatch.setenv(name, value)
    assert run(path.read_text(encoding="utf-8"), path.name, tmp_path) > 0


@pytest.mark.parametrize(
    "document",
    [
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one; echo two\none\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ echo fine\nfine\n$ no-such-program-anywhere\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```python\n>>> x = 1\n```\n\n```python\n>>> x\n2\n```\n",
    ],
)
def test_a_wrong_block_is_told(document: str, tmp_path: Path):
    """Another output, too much output, or a failure that is not shown does not pass."""
    with pytest.raises(WrongBlock):
        run(document, "wrong.md", tmp_path)


def test_a_failing_python_block_names_its_place(tmp_path: Path):
    """The traceback shows the document and the line."""
    with pytest.raises(ZeroDivisionError) as failure:
        run("# Title\n\n```python\none = 1\none / 0\n```\n", "wrong.md", tmp_path)
    assert failure.traceback[-1].lineno + 1 == 5
    assert str(failure.traceback[-1].path).endswith("wrong.md")


def test_blocks_build_on_each_other(tmp_path: Path):
    """Names and files that one block makes are there for the next."""
    document = (
        "```python\nx = 20\n```\n\n```console\n$ echo 22 > y.txt\n$ cat \\\n    y.txt\n22\n```\n\n"
        f"```python\n>>> from pathlib import Path\n>>> x + int(Path('{tmp_path}/y.txt').read_text())\n42\n```\n\n"
        "```sh\nfalse\n```\n"
    )
    assert run(document, "right.md", tmp_path) == 3


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("a", "a\n", True),
        ("a  ", "a", True),
        ("a", "ab", False),
        ("a...c", "abbc", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("...", "", True),
        ("1.5 s", "1x5 s", False),
    ],
)
def test_three_dots_stand_for_any_text(expected: str, got: str, same: bool):
    """Only what may differ may differ."""
    assert matches(expected, got) is same
