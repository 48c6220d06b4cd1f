"""What a shop hands in is taken from the files that its tools write, and an error in one changes nothing."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import polars as pl
import pytest

from cart_core.cli import main
from cart_core.errors import SourceError
from cart_core.store import CartStore
from pipelines.files import read_input
from pipelines.handing_in import hand_in
from pipelines.shop import PlainShop
from pipelines.tables import INPUTS, TableError

SENT = datetime(2026, 2, 4, 10, tzinfo=UTC)
SENDS = [("recovery", "ann", None, SENT), ("recovery", "bob", "c0ffee00-0000-4000-8000-000000000001", SENT)]
CSV = (
    "Campaign,User ID,cart_id,sentAt,opened\n"
    "recovery,ann,,2026-02-04T10:00:00Z,yes\n"
    "recovery, bob ,c0ffee00-0000-4000-8000-000000000001,2026-02-04 11:00:00+01:00,\n"
)
OBJECTS = [
    {"campaign": "recovery", "userId": "ann", "cartId": None, "sentAt": "2026-02-04T10:00:00Z", "opened": True},
    {"campaign": "recovery", "userId": "bob", "cartId": SENDS[1][2], "sentAt": "2026-02-04T10:00:00Z"},
]


def write(path, content) -> None:
    """A file as a shop's tool writes it."""
    if path.suffix == ".parquet":
        frame = pl.DataFrame(SENDS, INPUTS["sends"].schema, orient="row")
        frame.with_columns(pl.col("sent_at").dt.convert_time_zone("Europe/Berlin"), opened=True).write_parquet(path)
    else:
        path.write_text(content, "utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sends.csv", CSV),
        ("semicolons.csv", "\ufeff" + CSV.replace(",", ";")),
        ("sends.json", json.dumps(OBJECTS)),
        ("sends.jsonl", "\n".join(map(json.dumps, OBJECTS)) + "\n\n"),
        ("sends.parquet", ""),
    ],
)
def test_every_form_says_the_same(tmp_path, name, content):
    """Columns are known by their names however they are written; what has no meaning here is left out and told."""
    write(tmp_path / name, content)
    done = hand_in(tmp_path, "sends", tmp_path / name)
    assert (done.rows, done.standing, done.left_out, done.absent) == (2, 2, ("opened",), ())
    assert PlainShop(tmp_path).given("sends").rows() == SENDS


def given(folder, name, content, **more):
    """The table after some CSV was handed in."""
    (folder / "file.csv").write_text(content, "utf-8")
    hand_in(folder, name, folder / "file.csv", **more)
    return read_input(folder / "inputs", name).rows()


def test_a_file_replaces_what_was_there_unless_it_is_added(tmp_path):
    """Rows with a key replace the row of that key when added; without one, a row that is there is not there twice."""
    assert given(tmp_path, "stock", "product_id,available\na,1\nb,2\n") == [("a", 1), ("b", 2)]
    assert given(tmp_path, "stock", "product_id,available\nb,0\nc,3\n", add=True) == [("a", 1), ("b", 0), ("c", 3)]
    assert given(tmp_path, "stock", "product_id,available\nc,4\n") == [("c", 4)]
    for _ in range(2):
        assert given(tmp_path, "sends", CSV, add=True) == SENDS


def test_columns_that_may_be_absent_may_be_left_out(tmp_path, monkeypatch, capsys):
    """Consent that no column tells is unknown, which counts as no, and is told so."""
    assert given(tmp_path, "contacts", "user_id,email\nann,ann@shop.example\n") == [
        ("ann", "ann@shop.example", None, None)
    ]
    CartStore.open(tmp_path).close()
    words = ("--store", str(tmp_path), "hand-in", "contacts", str(tmp_path / "file.csv"))
    assert "there is no column consent: null counts as no\n" in command(monkeypatch, capsys, *words)[1]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("contacts", "user_id,consent\nann,yes\nbob,maybe\n", "line 3: consent is 'maybe', but must be yes or no"),
        ("contacts", "user_id,email\n,a@shop.example\n", "line 2: user_id is missing, but may never be"),
        ("contacts", "user_id\nann\nbob\nann\n", "row 0: the key user_id='ann' stands 2 times"),
        ("stock", "product_id,available\na,1.5\n", "line 2: available is '1.5', but must be a whole number"),
        ("stock", "product_id,available\na,9223372036854775808\n", "must be a whole number"),
        ("stock", "product_id\na\n", r"is no table of stock: columns missing \['available'\]; it has product_id"),
        ("stock", "product_id,Product-ID,available\na,a,1\n", "two columns of one meaning, 'product_id' and"),
        (
            "coupons",
            "code,discount_type,discount_value\nTEN,percentage,nan\n",
            "discount_value is 'nan', but must be a n",
        ),
        (
            "sends",
            CSV.replace("10:00:00Z", "10:00:00"),
            "line 2: sent_at is '2026-02-04T10:00:00', but must be a time ",
        ),
        ("stock", "product_id,available\n" + "a,x\n" * 7, r"line 6: .*; and 2 more"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_changes(tmp_path, name, content, problem):
    """An error names the file, line, column, value and rule, and what was there stays."""
    (tmp_path / "file.csv").write_text(content, "utf-8")
    with pytest.raises(TableError, match=problem) as told:
        hand_in(tmp_path, name, tmp_path / "file.csv", add=True)
    assert "file.csv" in str(told.value)
    assert read_input(tmp_path / "inputs", name).is_empty()


@pytest.mark.parametrize(
    ("name", "content"),
    [("sends.xlsx", "PK"), ("sends.json", "{"), ("sends.json", "[1]"), ("sends.parquet", "no"), ("sends.csv", "")],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content):
    """A file of another form, a torn one and an empty one are refused by name."""
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(SourceError, match=f"{name} cannot be read"):
        hand_in(tmp_path, "sends", tmp_path / name)


def test_a_time_without_a_zone_is_refused_in_parquet_too(tmp_path):
    """Nobody guesses a shop's zone."""
    frame = pl.DataFrame(SENDS, INPUTS["sends"].schema, orient="row")
    frame.with_columns(pl.col("sent_at").dt.replace_time_zone(None)).write_parquet(tmp_path / "sends.parquet")
    with pytest.raises(TableError, match=r"row 1: sent_at is .*, but must be a time with its zone"):
        hand_in(tmp_path, "sends", tmp_path / "sends.parquet")


def command(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    """The command; exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["cart", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_the_command_tells_what_was_taken(tmp_path, monkeypatch, capsys):
    """Rows, what stands now and what was left out are told, as words or JSON; an error exits 1 and names its line."""
    home, file = str(tmp_path / "store"), tmp_path / "sends.csv"
    CartStore.open(home).close()
    file.write_text(CSV, "utf-8")
    code, out, _ = command(monkeypatch, capsys, "--store", home, "hand-in", "sends", str(file), "--add")
    assert (code, out) == (0, f"2 rows of sends taken from {file}; 2 are there now\nleft out: opened\n")
    code, out, _ = command(monkeypatch, capsys, "--store", home, "hand-in", "sends", str(file), "--add", "--json")
    assert json.loads(out) == {
        "table": "sends", "file": str(file), "rows": 2, "standing": 2, "left_out": ["opened"], "absent": [],
    }  # fmt: skip
    file.write_text(CSV.replace("2026-02-04T10:00:00Z", "yesterday"), "utf-8")
    code, _, problem = command(monkeypatch, capsys, "--store", home, "hand-in", "sends", str(file))
    assert code == 1
    assert "line 2: sent_at is 'yesterday'" in problem
    assert PlainShop(tmp_path / "store").given("sends").height == 2
