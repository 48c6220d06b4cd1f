"""Each promise of docs/guarantees.md says all four things, and the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "guarantees.md").read_text(encoding="utf-8")
SECTIONS = {
    int(match[1]): match[0]
    for match in re.finditer(r"^## P(\d+) .*?(?=^## )", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
}
NAMED = re.compile(r"`((?:tests|cart_core)/[\w/]+\.py|tests/[\w/]+/)`")


def names_in(module: Path) -> list[str]:
    """The names of the tests in a module."""
    return re.findall(r"^def (test_\w+)\(", module.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_there_are_twelve_promises():
    """As PROMISES numbers them, in order."""
    assert list(SECTIONS) == list(range(1, 13))


@pytest.mark.parametrize("number", range(1, 13))
def test_each_promise_says_what_it_is_costs_and_does_not_cover(number: int):
    """And how it is tested: in that order, none left out."""
    assert re.findall(r"^\*\*(.+?)\*\*", SECTIONS[number], flags=re.MULTILINE) == [
        "Promise.",
        "Cost.",
        "Tested by",
        "Not covered.",
    ]


@pytest.mark.parametrize("number", range(1, 13))
def test_each_promise_names_a_module_whose_tests_carry_its_number(number: int):
    """A reader who looks for P7 finds ``test_p7_...`` where the page says."""
    modules = [REPOSITORY / name for name in NAMED.findall(SECTIONS[number]) if name.startswith("tests/")]
    carrying = [name for module in modules for name in names_in(module) if f"_p{number}_" in name]
    assert carrying


@pytest.mark.parametrize("name", sorted(set(NAMED.findall(DOCUMENT))))
def test_what_the_page_names_is_there(name: str):
    """Modules and folders."""
    assert (REPOSITORY / name).exists()
