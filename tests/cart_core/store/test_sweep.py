"""One pass over a store: every event once, carts whole, however the pieces are cut."""

import itertools
from pathlib import Path

import pyarrow as pa
import pytest

from cart_core import schema
from cart_core.events import CheckoutStarted, ItemAdded
from cart_core.store import CartStore
from cart_core.store.reading import sweep
from tests.builders import cart_id, history

CARTS = 40


@pytest.fixture
def store(tmp_path: Path) -> CartStore:
    """A store of 40 carts, each with an event in one segment, one in another, and the last in the journal."""
    opened = CartStore.open(tmp_path / "store")
    item = ItemAdded("a", "the a", 1, 100, "USD")
    for after in range(2):
        opened.append_many(
            [each for number in range(CARTS) for each in history(item, cart=cart_id(number * 7919), after=after)]
        )
        opened.seal()
    for number in range(CARTS):
        opened.append(cart_id(number * 7919), [CheckoutStarted()], f"u{number}", 2)
    return opened


@pytest.mark.parametrize("piece_rows", [1, 7, 50, 1_000])
def test_every_piece_holds_its_carts_whole_and_pieces_ascend(
    store: CartStore, piece_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the pieces, each event comes once, with its cart's others, in version order."""
    monkeypatch.setattr(sweep, "PIECE_ROWS", piece_rows)
    pieces = list(store.batches(["cart_id", "version", "position"]))
    carts = [{str(each) for each in piece["cart_id"].to_pylist()} for piece in pieces]
    assert not any(one & other for one, other in itertools.combinations(carts, 2))
    assert sorted(pa.concat_tables(pieces)["position"].to_pylist()) == list(range(1, 3 * CARTS + 1))
    for piece in pieces:
        for cart in set(piece["cart_id"].to_pylist()):
            mine = [row["version"] for row in piece.to_pylist() if row["cart_id"] == cart]
            assert mine == [1, 2, 3]
    spans = [schema.cart_keys(schema.id_bytes(piece["cart_id"])) for piece in pieces if len(piece)]
    assert all(one.max() < other.min() for one, other in itertools.pairwise(spans))


@pytest.mark.parametrize("piece_rows", [7, 1_000])
def test_encoded_columns_hold_the_same_texts(
    store: CartStore, piece_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dictionaries are another form of the same column, for sealed events, the journal and forgotten users alike."""
    monkeypatch.setattr(sweep, "PIECE_ROWS", piece_rows)
    store.forget("u7")
    names = ["event_id", "type", "user_id", "product_id"]
    plain = [row for piece in store.batches(names) for row in piece.to_pylist()]
    encoded = list(store.batches(names, encoded=["type", "user_id"]))
    assert [row for piece in encoded for row in piece.to_pylist()] == plain
    assert all(pa.types.is_dictionary(piece.schema.field("type").type) for piece in encoded)
    assert all(pa.types.is_dictionary(piece.schema.field("user_id").type) for piece in encoded)
    assert sum(row["user_id"].startswith("forgotten-") for row in plain) == 1


@pytest.mark.parametrize("piece_rows", [7, 1_000])
@pytest.mark.parametrize("shares", [1, 2, 8, 64])
def test_shares_together_are_the_whole(
    store: CartStore, piece_rows: int, shares: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that read a share each see every event once."""
    monkeypatch.setattr(sweep, "PIECE_ROWS", piece_rows)
    whole = pa.concat_tables(list(store.batches(["position"])))["position"].to_pylist()
    parts = [pa.concat_tables(list(store.batches(["position"], share=(number, shares)))) for number in range(shares)]
    assert sorted(pa.concat_tables(parts)["position"].to_pylist()) == sorted(whole)


def test_an_empty_store_gives_no_events(tmp_path: Path) -> None:
    """There is one empty piece, with the columns asked for."""
    with CartStore.open(tmp_path / "store") as empty:
        assert [(len(piece), piece.column_names) for piece in empty.batches(["version"])] == [(0, ["version"])]
