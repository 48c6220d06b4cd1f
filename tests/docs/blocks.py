"""The code blocks of a Markdown file, run from top to bottom as a reader would.

```python blocks share one namespace; where they hold ``>>>`` their output is compared. ```console blocks hold
``$ command`` lines with the output below each; a command without output only has to succeed, and one that fails has to
show how. ``...`` stands for any text, also over several lines. Blocks of any other kind are shown, not run.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_KINDS = ("python", "console")
PROMPT = "$ "
TIMEOUT_S = 240
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class WrongBlock(AssertionError):
    """A block does not do what the document says."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its kind, its text, and the line of the document that its text begins at."""

    kind: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    """The blocks of a document that are to be run, in order."""
    return [
        Block(match["kind"], match["text"], document.count("\n", 0, match.start("text")) + 1)
        for match in FENCE.finditer(document)
        if match["kind"] in RUN_KINDS
    ]


def run(document: str, name: str, folder: Path) -> int:
    """Run a document's blocks in a folder, which is the working directory; gives how many ran.

    Raises WrongBlock with the place in the document where a block fails or tells something else.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    found = blocks(document)
    for block in found:
        if block.kind == "console":
            _run_console(block, name, folder)
        elif ">>>" in block.text:
            _run_session(block, name, namespace)
        else:
            exec(compile("\n" * (block.line - 1) + block.text, name, "exec"), namespace)
    return len(found)


def _run_session(block: Block, name: str, namespace: dict[str, object]) -> None:
    session = doctest.DocTestParser().get_doctest(block.text, namespace, name, name, block.line - 1)
    told: list[str] = []
    doctest.DocTestRunner(optionflags=DOCTEST_FLAGS).run(session, out=told.append, clear_globs=False)
    namespace.update(session.globs)
    if told:
        raise WrongBlock("".join(told))


def _run_console(block: Block, name: str, folder: Path) -> None:
    for line, command, expected in _commands(block):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        wrong = not matches(expected, done.stdout) if expected else done.returncode != 0
        if wrong:
            raise WrongBlock(
                f"{name}:{line}: $ {command}\nexpected:\n{expected}\ngot (exit {done.returncode}):\n{done.stdout}"
            )


def _commands(block: Block) -> Iterator[tuple[int, str, str]]:
    """Line in the document, command, and the output below it."""
    lines = block.text.splitlines()
    starts = [number for number, text in enumerate(lines) if text.startswith(PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        last = start
        while lines[last].endswith("\\"):
            last += 1
        command = "\n".join(lines[start : last + 1]).removeprefix(PROMPT)
        yield block.line + start, command, "\n".join(lines[last + 1 : end]).strip()


def matches(expected: str, got: str) -> bool:
    """Whether an output is the expected one; ``...`` stands for any text, and space at line ends does not count."""
    pattern = ".*".join(re.escape(part) for part in _trimmed(expected).split("..."))
    return re.fullmatch(pattern, _trimmed(got), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _environment(folder: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CART_", "DAGSTER_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return own | {"PATH": programs, "HOME": str(folder), "TZ": "UTC", "COLUMNS": "120", "NO_COLOR": "1"}
