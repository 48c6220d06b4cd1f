"""P7: as of, and as known at, wherever events are read, for events that came late."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cart_core.cli import main
from cart_core.errors import InvalidEvent, Refused
from cart_core.exporting import export
from cart_core.projector import CartState, fold
from cart_core.projector.streaming import Moment, project
from cart_core.store import CartStore
from cart_core.store.base import Store
from cart_core.store.reading import duck
from tests.cart_core.store.builders import MORE_MUGS, MUG, POT, START, life, named
from tests.cart_core.store.conftest import SteppingClock

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """Bounds of a question; the clocks of the events are told in days after START."""

    at: datetime | None = None
    known_at: datetime | None = None


MOMENTS = [
    Asked(),
    Asked(at=START - DAY),
    Asked(at=START),
    Asked(known_at=START),
    Asked(known_at=START + 2 * DAY),
    Asked(START + DAY, START + 2.5 * DAY),
]


def write(store: Store, clock: SteppingClock) -> None:
    """Carts whose events were recorded on days 1 to 3, some of which had happened long before; one came in bulk."""
    clock.now = START + DAY
    store.append(named("late"), [MUG], "ann", 0, timestamp=START + DAY)
    store.append_many(life("bulk"))
    clock.now = START + 2 * DAY
    store.append(named("late"), [POT], "ann", 1, timestamp=START)
    store.append(named("other"), [MUG, POT], "bob", 0, timestamp=START + 2 * DAY)
    clock.now = START + 3 * DAY
    store.append(named("late"), [MORE_MUGS], "ann", 2, timestamp=START - DAY)


def disturb(store: Store, clock: SteppingClock) -> None:
    """What may come afterwards and must change no answer about before: appends, seals, compaction."""
    store.seal()
    clock.now = START + 20 * DAY
    store.append(named("late"), [MUG], "ann", 3, timestamp=START + 20 * DAY)
    store.seal()
    store.append_many(life("much later")[:3])
    store.compact()


def by_position(frame: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a scan in order."""
    return frame.collect().sort("position")


def expected(rows: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """The rows within the bounds, by definition."""
    for name, bound in (("timestamp", asked.at), ("recorded_at", asked.known_at)):
        if bound is not None:
            rows = rows.filter(pl.col(name) <= bound)
    return rows


@pytest.mark.parametrize("asked", MOMENTS)
def test_p7_a_scan_of_a_moment_is_the_same_before_and_after_all_that_follows(
    store: Store, ticking: SteppingClock, asked: Asked
):
    """On every kind of store: exactly the events within the bounds, and the same rows for ever."""
    write(store, ticking)
    until = store.position()
    before = by_position(store.scan(until=until, at=asked.at, known_at=asked.known_at))
    assert before.equals(expected(by_position(store.scan()), asked))
    disturb(store, ticking)
    assert by_position(store.scan(until=until, at=asked.at, known_at=asked.known_at)).equals(before)
    if asked.known_at is not None:
        assert by_position(store.scan(at=asked.at, known_at=asked.known_at)).equals(before)


@pytest.mark.parametrize("asked", MOMENTS[1::2])
def test_p7_a_cart_of_a_moment_is_the_fold_of_what_counts(store: Store, ticking: SteppingClock, asked: Asked):
    """Read and cart agree with the bounds' definition, before and after all that follows."""
    write(store, ticking)
    cart = named("late")
    wanted = [
        each
        for each in store.read(cart)
        if (asked.at is None or each.timestamp <= asked.at)
        and (asked.known_at is None or each.recorded_at <= asked.known_at)
    ]
    state = fold(wanted) if wanted else CartState.empty(cart)
    assert store.read(cart, 3, asked.at, asked.known_at) == wanted
    assert store.cart(cart, 3, asked.at, asked.known_at) == state
    disturb(store, ticking)
    assert store.read(cart, 3, asked.at, asked.known_at) == wanted
    assert store.cart(cart, 3, asked.at, asked.known_at) == state


@pytest.fixture(params=[0, 10_000], ids=["bulk", "journal"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, ticking: SteppingClock) -> Iterator[CartStore]:
    """A durable store with late events, whose batches become segments at once or go through the journal."""
    with CartStore.open(tmp_path / "store", clock=ticking, journal_rows=request.param) as opened:
        write(opened, ticking)
        yield opened


def folded(store: CartStore, asked: Asked, until: int) -> dict[str, dict[str, Any]]:
    """The carts of a moment by their ids, each folded by itself from what a scan gives."""
    rows = store.scan(until=until, at=asked.at, known_at=asked.known_at).collect()
    states = {}
    for cart in {str(UUID(bytes=each)) for each in rows["cart_id"]}:
        kept = {each.hex() for each in rows.filter(pl.col("cart_id") == UUID(cart).bytes)["event_id"]}
        states[cart] = fold([each for each in store.read(cart) if UUID(each.event_id).hex in kept]).to_json()
    return states


@pytest.mark.parametrize("asked", MOMENTS)
def test_p7_sql_sees_the_moment(shop: CartStore, ticking: SteppingClock, asked: Asked):
    """Events, carts and lines of a query are of one moment, the same before and after all that follows."""
    until = shop.position()
    moment = Moment(asked.at, asked.known_at, until)
    events = by_position(shop.scan(until=until, at=asked.at, known_at=asked.known_at))["position"].to_list()
    states = folded(shop, asked, until)
    carts = sorted((cart, state["version"], state["totalCents"]) for cart, state in states.items())
    lines = sum(len(state["items"]) for state in states.values())

    def check() -> None:
        assert duck.query(shop, "SELECT position FROM events ORDER BY 1", moment)[1] == [(each,) for each in events]
        assert duck.query(shop, "SELECT cart_id, version, total_cents FROM carts ORDER BY 1", moment)[1] == carts
        assert duck.query(shop, "SELECT count(*) FROM lines", moment)[1] == [(lines,)]

    check()
    disturb(shop, ticking)
    check()


@pytest.mark.parametrize("asked", MOMENTS[::2])
def test_p7_exports_and_projections_see_the_moment(
    shop: CartStore, ticking: SteppingClock, tmp_path: Path, asked: Asked
):
    """A file of carts is the fold of what counts, and a file of events is what counts."""
    until = shop.position()
    moment = Moment(asked.at, asked.known_at, until)
    events = by_position(shop.scan(until=until, at=asked.at, known_at=asked.known_at))
    states = folded(shop, asked, until)
    disturb(shop, ticking)

    export(shop, "carts", tmp_path / "carts.jsonl", moment=moment)
    rows = export(shop, "events", tmp_path / "events.parquet", moment=moment)
    projected = project(shop.batches(moment.columns, until=until), tmp_path / "out", moment)

    written = [json.loads(line) for line in (tmp_path / "carts.jsonl").read_text().splitlines()]
    assert {each["cartId"]: each for each in written} == states
    assert sorted(pq.read_table(tmp_path / "events.parquet")["position"].to_pylist()) == events["position"].to_list()
    assert (rows, projected.events, projected.carts) == (len(events), len(events), len(states))


def test_p7_a_query_leaves_derived_tables_out_where_it_asks_for_a_moment(shop: CartStore):
    """They are of the moment they were derived at, and no answer mixes two."""
    (shop.path / "derived").mkdir()
    pq.write_table(pa.table({"figure": [1]}), shop.path / "derived" / "headline.parquet")
    assert duck.query(shop, "SELECT figure FROM headline")[1] == [(1,)]
    with pytest.raises(Refused, match="headline"):
        duck.query(shop, "SELECT figure FROM headline", Moment(until=3))


def test_p7_an_open_connection_keeps_its_moment_while_others_ask_for_more(shop: CartStore):
    """Its carts are there as long as a few other moments have been asked for since."""
    with shop.duckdb(until=2) as db:
        before = db.sql("SELECT * FROM carts ORDER BY cart_id").fetchall()
        for until in (3, 4, 5):
            with shop.duckdb(until=until) as other:
                assert other.sql("SELECT max(position) FROM events").fetchall() == [(until,)]
        assert db.sql("SELECT * FROM carts ORDER BY cart_id").fetchall() == before


def test_p7_a_moment_without_a_zone_is_refused(shop: CartStore):
    """By name, wherever it is given."""
    naive = START.replace(tzinfo=None)
    for ask in (shop.scan, shop.duckdb):
        for bound in ("at", "known_at"):
            with pytest.raises(InvalidEvent, match=f"{bound} is"):
                ask(**{bound: naive})


@pytest.fixture
def cart(shop: CartStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The command, run on the shop's store; what it printed as JSON."""

    def run(*words: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["cart", "--store", str(shop.path), *words, "--json"])
        with pytest.raises(SystemExit, match="0"):
            main()
        return json.loads(capsys.readouterr().out)

    return run


def test_p7_the_commands_ask_for_a_moment(cart: Callable[..., Any], tmp_path: Path):
    """Both clocks and a position, on show, history, sql, export and project."""
    as_of, known = ("--as-of", "2026-01-02T00:00:00Z"), ("--known-at", "2026-01-02T23:00:00Z")
    count = ("sql", "SELECT count(*) AS n FROM events")
    assert cart(*count) == [{"n": 10}]
    assert cart(*count, *as_of) == [{"n": 8}]
    assert cart(*count, *known) == [{"n": 6}]
    assert cart(*count, *as_of, *known, "--until", "2") == [{"n": 2}]
    assert cart("show", named("late"), *known)["version"] == 1
    assert [each["version"] for each in cart("history", named("late"), "--at", "2026-01-01T00:00:00Z")] == [2, 3]
    assert cart("export", "events", str(tmp_path / "events.csv"), *known)["rows"] == 6
    assert cart("project", "--out", str(tmp_path / "out"), *as_of, *known)["events"] == 6
