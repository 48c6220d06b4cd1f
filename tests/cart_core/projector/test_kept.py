"""Tables that are kept up to date are those of a full rebuild, byte for byte, and change in one step."""

import json
import shutil
from pathlib import Path
from uuid import UUID

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core.events import CheckoutCompleted, Envelope, ItemAdded, ItemRemoved
from cart_core.projector import fold_table, generations, kept
from cart_core.projector.kept import Kept, Refreshed, current, refresh
from cart_core.store import CartStore, MemoryStore
from tests.builders import cart_id, history
from tests.strategies import shops

FEW_POSITIONS = 7


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of the current generation with its bytes."""
    generation = (folder / ".kept" / "current").resolve()
    return {str(path.relative_to(generation)): path.read_bytes() for path in generation.rglob("*") if path.is_file()}


def rebuilt(store: MemoryStore, folder: Path) -> dict[str, bytes]:
    """The files of a full rebuild."""
    shutil.rmtree(folder, ignore_errors=True)
    assert refresh(store, folder, part_positions=FEW_POSITIONS).rebuilt
    return files_of(folder)


def standing(folder: Path) -> Kept:
    """The tables kept in a folder, which has some."""
    found = current(folder)
    assert found is not None
    return found


def item(product: str = "a", currency: str = "USD") -> ItemAdded:
    """An item that comes into a cart."""
    return ItemAdded(product, f"the {product}", 1, 2900, currency)


def filled(carts: int = 20) -> MemoryStore:
    """A store in which so many carts have one item each; cart ``i`` began at position ``i + 1``."""
    store = MemoryStore()
    for number in range(carts):
        store.append_many(history(item(), cart=cart_id(number)))
    return store


@given(shops(max_carts=6, shuffled=False), st.data())
@settings(max_examples=30)
def test_any_sequence_of_refreshes_gives_the_files_of_a_rebuild(
    tmp_path_factory: pytest.TempPathFactory, envelopes: list[Envelope], data: st.DataObject
) -> None:
    """Random batches of events, late ones, returns and mixed currencies included, refreshed after any of them."""
    folder = tmp_path_factory.mktemp("kept")
    store = MemoryStore()
    rest = list(envelopes)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        store.append_many(rest[:size])
        rest = rest[size:]
        if data.draw(st.booleans()) or not rest:
            refresh(store, folder / "kept", part_positions=FEW_POSITIONS)
            assert files_of(folder / "kept") == rebuilt(store, folder / "rebuilt")


def test_the_kept_tables_are_those_of_the_fold(tmp_path: Path) -> None:
    """Whoever reads the tables by their plain names finds every cart and line once, as ``fold_table`` gives them."""
    store = filled()
    refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    store.append_many(history(ItemRemoved("a"), cart=cart_id(3), after=1))
    refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    expected = fold_table(next(store.batches()))
    carts = pl.read_parquet(tmp_path / "carts.parquet").sort("cart_id")
    assert carts.equals(pl.DataFrame(pl.from_arrow(expected.carts)).sort("cart_id"))
    lines = pq.read_table(tmp_path / "lines.parquet")
    assert sorted(map(str, lines["cart_id"].to_pylist())) == sorted(map(str, expected.lines["cart_id"].to_pylist()))


def test_only_the_parts_that_new_events_touch_are_written(tmp_path: Path) -> None:
    """A refresh reads the new events and writes their carts' parts; the others are the same files as before."""
    store = filled()
    assert refresh(store, tmp_path, part_positions=FEW_POSITIONS) == Refreshed(20, 20, 3, 3, rebuilt=True)
    before = {path.name: path.stat().st_ino for path in standing(tmp_path).carts}
    store.append_many(history(item("b"), cart=cart_id(17), after=1))
    assert refresh(store, tmp_path, part_positions=FEW_POSITIONS) == Refreshed(21, 1, 1, 3, rebuilt=False)
    after = {path.name: path.stat().st_ino for path in standing(tmp_path).carts}
    assert [name for name in before if before[name] != after[name]] == ["part-00002.parquet"]


def test_a_refresh_without_new_events_writes_nothing(tmp_path: Path) -> None:
    """The generation stays."""
    store = filled()
    refresh(store, tmp_path)
    generation = (tmp_path / ".kept" / "current").resolve()
    assert refresh(store, tmp_path) == Refreshed(20, 0, 0, 1, rebuilt=False)
    assert (tmp_path / ".kept" / "current").resolve() == generation


def test_a_store_without_events_has_tables_without_rows(tmp_path: Path) -> None:
    """Both tables are there to be read, with all their columns."""
    refresh(MemoryStore(), tmp_path)
    assert pl.read_parquet(tmp_path / "carts.parquet").height == 0
    assert "added_at" in pl.read_parquet(tmp_path / "lines.parquet").columns
    assert standing(tmp_path).position == 0


def test_nothing_is_kept_before_the_first_refresh(tmp_path: Path) -> None:
    """There is no current generation in an empty folder."""
    assert current(tmp_path) is None


def test_a_position_in_the_past_can_be_asked_for(tmp_path: Path) -> None:
    """``until`` gives the tables of that position, and the next refresh goes on from there."""
    store = filled()
    refresh(store, tmp_path, until=15, part_positions=FEW_POSITIONS)
    assert (standing(tmp_path).position, pl.read_parquet(tmp_path / "carts.parquet").height) == (15, 15)
    assert not refresh(store, tmp_path, part_positions=FEW_POSITIONS).rebuilt
    assert files_of(tmp_path) == rebuilt(store, tmp_path / "rebuilt")


@pytest.mark.parametrize(("backwards", "position"), [(True, 15), (False, 20)])
def test_tables_that_are_ahead_go_back_only_where_that_is_wanted(
    tmp_path: Path, backwards: bool, position: int
) -> None:
    """An earlier position builds them anew, or leaves them as they are."""
    store = filled()
    refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    done = refresh(store, tmp_path, until=15, part_positions=FEW_POSITIONS, backwards=backwards)
    assert (standing(tmp_path).position, done.rebuilt) == (position, backwards)


def test_tables_ahead_of_a_store_that_was_set_back_are_built_anew(tmp_path: Path) -> None:
    """A store restored from an earlier copy has fewer events than its tables know of."""
    refresh(filled(20), tmp_path, part_positions=FEW_POSITIONS)
    restored = filled(9)
    assert refresh(restored, tmp_path, part_positions=FEW_POSITIONS, backwards=False).rebuilt
    assert files_of(tmp_path) == rebuilt(restored, tmp_path / "rebuilt")


@pytest.mark.parametrize(("bound", "new", "rebuilds"), [(3, 3, False), (3, 4, True), (100, 20, False), (100, 21, True)])
def test_many_new_events_are_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, new: int, rebuilds: bool
) -> None:
    """More than a bound, or more than half of all, are read with the rest a piece at a time."""
    monkeypatch.setattr(kept, "MANY_NEW", bound)
    store = filled()
    refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    for number in range(new):
        store.append_many(history(item("b"), cart=cart_id(100 + number)))
    assert refresh(store, tmp_path, part_positions=FEW_POSITIONS).rebuilt == rebuilds


def test_a_rebuild_leaves_nothing_but_the_tables(tmp_path: Path) -> None:
    """What was on its way from batches to parts is gone."""
    refresh(filled(), tmp_path, part_positions=FEW_POSITIONS)
    generation = (tmp_path / ".kept" / "current").resolve()
    assert sorted(path.name for path in generation.iterdir()) == ["carts", "lines", "watermark.json"]


def test_forgetting_a_user_is_followed_by_a_rebuild(tmp_path: Path) -> None:
    """No kept table holds a forgotten user's id."""
    store = filled()
    store.append_many(history(item(), cart=cart_id(99), user="somebody"))
    refresh(store, tmp_path)
    store.forget("somebody")
    assert refresh(store, tmp_path).rebuilt
    assert "somebody" not in pl.read_parquet(tmp_path / "carts.parquet")["user_id"].to_list()


def test_another_store_of_the_same_length_is_not_gone_on_from(tmp_path: Path) -> None:
    """The watermark names the last event, so that a store made anew is folded anew."""
    refresh(filled(), tmp_path)
    other = MemoryStore()
    for number in range(30):
        other.append_many(history(item("z"), cart=cart_id(number + 100)))
    assert refresh(other, tmp_path).rebuilt


@pytest.mark.parametrize("damage", ["watermark", "part", "other part", "current"])
def test_what_was_damaged_is_built_again(tmp_path: Path, damage: str) -> None:
    """A torn watermark, a lost part or a link to nothing cost a rebuild and no wrong rows."""
    store = filled()
    refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    generation = (tmp_path / ".kept" / "current").resolve()
    if damage == "watermark":
        (generation / "watermark.json").write_text('{"position": 2')
    elif "part" in damage:
        (generation / "carts" / ("part-00000.parquet" if damage == "part" else "part-00002.parquet")).unlink()
    else:
        shutil.rmtree(generation)
    store.append_many(history(item("b"), cart=cart_id(2), after=1))
    assert refresh(store, tmp_path, part_positions=FEW_POSITIONS).rebuilt
    assert files_of(tmp_path) == rebuilt(store, tmp_path / "rebuilt")


def test_a_crash_before_the_switch_leaves_the_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and watermark are old together or new together, and the next refresh succeeds."""
    store = filled()
    refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    before = files_of(tmp_path)
    store.append_many(history(CheckoutCompleted("o1", 2900), cart=cart_id(2), after=1))
    with monkeypatch.context() as patched:
        patched.setattr(generations, "link", _fail)
        with pytest.raises(OSError, match="no space"):
            refresh(store, tmp_path, part_positions=FEW_POSITIONS)
    assert files_of(tmp_path) == before
    assert not refresh(store, tmp_path, part_positions=FEW_POSITIONS).rebuilt
    assert files_of(tmp_path) == rebuilt(store, tmp_path / "rebuilt")


def _fail(*_: object) -> None:
    raise OSError("no space left")


def test_a_reader_keeps_its_files_over_two_refreshes(tmp_path: Path) -> None:
    """Files that a reader has found stay for the next two refreshes, and older generations go."""
    store = filled()
    refresh(store, tmp_path)
    found = standing(tmp_path)
    for version in range(1, 3):
        store.append_many(history(item("b"), cart=cart_id(2), after=version))
        refresh(store, tmp_path)
    assert all(path.exists() for path in (*found.carts, *found.lines))
    store.append_many(history(item("c"), cart=cart_id(2), after=3))
    refresh(store, tmp_path)
    assert not any(path.exists() for path in found.carts)
    assert len([path for path in (tmp_path / ".kept").iterdir() if path.name[0].isdigit()]) == 3


def test_the_watermark_says_what_the_tables_hold(tmp_path: Path) -> None:
    """It is a small JSON file beside them."""
    store = filled()
    refresh(store, tmp_path)
    told = json.loads((tmp_path / ".kept" / "current" / "watermark.json").read_text())
    last = store.read(cart_id(19))[0].event_id
    assert (told["position"], told["last_event_id"]) == (20, UUID(last).hex)


def test_plain_files_of_the_same_names_give_way(tmp_path: Path) -> None:
    """Where carts.parquet was a file before, it becomes the door to the kept tables."""
    (tmp_path / "carts.parquet").write_bytes(b"old")
    refresh(filled(), tmp_path)
    assert pl.read_parquet(tmp_path / "carts.parquet").height == 20


def test_a_durable_store_is_kept_up_with_over_seals_and_compaction(tmp_path: Path) -> None:
    """Where events lie, in the journal or in segments, makes no difference."""
    with CartStore.open(tmp_path / "store") as store:
        for number in range(12):
            store.append(cart_id(number), [item(), item("b", "EUR" if number % 4 == 0 else "USD")], f"u{number}", 0)
        store.seal()
        refresh(store, tmp_path / "kept", part_positions=FEW_POSITIONS)
        for number in range(0, 12, 2):
            store.append(cart_id(number), [ItemRemoved("a")], f"u{number}", 2)
        store.seal()
        store.append(cart_id(4), [item("c")], "u4", 3)
        store.compact()
        assert not refresh(store, tmp_path / "kept", part_positions=FEW_POSITIONS).rebuilt
        refresh(store, tmp_path / "rebuilt", part_positions=FEW_POSITIONS)
        assert files_of(tmp_path / "kept") == files_of(tmp_path / "rebuilt")
