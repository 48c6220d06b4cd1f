"""`cart campaign` hands the list of whom to write to over to a mail tool, and shows what the mails would say."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable

import pytest

from cart_core import rules
from cart_core.cli import main
from cart_core.ingest import import_files
from cart_core.simulator import simulate
from cart_core.store import CartStore
from pipelines.commands import demo
from pipelines.defs.in_process import refresh
from pipelines.files import read_table

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A small simulated shop whose candidates are derived."""
    folder = tmp_path_factory.mktemp("shop")
    truth = simulate(folder / "shop", carts=200, days=10, seed=3)
    with CartStore.open(folder / "store") as store:
        import_files(store, "parquet", [folder / "shop" / "events.parquet"])
        demo.hand_in_shop(folder / "store", folder / "shop")
    refresh(folder / "store", rules.parse_time(truth.end), ["abandonment_episodes", "recovery_candidates"])
    return folder / "store"


@pytest.fixture
def run(home, monkeypatch, capsys) -> Run:
    """The command on that shop; exit code, output and errors."""

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cart", "--store", str(home), "campaign", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return command


def test_the_list_holds_those_who_may_be_written_to(home, run, tmp_path):
    """One row for each eligible candidate, the most promising first, each with an address; the others are counted."""
    candidates = read_table(home / "derived", "recovery_candidates")
    eligible = candidates.filter("eligible").sort("rank", "currency", "cart_id")
    assert eligible.height > 0
    code, told, _ = run("--out", str(tmp_path / "new" / "list.csv"))
    with (tmp_path / "new" / "list.csv").open(newline="", encoding="utf-8") as listed:
        rows = list(csv.DictReader(listed))
    assert code == 0
    assert [each["cart_id"] for each in rows] == eligible["cart_id"].to_list()
    assert all("@" in each["email"] for each in rows)
    assert f"{candidates.height - eligible.height} silent carts are left alone" in told


def test_a_mail_tool_may_have_json(run, tmp_path):
    """The same list as objects, with lines as they are; what was done is told as JSON on request."""
    code, told, _ = run("--out", str(tmp_path / "list.json"), "--json")
    rows = json.loads((tmp_path / "list.json").read_text("utf-8"))
    assert code == 0
    assert json.loads(told)["recipients"] == len(rows) > 0
    assert {"email", "sendAfter", "lines"} <= rows[0].keys()


def test_previews_say_what_the_mails_would(run, tmp_path):
    """The most promising ones, as text and as HTML, in the shop's name and with its addresses."""
    code, told, _ = run(
        *("--out", str(tmp_path / "list.csv"), "--previews", str(tmp_path / "mails"), "--mails", "2"),
        *("--shop", "Tea & Co", "--cart-url", "https://tea.example/c/", "--unsubscribe-url", "https://tea.example/no"),
    )
    first, *_ = sorted((tmp_path / "mails").glob("001-*.txt"))
    cart = first.stem.removeprefix("001-")
    assert (code, len(list((tmp_path / "mails").iterdir()))) == (0, 4)
    assert "wrote 2 mails" in told
    assert f"https://tea.example/c/{cart}" in first.read_text("utf-8")
    assert first.read_text("utf-8").startswith("To: ")
    assert "Tea &amp; Co" in first.with_suffix(".html").read_text("utf-8")


def test_another_form_is_refused(run, tmp_path):
    """The file's ending says which form is wanted; nothing is written where it says none."""
    code, _, told = run("--out", str(tmp_path / "list.xlsx"))
    assert code == 2
    assert "neither in .csv nor in .json" in told
    assert not (tmp_path / "list.xlsx").exists()
