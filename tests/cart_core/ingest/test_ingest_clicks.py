from __future__ import annotations

import gzip
import json
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core.errors import ConcurrencyError, Refused, SourceError
from cart_core.ingest import import_files
from cart_core.store import CartStore, MemoryStore
from tests.cart_core.importers.clicks import HEADER, OTHER, SESSION, row, write


class Crash(Exception):
    """The process dies."""


@pytest.fixture
def shop(tmp_path):
    """A new store in memory and a folder for it."""
    return Shop(tmp_path)


class Shop:
    """A store, its folder, and imports into it whose counts are checked each time."""

    def __init__(self, folder, store=None):
        self.folder = folder
        self.store = store or MemoryStore()

    def take(self, *rows, name="oct.csv", **options):
        """Import rows as one file."""
        return self.take_files(write(self.folder / name, *rows), **options)

    def take_files(self, *files, source="rees46", **options):
        """Import files; every row is accounted for."""
        report = import_files(self.store, source, files, folder=self.folder / "shop", **options).to_json()
        told = report["event_rows"] + report["already_known"] + report["views"] + sum(report["set_aside"].values())
        assert report["rows"] == told
        return report

    def events(self, cart=SESSION):
        """A cart's events in short: type, and the values that matter."""
        return [tuple(each.event.to_json().values()) for each in self.store.read(cart)]

    def views(self):
        """The views kept beside the store."""
        return pl.read_parquet(self.folder / "shop" / "views" / "*.parquet")


def test_a_cart_row_adds_and_a_second_one_raises_the_quantity(shop):
    """A cart row for a product that is there already is one more of it."""
    report = shop.take(row(0, "cart", "p"), row(1, "cart", "p"))
    assert (report["event_rows"], report["events"], report["carts"]) == (2, 2, 1)
    assert shop.events() == [("ItemAdded", "p", "p", 1, 500, "USD"), ("QuantityChanged", "p", 1, 2)]


def test_a_remove_row_takes_one_away_and_the_last_one_the_line(shop):
    """Two in the cart, two removes: one fewer, then none."""
    shop.take(
        row(0, "cart", "p"), row(1, "cart", "p"), row(2, "remove_from_cart", "p"), row(3, "remove_from_cart", "p")
    )
    assert shop.events()[2:] == [("QuantityChanged", "p", 2, 1), ("ItemRemoved", "p")]


def test_another_price_of_a_product_in_the_cart_is_a_price_update(shop):
    """The price change is inferred, and belongs to the same command as the quantity."""
    report = shop.take(row(0, "cart", "p", "5.00"), row(1, "cart", "p", "0.29"))
    assert (report["event_rows"], report["events"]) == (2, 3)
    assert shop.events()[1:] == [("QuantityChanged", "p", 1, 2), ("PriceUpdated", "p", 500, 29, "inferred")]
    _, changed, priced = shop.store.read(SESSION)
    assert changed.metadata["command_id"] == priced.metadata["command_id"] == changed.event_id


def test_purchases_of_one_session_and_second_are_one_checkout_with_their_sum(shop):
    """However other rows lie between them, they are one order."""
    report = shop.take(
        row(0, "cart", "p", "5.00"),
        row(0, "cart", "q", "2.50"),
        row(9, "purchase", "p", "5.00"),
        row(9, "cart", "x", "1.00", OTHER),
        row(9, "purchase", "q", "2.50"),
    )
    assert (report["event_rows"], report["events"]) == (5, 4)
    state = shop.store.cart(SESSION)
    assert (state.status, state.charged_total_cents, state.total_cents) == ("checked_out", 750, 750)


def test_activity_after_a_checkout_opens_a_new_cart(shop):
    """The next cart of a session has a derived id, and the first stays as it was."""
    report = shop.take(row(0, "cart", "p"), row(1, "purchase", "p"), row(2, "cart", "q"))
    assert report["carts"] == 2
    assert shop.store.cart(SESSION).version == 2
    (later,) = {str(each) for each in shop.store.carts_of("u1")} - {SESSION}
    assert UUID(later).version == 5
    assert shop.events(later) == [("ItemAdded", "q", "q", 1, 500, "USD")]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        pytest.param([row(0, "remove_from_cart", "p")], "remove_without_add", id="remove"),
        pytest.param([row(0, "purchase", "p"), row(0, "purchase", "q")], "purchase_without_add", id="purchase"),
        pytest.param([row(0, "cart", "p", "0.00")], "bad_price", id="zero price"),
        pytest.param([row(0, "cart", "p", "-79.37")], "bad_price", id="negative price"),
        pytest.param([row(0, "cart", "p", "1.005")], "bad_price", id="half a cent"),
        pytest.param([row(0, "wish", "p")], "unknown_type", id="type"),
        pytest.param([row(0, "cart", "p", session="")], "no_session", id="no session"),
        pytest.param([row(0, "cart", "p", user="")], "bad_user", id="no user"),
        pytest.param([row(0, "cart", "")], "missing_field", id="no product"),
        pytest.param([row(0, "cart", "p").replace(" UTC", "")], "bad_time", id="no zone"),
        pytest.param([row(0, "cart", "p") + ",more"], "wrong_columns", id="too many values"),
    ],
)
def test_a_row_that_makes_no_event_is_set_aside_by_name(shop, rows, reason):
    """The reason is counted and stands in the file with the row's number."""
    report = shop.take(*rows)
    assert (report["events"], report["set_aside"]) == (0, {reason: len(rows)})
    kept = (shop.folder / "shop" / "set_aside" / "oct.csv.jsonl").read_text().splitlines()
    assert [(json.loads(line)["row"], json.loads(line)["reason"]) for line in kept] == [
        (number, reason) for number in range(2, 2 + len(rows))
    ]


def test_exact_duplicates_are_dropped_and_counted_or_kept(shop, tmp_path_factory):
    """The policy decides, and neither way is silent."""
    rows = [row(0, "cart", "p"), row(0, "cart", "p"), row(1, "view", "q"), row(1, "view", "q")]
    assert shop.take(*rows)["set_aside"] == {"duplicate": 2}
    kept = Shop(tmp_path_factory.mktemp("kept"))
    report = kept.take(*rows, duplicates="keep")
    assert (report["set_aside"], report["events"], report["views"]) == ({}, 2, 2)
    assert kept.take(*rows, duplicates="keep")["already_known"] == 4


def test_views_are_kept_once_beside_the_store(shop):
    """A view is no event, and the same view never stands twice, whatever its price."""
    rows = [row(0, "view", "p", "0.00"), row(1, "view", "q", session="")]
    assert shop.take(*rows)["views"] == 2
    assert shop.take(*rows, row(2, "view", "r"), name="more.csv") | {"rows": 3} == {
        "rows": 3,
        "event_rows": 0,
        "events": 0,
        "carts": 0,
        "already_known": 2,
        "views": 1,
        "set_aside": {},
    }
    assert shop.views().sort("at").select("product_id", "session").rows() == [
        ("p", SESSION),
        ("q", None),
        ("r", SESSION),
    ]


def test_a_row_is_the_same_row_in_any_spelling(shop):
    """Another time form, more zeros, another order of columns or compression add nothing."""
    shop.take(row(0, "cart", "p", "5.20"))
    path = shop.folder / "again.csv.gz"
    header = "user_session,user_id,price,product_id,event_type,event_time"
    path.write_bytes(gzip.compress(f'{header}\r\n{SESSION},u1,5.2,"p",cart,1569888000000\r\n'.encode()))
    assert shop.take_files(str(path))["already_known"] == 1


def test_a_remove_set_aside_once_stays_so_when_the_product_is_there_later(shop, tmp_path):
    """The same file adds nothing later either, although its cart is another by then."""
    rows = [row(0, "remove_from_cart", "p"), row(1, "cart", "p"), row(2, "cart", "p")]
    shop.take(*rows)
    report = shop.take(*rows, set_aside=tmp_path / "elsewhere.jsonl")
    assert (report["events"], report["set_aside"], report["already_known"]) == (0, {"remove_without_add": 1}, 2)


def test_a_purchase_that_a_file_cuts_is_made_whole_by_the_next(shop):
    """Late rows of an order correct its total; they neither vanish nor open a cart."""
    shop.take(row(0, "cart", "p"), row(9, "purchase", "p", "5.00"))
    report = shop.take(row(9, "purchase", "p", "5.00"), row(9, "purchase", "q", "2.50"), name="nov.csv")
    assert (report["events"], report["already_known"]) == (1, 1)
    assert shop.store.cart(SESSION).charged_total_cents == 750
    assert shop.take(row(9, "purchase", "q", "2.50"), name="dec.csv")["events"] == 0


def test_a_second_month_continues_the_carts_of_the_first(shop):
    """What the store holds is what the next file's rows act upon."""
    shop.take(row(0, "cart", "p"), row(1, "cart", "p"))
    shop.take(row(60, "remove_from_cart", "p"), row(61, "purchase", "p"), name="nov.csv")
    assert shop.events()[2:] == [("QuantityChanged", "p", 2, 1), ("CheckoutCompleted", shop.events()[3][1], 500)]


def test_rows_older_than_a_carts_head_are_appended_at_the_head(shop):
    """Time may go backwards along versions; nothing that stands is moved."""
    shop.take(row(60, "cart", "p"))
    shop.take(row(0, "cart", "q"), name="sep.csv")
    first, second = shop.store.read(SESSION)
    assert (first.event.product_id, second.event.product_id, first.timestamp > second.timestamp) == ("p", "q", True)


def test_one_user_can_be_one_cart(shop):
    """With the user as key, sessions share a cart; its id tells no session."""
    report = shop.take(row(0, "cart", "p"), row(1, "cart", "p", session=OTHER), cart_key="user")
    (cart,) = shop.store.carts_of("u1")
    assert (report["carts"], cart != SESSION, shop.store.cart(cart).line("p").quantity) == (1, True, 2)


def test_a_last_row_cut_in_the_middle_is_told(shop):
    """A cut session id is no session, and a cut row no row."""
    whole = f"{HEADER}\n{row(0, 'cart', 'p')}\n"
    for length in (20, 50, len(row(1, "cart", "q")) - 7):
        path = shop.folder / f"cut{length}.csv"
        path.write_text(whole + row(1, "cart", "q")[:length])
        assert shop.take_files(str(path))["set_aside"] == {"cut_line": 1}


def test_a_last_row_without_a_line_end_is_whole_where_its_session_is(shop):
    """Many files have no line end at their end."""
    path = shop.folder / "oct.csv"
    path.write_text(f"{HEADER}\n{row(0, 'cart', 'p')}\n{row(1, 'cart', 'q')}")
    assert shop.take_files(str(path))["event_rows"] == 2


def test_a_file_that_is_something_else_is_refused_by_name(shop):
    """The columns that are missing are named, and nothing is written."""
    path = write(shop.folder / "x.csv", "a,b", header="one,two")
    with pytest.raises(SourceError, match="no column event_time, event_type"):
        shop.take_files(path)
    assert shop.store.position() == 0


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"source": "xml"}, "unknown_source"),
        ({"cart_key": "shop"}, "unknown_cart_key"),
        ({"duplicates": "some"}, "unknown_duplicates"),
        ({"currency": "US"}, "bad_currency"),
    ],
)
def test_an_unknown_option_is_refused_by_name(shop, option, code):
    """A typo is not guessed at."""
    with pytest.raises(Refused) as refusal:
        shop.take_files(write(shop.folder / "x.csv"), **option)
    assert refusal.value.code == code


products = st.sampled_from(["p", "q"])
kinds = st.sampled_from(["cart", "cart", "cart", "remove_from_cart", "purchase", "view"])
sessions = st.sampled_from([SESSION, OTHER, "abcdefghij"])
rows_drawn = st.builds(row, st.integers(0, 6), kinds, products, st.sampled_from(["5.00", "4.00"]), sessions)


@settings(max_examples=25)
@given(st.lists(rows_drawn, max_size=14), st.data())
def test_files_that_overlap_in_any_order_add_nothing_twice(tmp_path_factory, rows, data):
    """After slices of a history in any order, importing any of them again adds no event and no view."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), min_size=2, max_size=2)))
    slices = data.draw(st.permutations([rows[: cuts[1]], rows[cuts[0] :], rows]))
    files = [write(shop.folder / f"{place}.csv", *part) for place, part in enumerate(slices)]
    for file in files:
        shop.take_files(file)
    position = shop.store.position()
    for file in data.draw(st.permutations(files)):
        again = shop.take_files(file)
        assert (again["events"], again["views"]) == (0, 0)
    assert shop.store.position() == position
    assert all(line.quantity > 0 for cart in shop.store.carts_of("u1") for line in shop.store.cart(cart).lines)


@settings(max_examples=20)
@given(st.lists(rows_drawn, max_size=14), st.integers(0, 14), st.booleans())
def test_how_rows_are_divided_into_files_of_one_call_changes_nothing(tmp_path_factory, rows, cut, backwards):
    """One file, or two in either order, give the same events in the same carts."""
    rows = sorted(dict.fromkeys(rows), key=lambda each: each[:19])
    one, two = Shop(tmp_path_factory.mktemp("one")), Shop(tmp_path_factory.mktemp("two"))
    one.take(*rows)
    place = next((at for at in range(cut, len(rows)) if at == 0 or rows[at][:19] != rows[at - 1][:19]), len(rows))
    files = [write(two.folder / "a.csv", *rows[:place]), write(two.folder / "b.csv", *rows[place:])]
    two.take_files(*(reversed(files) if backwards else files))
    carts = one.store.carts_of("u1")
    assert sorted(carts) == sorted(two.store.carts_of("u1"))
    assert all(one.events(cart) == two.events(cart) for cart in carts)


def test_an_import_cut_short_is_completed_by_the_next_to_the_same_result(tmp_path, monkeypatch):
    """A crash between chunks leaves whole carts; importing again gives what an unbroken import gives."""
    monkeypatch.setattr("cart_core.importers.spill.MEMORY_BYTES", 0)
    sessions_ = [f"{number:08x}-1111-4111-8111-111111111111" for number in range(40)]
    rows = [
        row(at, kind, "p", session=each)
        for each in sessions_
        for at, kind in ((0, "cart"), (1, "cart"), (2, "purchase"))
    ]
    whole, broken = Shop(tmp_path / "a"), Shop(tmp_path / "b", _Dying(after=3))
    for shop in (whole, broken):
        shop.folder.mkdir()
    whole.take(*rows)
    with pytest.raises(Crash):
        broken.take(*rows)
    assert 0 < broken.store.position() < whole.store.position()
    report = broken.take(*rows)
    assert report["events"] + report["already_known"] > 0
    assert [broken.events(each) for each in sessions_] == [whole.events(each) for each in sessions_]


def test_somebody_who_writes_to_the_same_cart_meanwhile_is_respected(shop):
    """A conflict is decided again on the cart's new state."""
    shop.store = _Contested(SESSION)
    report = shop.take(row(0, "cart", "p"))
    assert report["events"] == 1
    assert [each.version for each in shop.store.read(SESSION)] == [1, 2]


def test_real_months_of_cosmetics_come_in_whole_and_once(tmp_path, shared_data):
    """Three real slices, in the order that a shell lists them: counts add up, and the second import adds nothing."""
    files = sorted(str(path) for path in (shared_data / "rees46_cosmetics").glob("*.csv"))
    with CartStore.open(tmp_path / "store") as store:
        shop = Shop(tmp_path, store)
        first = shop.take_files(*files)
        assert first["set_aside"] == {"duplicate": 146, "purchase_without_add": 37, "remove_without_add": 383}
        assert (first["rows"], first["views"], store.position()) == (2997, 1252, first["events"])
        again = shop.take_files(*files)
        assert (again["events"], again["views"], again["set_aside"]) == (0, 0, first["set_aside"])
        carts = store.scan().select(pl.col("cart_id").unique()).collect()["cart_id"].to_list()
        states = [store.cart(UUID(bytes=cart)) for cart in carts]
        assert len(states) == first["carts"]
        assert all(line.quantity > 0 and line.price_cents > 0 for state in states for line in state.lines)


@pytest.mark.parametrize(
    ("source", "folder", "rows", "set_aside"),
    [
        ("rees46", "rees46_multicategory", 5019, {"duplicate": 3, "purchase_without_add": 42}),
        ("retailrocket", "retailrocket", 5169, {"duplicate": 3, "purchase_without_add": 12}),
    ],
)
def test_real_slices_of_other_shops_come_in_whole_and_once(tmp_path, shared_data, source, folder, rows, set_aside):
    """The multi-category store and the sessionised sample: counts add up, and the second import adds nothing."""
    files = [str(path) for path in (shared_data / folder).iterdir()]
    with CartStore.open(tmp_path / "store") as store:
        shop = Shop(tmp_path, store)
        first = shop.take_files(*files, source=source)
        assert (first["rows"], first["set_aside"]) == (rows, set_aside)
        assert shop.take_files(*files, source=source)["already_known"] == rows - sum(set_aside.values())


class _Dying(MemoryStore):
    """A store whose process dies at a bulk append, once."""

    def __init__(self, after):
        super().__init__()
        self._left = after

    def append_many(self, events):
        self._left -= 1
        if self._left == 0:
            raise Crash
        return super().append_many(events)


class _Contested(MemoryStore):
    """A store in which somebody else writes to a cart just before the first bulk append."""

    def __init__(self, cart):
        super().__init__()
        self._cart = cart

    def append_many(self, events):
        if self._cart is not None:
            cart, self._cart = self._cart, None
            self.append(cart, [{"type": "CheckoutStarted"}], "u1", 0)
            with pytest.raises(ConcurrencyError):
                super().append_many(events)
        return super().append_many(events)
