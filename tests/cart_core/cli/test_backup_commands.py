"""cart backup and cart restore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cart_core.cli import app
from cart_core.store import CartStore
from tests.cart_core.store.builders import life


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A store with one sealed cart."""
    with CartStore.open(tmp_path / "shop") as store:
        store.append_many(life("a"))
        store.seal()
    return tmp_path / "shop"


def run(*arguments: object) -> str:
    """What a command that succeeds writes."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_backup_is_restored_elsewhere(shop: Path, tmp_path: Path):
    """Two commands, each saying what it did."""
    assert "backed up to position 5: 1 segments copied, 0 were there" in run("--store", shop, "backup", tmp_path / "b")
    told = run("--store", tmp_path / "again", "restore", tmp_path / "b")
    assert told.startswith("restored and verified 5 events in 1 segments, chain head ")
    assert "all is well: 5 events" in run("--store", tmp_path / "again", "verify")


def test_both_answer_as_documents(shop: Path, tmp_path: Path):
    """For scripts."""
    assert json.loads(run("--store", shop, "backup", tmp_path / "b", "--json"))["copied"] == 1
    assert json.loads(run("--store", shop, "backup", tmp_path / "b", "--json"))["kept"] == 1
    assert json.loads(run("--store", tmp_path / "again", "restore", tmp_path / "b", "--json"))["events"] == 5


def test_publish_says_what_it_did(shop: Path):
    """The table's version, and what is not in it."""
    with CartStore.open(shop) as store:
        store.append_many(life("b"))
    told = run("--store", shop, "publish")
    assert f"the Delta table {shop / 'segments'} is at version 0: 5 events in 1 files" in told
    assert "5 events are not in it, as they are not sealed yet: see cart seal" in told
    assert json.loads(run("--store", shop, "publish", "--json"))["added"] == 0
