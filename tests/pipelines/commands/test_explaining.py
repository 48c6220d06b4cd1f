"""`cart explain` takes any row of any derived table apart, and what it prints adds up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest

from cart_core import rules
from cart_core.cli import main
from cart_core.events import CheckoutCompleted, ItemAdded, QuantityChanged
from cart_core.ingest import import_files
from cart_core.simulator import simulate
from cart_core.store import CartStore
from pipelines.commands import demo
from pipelines.commands.cells import plain
from pipelines.defs.in_process import refresh
from pipelines.files import read_notes, read_table, write_table
from pipelines.tables import TABLES
from tests.builders import cart_id

Run = Callable[..., tuple[int, str, str]]
SHIRT = ItemAdded("p1", "Linen shirt", 2, 2900, "USD")
LATE = cart_id(7)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A small simulated shop with every table derived, an overcharge and an event that became known late among them."""
    folder = tmp_path_factory.mktemp("shop")
    truth = simulate(folder / "shop", carts=300, days=20, seed=3)
    end = rules.parse_time(truth.end)
    with CartStore.open(folder / "store", clock=lambda: end - timedelta(days=2)) as store:
        import_files(store, "parquet", [folder / "shop" / "events.parquet"])
        store.append(LATE, [SHIRT], "u1", 0, timestamp=end - timedelta(days=4))
        store.append(cart_id(8), [SHIRT, CheckoutCompleted("o8", 9900)], "u8", 0, timestamp=end - timedelta(days=3))
        demo.hand_in_shop(folder / "store", folder / "shop")
    with CartStore.open(folder / "store", clock=lambda: end - timedelta(hours=1)) as store:
        store.append(LATE, [QuantityChanged("p1", 2, 1)], "u1", 1, timestamp=end - timedelta(days=3))
    refresh(folder / "store", end)
    return folder / "store"


@pytest.fixture
def run(home, monkeypatch, capsys) -> Run:
    """The command on that shop; exit code, output and errors."""

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cart", "--store", str(home), *words])
        with pytest.raises(SystemExit) as end:
            main()
            sys.exit(0)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def key_text(name: str, row: dict[str, object]) -> str:
    """A row's key as the command takes it."""
    return ",".join(str(plain(row[each])) for each in TABLES[name].key)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_is_explained_by_the_command(run, home, name):
    """Of every table a row is taken apart into parts that add up to it, and every event named is in the store."""
    rows = read_table(home / "derived", name)
    assert rows.height > 0
    row = rows.row(rows.height // 2, named=True)
    code, out, err = run("explain", name, key_text(name, row), "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["table"] == name
    assert told["differences"] == {}
    assert told["row"] == plain(row)
    with CartStore.open(home) as store:
        for each in told["events"][:3]:
            (event,) = store.read(each["cart_id"], version=each["version"])[-1:]
            assert (event.event_id, event.event.type) == (each["event_id"], each["type"])


def test_people_read_a_figure_beside_its_parts(run, home):
    """Without --json the figures, the parts and where to look on stand in columns."""
    code, out, _ = run("explain", "funnel_steps", "cart,all,all,2", "converted", "--show", "2")
    row = read_table(home / "derived", "funnel_steps").row(2, named=True)
    assert code == 0
    assert out.startswith("funnel_steps: funnel cart, breakdown all, breakdown_value all, step_index 2\n")
    assert f"converted{row['converted']:>14}{row['converted']:>11}" in out
    assert f"{row['converted']} parts of {row['converted']} carts" in out
    assert out.count("\nattempt") == 2
    assert "One cart's whole story: cart history " in out


def test_a_figure_that_no_longer_adds_up_is_told(run, home):
    """Where a table on disk says otherwise than its events, the figures at odds are named."""
    lift = read_table(home / "derived", "recovery_lift")
    campaign = lift["campaign"][0]
    assert "do not add up" not in run("explain", "recovery_lift", campaign)[1]
    notes = read_notes(home / "derived", "recovery_lift")
    write_table(home / "derived", "recovery_lift", lift.with_columns(pl.col("holdout_users") + 1), notes)
    assert "These do not add up: holdout_users." in run("explain", "recovery_lift", campaign)[1]
    write_table(home / "derived", "recovery_lift", lift, notes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nonsense", "1"), "there is no derived table 'nonsense'"),
        (("headline", "a,b"), "table headline has the key figure"),
        (("headline", "nothing"), "table headline has 0 rows with"),
        (("headline", "carts", "colour"), "table headline has no column 'colour'"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(run, words, told):
    """An unknown table, key or column is exit 1 and one line."""
    code, out, err = run("explain", *words)
    assert (code, out) == (1, "")
    assert told in err
    assert err.count("\n") == 1


def test_restatements_between_two_moments_of_knowledge(run, home):
    """The command finds the silence that a late event changed, as the table does; between other moments none."""
    noted = read_notes(home / "derived", "restatements")
    end = rules.parse_time(noted["as_of"])
    first, then = (rules.format_time(each) for each in (end - timedelta(days=1), end))
    code, out, _ = run("restatements", "--from", first, "--to", then, "--json")
    assert code == 0
    assert json.loads(out) == [plain(row) for row in read_table(home / "derived", "restatements").to_dicts()]
    assert {(row["cart_id"], row["change"]) for row in json.loads(out)} >= {(LATE, "changed")}
    early = rules.format_time(end - timedelta(hours=25))
    assert json.loads(run("restatements", "--from", early, "--to", first, "--json")[1]) == []
    assert "silences are told otherwise" in run("restatements", "--from", first, "--to", then)[1]
    code, _, err = run("restatements", "--from", then, "--to", first)
    assert (code, err.count("\n")) == (1, 1)
