"""The page docs/commands.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from cart_core.commands import REFUSALS, table
from cart_core.commands.decide import _DECIDERS

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_what_the_commands_do() -> None:
    """docs/commands.md equals the table worked out from the code."""
    assert (DOCS / "commands.md").read_text() == table.page()


def test_every_command_is_on_the_page() -> None:
    """No command is left out of the table."""
    assert {type(command) for command in table.COMMANDS.values()} == set(_DECIDERS)


def test_every_refusal_is_on_the_page() -> None:
    """Each documented code stands in the second table."""
    page = table.page()
    assert all(f"| `{code}` | {meaning} |" in page for code, meaning in REFUSALS.items())
