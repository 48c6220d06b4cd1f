"""The audit pack: a period's whole trail, checked offline, in which no byte can be changed unseen."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import rules
from cart_core.audit import CLOCKS, Period, check_pack, write_audit
from cart_core.audit.check_audit import problems
from cart_core.audit.pack import CHECKER, EVENTS, LEDGER, MANIFEST, SUMS, TABLE
from cart_core.errors import InvalidEvent, Refused, SourceError, StoreCorrupt
from cart_core.store import CartStore
from tests.cart_core.store import buckets
from tests.cart_core.store.builders import MUG, POT, START, life, named
from tests.cart_core.store.conftest import KINDS, MARKS
from tests.conftest import Clock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, clock: Any) -> CartStore:
    """Events recorded on five days from noon of 1 January on, each of the day before but for the last, a late one.

    Days 0 and 2 were sealed from the journal, day 1 came in bulk, days 3 and 4 are in the journal.
    """
    opened = CartStore.open(tmp_path / "store", clock=clock, journal_rows=10)
    for day in range(5):
        moment = clock() - (DAY if day < 4 else 9 * DAY)
        if day == 1:
            opened.append_many([*life("bulk 1"), *life("bulk 2"), *life("bulk 3")])
        else:
            opened.append(named(f"cart {day}"), [MUG, POT], f"user {day}", 0, timestamp=moment)
            clock.advance(minutes=1)
            opened.append(named(f"cart {day}"), [POT], f"user {day}", 2, timestamp=moment)
        if day == 2:
            opened.seal()
        clock.advance(days=1, minutes=-1 if day != 1 else 0)
    return opened


@pytest.fixture
def packed(store: CartStore, tmp_path: Path) -> Callable[..., Path]:
    """A function that packs a period of the store into a new folder."""

    def pack(start: datetime, end: datetime, by: Any = "either") -> Path:
        folder = tmp_path / f"pack {len(list(tmp_path.iterdir()))}"
        write_audit(store, Period(start, end, by), folder, FAR_AHEAD)
        return folder

    return pack


def positions(folder: Path) -> list[int]:
    """The positions of a pack's events, ascending."""
    return sorted(json.loads(line)["position"] for line in (folder / EVENTS).read_text().splitlines())


def reseal(folder: Path) -> None:
    """Make manifest and sums fit the other files, as a forger would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    manifest["files"] = {name: sha256((folder / name).read_bytes()).hexdigest() for name in names if name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / SUMS).write_text("".join(f"{sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names))


def alone(*words: str) -> subprocess.CompletedProcess[str]:
    """The standalone checker, run as an auditor would: without this package, from nowhere."""
    command = [sys.executable, "-I", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)


@pytest.mark.parametrize("by", CLOCKS)
@pytest.mark.parametrize("days", [(-20, -15), (-2, 0), (-1, 1), (1, 1), (0, 3), (2, 5), (-20, 20), (9, 20)])
def test_a_pack_holds_exactly_the_events_of_its_period(
    store: CartStore, packed: Callable[..., Path], by: str, days: tuple[int, int]
):
    """By either clock or by one of them, sealed or not, and the pack holds by itself."""
    start, end = NOON + days[0] * DAY, NOON + days[1] * DAY + timedelta(hours=1)
    rows = store.scan().collect().to_dicts()
    happened = {row["position"] for row in rows if start <= row["timestamp"] <= end}
    recorded = {row["position"] for row in rows if start <= row["recorded_at"] <= end}
    expected = {"either": happened | recorded, "happened": happened, "recorded": recorded}[by]

    folder = packed(start, end, by)

    assert positions(folder) == sorted(expected)
    assert check_pack(folder) == []


def test_both_bounds_are_included(packed: Callable[..., Path]):
    """The very moments of the first and the last event are of the period."""
    assert positions(packed(NOON - DAY, NOON - DAY, "happened")) == [1, 2, 3]
    assert positions(packed(NOON, NOON, "recorded")) == [1, 2]


def test_the_standalone_checker_needs_nothing_but_python(packed: Callable[..., Path]):
    """It accepts the pack under its head, and refuses it under another, by its exit code."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    head = json.loads((folder / MANIFEST).read_text())["head"]
    good = alone(str(folder / CHECKER.name), str(folder), head)
    bad = alone(str(folder / CHECKER.name), str(folder), "00" * 32)
    assert (good.returncode, good.stdout) == (0, f"{folder} holds\n")
    assert (bad.returncode, bad.stdout) == (1, f"manifest.json head: is {head}, not the published {'00' * 32}\n")


def test_the_same_sums_can_be_checked_with_what_every_system_has(packed: Callable[..., Path]):
    """Each line of SHA256SUMS is a digest, two blanks and a name, of every file but itself."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    told = dict(line.split("  ")[::-1] for line in (folder / SUMS).read_text().splitlines())
    assert told == {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != SUMS}


NAMES = (EVENTS, TABLE, LEDGER, MANIFEST, SUMS, "verify.json", "README.html", CHECKER.name)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_is_found_and_its_file_named(packed: Callable[..., Path], name: str):
    """In any file, at its start, in its midst and at its end, by the standalone checker too."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    whole = (folder / name).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    for place in (0, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = problems(str(folder))
        assert any(each.startswith((f"{name}:", f"{name} ")) for each in found), (place, found)
    (folder / name).write_bytes(whole)
    assert problems(str(folder)) == []


def test_a_file_too_many_and_a_file_too_few_are_named(packed: Callable[..., Path]):
    """A pack is the files that its sums name and no others."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    (folder / TABLE).rename(folder / "other.parquet")
    assert {f"{TABLE}: is missing", f"other.parquet: is not what {SUMS} says it was"} <= set(problems(str(folder)))


def dropped(lines: list[bytes]) -> list[bytes]:
    """Without its last event."""
    return lines[:-1]


def doubled(lines: list[bytes]) -> list[bytes]:
    """With its first event twice."""
    return [*lines, lines[0]]


def altered(lines: list[bytes]) -> list[bytes]:
    """With another price in its first event."""
    return [lines[0].replace(b'"pricePerUnitCents":2900', b'"pricePerUnitCents":2901'), *lines[1:]]


def moved(lines: list[bytes]) -> list[bytes]:
    """With the places of two events swapped."""
    first, second = json.loads(lines[0]), json.loads(lines[1])
    first["event"], second["event"] = second["event"], first["event"]
    return [ledger_line(first), ledger_line(second), *lines[2:]]


def later(lines: list[bytes]) -> list[bytes]:
    """With an event recorded a second later than it was."""
    first = json.loads(lines[0])
    moment = datetime.fromisoformat(first["recordedAt"]) + timedelta(seconds=1)
    return [ledger_line(first | {"recordedAt": rules.format_time(moment)}), *lines[1:]]


def ledger_line(document: dict[str, Any]) -> bytes:
    """A line of the events as it would stand there."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize("forge", [dropped, doubled, altered, moved, later])
@pytest.mark.parametrize("days", [(0, 2), (0, 20), (3, 20)])
def test_a_forger_who_makes_the_sums_anew_is_found_out(
    packed: Callable[..., Path], forge: Callable[[list[bytes]], list[bytes]], days: tuple[int, int]
):
    """What the ledger holds is not what the events say, sealed or in the journal: the head needs no sums."""
    folder = packed(NOON + days[0] * DAY, NOON + days[1] * DAY, "recorded")
    lines = (folder / EVENTS).read_bytes().splitlines(keepends=True)
    forged = forge(lines)
    (folder / EVENTS).write_bytes(b"".join(forged))
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"events": len(forged)}))
    reseal(folder)
    assert any(each.startswith(EVENTS) for each in problems(str(folder)))


def test_a_batch_that_is_not_shown_cannot_hide_events_of_the_period(packed: Callable[..., Path]):
    """Leaving a batch out together with its events leaves a question, and the checker asks it."""
    folder = packed(NOON, NOON + 5 * DAY, "recorded")
    trail, manifest = (json.loads((folder / name).read_text()) for name in (LEDGER, MANIFEST))
    bulk = next(each for each in trail["batches"] if each["rows"] == 15)
    hidden = range(bulk["firstPosition"], bulk["firstPosition"] + 15)
    del trail["paths"][str(bulk["batch"])]
    lines = [line for line in (folder / EVENTS).read_text().splitlines() if json.loads(line)["position"] not in hidden]
    (folder / EVENTS).write_text("".join(f"{line}\n" for line in lines))
    (folder / LEDGER).write_text(json.dumps(trail))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"events": len(lines)}))
    reseal(folder)
    told = f"ledger.json: position {bulk['firstPosition']} may have been recorded in the period, and is not shown"
    assert problems(str(folder)) == [told]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda trail: trail["batches"].pop(0), "batch 1: does not follow"),
        (lambda trail: trail["batches"].pop(), "batch 3: is missing"),
        (lambda trail: trail["journal"]["rows"].pop(), "journal: its rows do not lead"),
        (lambda trail: trail["batches"][0].update(rows=4), "batch 1"),
        (lambda trail: trail["paths"]["1"]["recorded"][0].__setitem__(0, 1), "batch 1: its moments"),
    ],
)
def test_a_changed_ledger_is_found_without_any_sums(
    packed: Callable[..., Path], change: Callable[[dict[str, Any]], Any], place: str
):
    """Batches, moments and the journal hang together, and on the head."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    trail = json.loads((folder / LEDGER).read_text())
    change(trail)
    (folder / LEDGER).write_text(json.dumps(trail))
    reseal(folder)
    assert any(place in each for each in problems(str(folder)))


def test_a_table_or_page_that_says_something_else_is_found(packed: Callable[..., Path], tmp_path: Path):
    """With the package at hand: what people read is held against the proved events, and names its row."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    other = copytree(folder, tmp_path / "other")
    table = pq.read_table(folder / TABLE)
    prices = table["price_cents"].to_pylist()
    prices[3] = 1
    pq.write_table(
        table.set_column(table.column_names.index("price_cents"), table.field("price_cents"), [prices]), folder / TABLE
    )
    (other / "README.html").write_text((other / "README.html").read_text().replace("found nothing", "found everything"))
    for each in (folder, other):
        reseal(each)
    assert check_pack(folder) == [f"{TABLE} row 4: is not line 4 of {EVENTS}"]
    assert check_pack(other) == ["README.html: does not show what manifest.json and verify.json say"]


def test_a_pack_names_no_user(packed: Callable[..., Path]):
    """Users are numbers, as in the ledger."""
    folder = packed(LONG_AGO, FAR_AHEAD)
    assert not any(b"user 0" in path.read_bytes() for path in folder.iterdir())
    assert pq.read_table(folder / TABLE)["user_key"].null_count == 0


def test_compaction_and_sealing_change_no_event_of_a_pack(store: CartStore, packed: Callable[..., Path]):
    """The same period gives the same events; what was in the journal leads to the head afterwards."""
    before = packed(NOON + DAY, FAR_AHEAD)
    store.seal()
    store.compact(grace=timedelta(0))
    after = packed(NOON + DAY, FAR_AHEAD)
    lines = [sorted((folder / EVENTS).read_text().splitlines()) for folder in (before, after)]
    assert lines[0] == lines[1]
    assert [json.loads((folder / MANIFEST).read_text())["unsealed"] for folder in (before, after)] == [6, 0]
    assert check_pack(after) == []


def test_an_empty_store_has_an_empty_pack(tmp_path: Path):
    """Which holds."""
    with CartStore.open(tmp_path / "store") as store:
        write_audit(store, Period(START, START), tmp_path / "pack", START)
    assert check_pack(tmp_path / "pack") == []


def test_anchors_go_into_the_pack_and_the_chain_is_held_to_them(store: CartStore, tmp_path: Path):
    """By the standalone checker: another head, another store, and more batches than there are, are named by line."""
    anchors, pack = tmp_path / "anchors.jsonl", tmp_path / "pack"
    store.anchor(anchors)
    store.seal()
    made = store.anchor(anchors)
    assert write_audit(store, Period(LONG_AGO, FAR_AHEAD), pack, NOON, anchors).problems == []
    assert check_pack(pack) == []
    lines = (pack / "anchors.jsonl").read_text().splitlines(keepends=True)
    for change in ({"head": "00" * 32}, {"store": "another"}, {"batches": made["batches"] + 1}):
        (pack / "anchors.jsonl").write_bytes(lines[0].encode() + ledger_line(made | change))
        reseal(pack)
        told = "anchors.jsonl line 2: the batches do not begin with what was anchored"
        assert problems(str(pack)) == [told]


def test_a_damaged_batch_gives_no_pack(store: CartStore, tmp_path: Path):
    """What is not what was sealed is not packed as if it were."""
    segment = max((store.path / "segments").glob("*.parquet"), key=lambda path: path.stat().st_size)
    segment.chmod(0o644)
    table = pq.read_table(segment)
    prices = [None if each is None else each + 1 for each in table["price_cents"].to_pylist()]
    pq.write_table(
        table.set_column(table.column_names.index("price_cents"), table.field("price_cents"), [prices]), segment
    )
    with pytest.raises(StoreCorrupt, match=r"run cart verify|cannot be read"):
        write_audit(store, Period(LONG_AGO, FAR_AHEAD), tmp_path / "pack", NOON)
    with pytest.raises(SourceError, match="no audit pack"):
        check_pack(tmp_path / "pack")


def test_a_folder_that_holds_something_is_left_alone(store: CartStore):
    """A pack is not mixed with other files."""
    with pytest.raises(Refused, match="not empty"):
        write_audit(store, Period(START, START), store.path, NOON)


@pytest.mark.parametrize(
    ("start", "end", "by", "field"),
    [
        (START, START - DAY, "either", "to"),
        (START.replace(tzinfo=None), START, "either", "from"),
        (START, START, "x", "by"),
    ],
)
def test_a_period_is_two_moments_that_ascend(start: datetime, end: datetime, by: Any, field: str):
    """Anything else is refused, and named."""
    with pytest.raises(InvalidEvent) as caught:
        Period(start, end, by)
    assert caught.value.field == field


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=MARKS.get(kind, ())) for kind in KINDS if kind != "memory"])
def test_a_pack_of_any_durable_store_holds(tmp_path: Path, clock: Any, kind: str):
    """Wherever its catalog and its segments lie."""
    with buckets.credentials(), KINDS[kind](tmp_path, clock) as store:
        store.append_many([*life("a"), *life("b")])
        store.seal()
        store.append(named("c"), [MUG], "ann", 0)
        write_audit(store, Period(LONG_AGO, FAR_AHEAD), tmp_path / "pack", NOON)
        assert check_pack(tmp_path / "pack") == []
        assert len(positions(tmp_path / "pack")) == 11


STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "bulk", "seal", "compact"]), st.integers(0, 3), st.integers(-5, 5)),
    min_size=1,
    max_size=12,
)


@given(STEPS, st.integers(-3, 20), st.integers(0, 12), st.sampled_from(CLOCKS), st.data())
@settings(max_examples=25)
def test_any_period_of_any_history_is_packed_whole(
    steps: list[tuple[str, int, int]], start: int, length: int, by: Any, data: st.DataObject
):
    """However batches and journal lie among each other; and none that was recorded then can be left out unseen."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(NOON)
        with CartStore.open(Path(folder) / "store", clock=clock, journal_rows=4) as store:
            for number, (step, hours, late) in enumerate(steps):
                _take(store, step, f"cart {number}", clock.advance(hours=hours) - timedelta(hours=late))
            rows = store.scan().collect()
            period = Period(NOON + timedelta(hours=start), NOON + timedelta(hours=start + length), by)
            write_audit(store, period, Path(folder) / "pack", NOON)
        recorded = set(_between(rows, "recorded_at", period))
        happened = set(_between(rows, "timestamp", period))
        pack = Path(folder) / "pack"
        assert positions(pack) == sorted({"recorded": recorded, "happened": happened}.get(by, recorded | happened))
        assert check_pack(pack) == []
        if recorded and by != "happened":
            _drop(pack, data.draw(st.sampled_from(sorted(recorded))))
            assert problems(str(pack))


def _take(store: CartStore, step: str, cart: str, happened: datetime) -> None:
    """One step of a history."""
    if step == "append":
        store.append(named(cart), [MUG, POT], "ann", 0, timestamp=happened)
    elif step == "bulk":
        store.append_many([replace(each, timestamp=happened) for each in life(cart)])
    elif step == "seal":
        store.seal()
    else:
        store.compact(grace=timedelta(0))


def _between(rows: pl.DataFrame, name: str, period: Period) -> list[int]:
    return rows.filter(pl.col(name).is_between(period.start, period.end))["position"].to_list()


def _drop(pack: Path, position: int) -> None:
    """Take an event out of a pack, and make counts and sums anew."""
    lines = (pack / EVENTS).read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["position"] != position]
    (pack / EVENTS).write_text("".join(kept))
    manifest = json.loads((pack / MANIFEST).read_text())
    (pack / MANIFEST).write_text(json.dumps(manifest | {"events": len(kept)}))
    reseal(pack)
