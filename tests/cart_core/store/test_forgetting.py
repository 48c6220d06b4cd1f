"""P12: no file of a store holds the id of a person who was forgotten, and nobody else's rows are lost."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cart_core.errors import StillNamed, StoreBusy
from cart_core.events import CheckoutCompleted
from cart_core.ingest import import_files
from cart_core.projector.streaming import Moment
from cart_core.store import CartStore
from cart_core.store.reading import duck
from cart_core.store.upkeep.traces import Traces
from cart_core.store.views import STAGED, ViewStage
from tests.cart_core.store.builders import MORE_MUGS, MUG, START, envelope, life, named

ANN = "ann@shop.example"
OTHERS = ("joann@shop.example", "bob")


def seen(user: str, view: str) -> dict[str, Any]:
    """One view of a product."""
    return {
        "view_id": view,
        "product_id": "mug",
        "user_id": user,
        "session": f"s of {user}",
        "at": START,
        "counts": True,
    }


def line(user: str) -> str:
    """What an import sets aside, as it lies in a file."""
    return json.dumps({"raw": json.dumps({"userId": user, "event": {"type": "Nonsense"}}), "reason": "unknown_type"})


@pytest.fixture
def shop(tmp_path: Path, ticking: Any) -> Iterator[CartStore]:
    """A store with the events of three people, and their ids in every kind of file that a shop's folder has."""
    with CartStore.open(tmp_path / "store", clock=ticking, journal_rows=4) as store:
        for number, user in enumerate((ANN, *OTHERS)):
            store.append_many(life(f"bulk {number}", user))
            store.append(named(f"cart {number}"), [MUG], user, 0)
        store.seal()
        store.compact(grace=timedelta(hours=1))
        store.append(named("cart 0"), [MORE_MUGS], ANN, 1)
        _fill(store)
        yield store


def _fill(store: CartStore) -> None:
    home = store.path
    with ViewStage(home / "views", home / "cache") as stage:
        stage.add(pa.Table.from_pylist([seen(user, f"v {user}") for user in (ANN, *OTHERS)], schema=STAGED))
        stage.commit()
    for moment in (Moment(), Moment(until=5)):
        duck.query(store, "SELECT count(*) FROM carts", moment)
    bad = home / "bad.jsonl"
    bad.write_text(
        "".join(json.dumps(envelope("x", user=user).to_json() | {"extra": 1}) + "\n" for user in (ANN, *OTHERS))
    )
    import_files(store, "jsonl", [bad], now=START)
    bad.unlink()
    for folder in (
        "derived",
        "inbox/done/rees46",
        "inbox/shopify",
        "inputs",
        "cache/import-999999-x",
        "derived/.kept/7/carts",
    ):
        (home / folder).mkdir(parents=True, exist_ok=True)
    nested = pa.table(
        {
            "user_id": pa.array([ANN, *OTHERS]).dictionary_encode(),
            "note": [f"seen by {ANN}, twice", "-", None],
            "reasons": [[f"asked by {ANN}"], ["bought"], []],
            "who": [{"name": ANN}, {"name": "bob"}, None],
            "by": pa.array([[(ANN, "1")], [], None], pa.map_(pa.string(), pa.string())),
            "product_name": ["Mug", "Mug", "Pot"],
        }
    )
    for path in ("derived/table.parquet", "derived/.kept/7/carts/part-00000.parquet", "inputs/contacts.parquet"):
        pq.write_table(nested, home / path, row_group_size=2)
    people = (ANN, *OTHERS)
    (home / "inbox/done/rees46/old.csv").write_text("time,user\n" + "".join(f"1,{user}\n" for user in people))
    with gzip.open(home / "inbox/done/rees46/packed.csv.gz", "wt") as packed:
        packed.write("time,user\n" + "".join(f"1,{user}\n" for user in people))
    with gzip.open(home / "inbox/shopify/packed.json.gz", "wt") as packed:
        packed.write(json.dumps([{"customer": user} for user in people]))
    orders = {"orders": [{"id": place, "customer": {"email": user}} for place, user in enumerate(people)], "shop": ANN}
    (home / "inbox/shopify/orders.json").write_text(json.dumps(orders))
    (home / "derived/report.html").write_text(f"<p>{ANN}</p>")
    (home / "derived/other.html").write_text("<p>bob</p>")
    (home / "cache/import-999999-x/000.arrow").write_text(ANN)
    (home / "inputs/.people.jsonl.999999-0a1b2c3d.tmp").write_text(ANN)  # a forgetting that died left it


def contents(path: Path) -> str:
    """All that a file says: its bytes, what is packed in them, the cells of tables."""
    data = path.read_bytes()
    text = data.decode("utf-8", "replace") + data.decode("utf-16-le", "replace")
    if path.suffix == ".gz":
        text += gzip.decompress(data).decode()
    if path.suffix == ".parquet":
        text += str(pq.read_table(path).to_pylist())
    if path.suffix == ".sqlite":
        with closing(sqlite3.connect(path)) as db:
            text += "\n".join(db.iterdump())
    return text


def holding(home: Path, user: str) -> list[str]:
    """The files of a folder that hold an id."""
    found = re.compile(rf"(?<!\w){re.escape(user)}(?!\w)")
    files = sorted(path for path in home.rglob("*") if path.is_file())
    return [str(path.relative_to(home)) for path in files if found.search(contents(path))]


def test_p12_no_file_holds_the_id_afterwards(shop: CartStore):
    """Catalog, log, views, set-aside rows, inbox, inputs, derived and kept tables, caches: every byte is looked at."""
    before = holding(shop.path, ANN)
    assert len(before) >= 12, before
    assert any(name.startswith("catalog.sqlite") for name in before)
    assert shop.forget(ANN)
    assert holding(shop.path, ANN) == []


def test_p12_nobody_else_is_touched(shop: CartStore):
    """Rows, lines and entries of others stay, also of one whose id contains the forgotten one."""
    shop.forget(ANN)
    home = shop.path
    for user in OTHERS:
        rest = {name for name in holding(home, user) if not name.startswith(("catalog", "cache"))}
        assert {name for name in rest if "views" not in name and "set_aside" not in name} == {
            "derived/.kept/7/carts/part-00000.parquet",
            "derived/table.parquet",
            "inbox/done/rees46/old.csv",
            "inbox/done/rees46/packed.csv.gz",
            "inbox/shopify/orders.json",
            "inbox/shopify/packed.json.gz",
            "inputs/contacts.parquet",
            *(["derived/other.html"] if user == "bob" else []),
        }
        assert len(rest) == (10 if user == "bob" else 9)
    table = pq.read_table(home / "derived/table.parquet")
    assert table["user_id"].to_pylist() == ["forgotten-1", *OTHERS]
    assert table["reasons"].to_pylist() == [["asked by forgotten-1"], ["bought"], []]
    assert (
        table.schema.field("user_id").type
        == pq.read_table(home / "inputs/contacts.parquet").schema.field("user_id").type
    )
    assert len(json.loads((home / "inbox/shopify/orders.json").read_text())["orders"]) == 2


def test_p12_totals_and_proofs_stay(shop: CartStore, tmp_path: Path):
    """Every cart has the same totals, the ledger the same head, and it fits the anchor made before."""
    ask = "SELECT cart_id, version, total_cents FROM carts ORDER BY 1"
    before, head = duck.query(shop, ask)[1], shop.anchor(tmp_path / "anchors")["head"]
    shop.forget(ANN)
    found = shop.verify(tmp_path / "anchors")
    assert (duck.query(shop, ask)[1], found.head, found.problems) == (before, head, [])
    users = {row[0] for row in duck.query(shop, "SELECT DISTINCT user_id FROM events")[1]}
    assert users == {"forgotten-1", *OTHERS}


def test_p12_a_second_time_finds_nothing_and_changes_no_file(shop: CartStore):
    """Forgetting is idempotent."""
    shop.forget(ANN)
    before = {path: path.stat().st_mtime_ns for path in (shop.path / "derived").rglob("*")}
    assert not shop.forget(ANN)
    assert {path: path.stat().st_mtime_ns for path in (shop.path / "derived").rglob("*")} == before


def test_p12_what_comes_back_after_it_was_cleaned_is_cleaned_again(shop: CartStore):
    """A file that somebody puts there later is found by forgetting again, though the store knows nobody of that id."""
    shop.forget(ANN)
    (shop.path / "inbox" / "again.csv").write_text(f"time,user\n1,{ANN}\n")
    assert shop.forget(ANN)
    assert holding(shop.path, ANN) == []


def test_p12_a_log_that_a_reader_holds_keeps_nothing_else_from_being_cleaned(
    shop: CartStore, monkeypatch: pytest.MonkeyPatch
):
    """The command has to be given again, and then nothing is left."""

    def busy() -> None:
        raise StoreBusy("a reader holds the old log")

    with monkeypatch.context() as patched:
        patched.setattr(shop.catalog, "erase", busy)
        with pytest.raises(StoreBusy):
            shop.forget(ANN)
    assert all(name.startswith("catalog.sqlite") for name in holding(shop.path, ANN))
    shop.forget(ANN)
    assert holding(shop.path, ANN) == []


def test_p12_an_id_in_an_events_own_fields_is_named(shop: CartStore):
    """Metadata and order ids are sealed for good, so nobody may put a person there; if somebody did, it is said."""
    shop.append(named("cart 0"), [CheckoutCompleted(f"order of {ANN}", 1)], ANN, 2)
    shop.append(named("cart 0"), [MUG], ANN, 3, metadata={"mail": ANN})
    with pytest.raises(StillNamed, match="2 events, first at position 20") as caught:
        shop.forget(ANN)
    assert caught.value.positions == [20, 21]
    assert {each.user_id for each in shop.read(named("cart 0"))} == {"forgotten-1"}


def test_p12_a_file_that_nobody_can_clean_is_named(shop: CartStore):
    """All the others are cleaned all the same."""
    (shop.path / "inputs" / "people.bin").write_bytes(b"\0\1" + ANN.encode() + b"\0")
    with pytest.raises(StillNamed, match=r"people\.bin"):
        shop.forget(ANN)
    assert holding(shop.path, ANN) == ["inputs/people.bin"]


@pytest.mark.parametrize("name", ["torn.csv.gz", "torn.json.gz", "torn.parquet", "no.parquet"])
def test_p12_a_file_that_nobody_can_read_is_named(shop: CartStore, name: str):
    """What is torn, as an upload that broke off leaves it, may hold anybody; all the others are cleaned."""
    content = {
        "torn.csv.gz": gzip.compress(b"time,user\n" * 9_999)[:-20],
        "torn.json.gz": gzip.compress(b"[]")[:-6],
        "torn.parquet": (shop.path / "derived" / "table.parquet").read_bytes()[:-40],
        "no.parquet": b"",
    }[name]
    (shop.path / "inbox" / name).write_bytes(content)
    with pytest.raises(StillNamed, match=re.escape(name)):
        shop.forget(ANN)
    (shop.path / "inbox" / name).unlink()
    assert holding(shop.path, ANN) == []


@pytest.mark.parametrize("user", ['o"neil', "jürgen", "a<b>&c", "back\\slash", "Späti-🛒", "tab\there"])
def test_an_id_is_found_however_a_file_writes_it(tmp_path: Path, user: str):
    """Escaped as JSON, JSON inside of JSON, CSV and HTML."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("a", user))
        (store.path / "set_aside").mkdir()
        kept = json.dumps({"userId": "bob"})
        texts = [json.dumps({"u": user}), json.dumps({"u": user}, ensure_ascii=False), line(user), kept]
        (store.path / "set_aside" / "rows.jsonl").write_text("".join(f"{text}\n" for text in texts))
        store.forget(user)
        assert (store.path / "set_aside" / "rows.jsonl").read_text() == f"{kept}\n"


def test_a_number_of_few_digits_is_a_person_only_where_it_stands_alone():
    """Neither a size nor a count becomes somebody."""
    traces = Traces("7", "forgotten-1")
    assert traces.replaced(["7", "size 7", 7, {"a": "7"}]) == ["forgotten-1", "size 7", 7, {"a": "forgotten-1"}]
    assert [traces.in_value(value) for value in ("size 7", [7], {"n": "7"}, 77)] == [False, True, True, False]


def test_columns_about_goods_are_left_alone(tmp_path: Path):
    """A product may be called what a person is called."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("a", "mug"))
        (store.path / "derived").mkdir()
        table = pa.table({"product_id": ["mug"], "user_id": ["mug"]})
        pq.write_table(table, store.path / "derived" / "t.parquet")
        store.forget("mug")
        assert pq.read_table(store.path / "derived" / "t.parquet").to_pylist() == [
            {"product_id": "mug", "user_id": "forgotten-1"}
        ]
