"""`cart refresh` derives the tables that it is asked for."""

from __future__ import annotations

import json
import sys

import pytest

from cart_core.cli import main
from cart_core.events import ItemAdded
from cart_core.store import CartStore
from tests.builders import history


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command on a store of one cart; exit code, output and errors."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(history(ItemAdded("p1", "Linen shirt", 2, 2900, "USD")))

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cart", "--store", str(tmp_path / "store"), "refresh", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return command


def test_a_table_brings_those_that_are_made_with_it(run):
    """One of four tables that come from the same attempts: all four are derived, and nothing else."""
    code, told, _ = run("--table", "funnel_steps", "--json")
    assert code == 0
    assert json.loads(told)["tables"].keys() == {"funnel_steps", "funnel_daily", "user_funnel", "funnel_times"}


def test_an_unknown_table_is_told_with_those_that_there_are(run):
    """A misspelt name is no stack trace."""
    code, told, words = run("--table", "funnel_step")
    assert (code, told) == (1, "")
    assert words.startswith("cart: there is no table 'funnel_step'; there are abandonment_daily, ")
