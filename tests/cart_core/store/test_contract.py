"""What every store promises, numbered as in docs/guarantees.md, on each kind of store."""

from __future__ import annotations

import random
import string
import threading
from datetime import timedelta

import polars as pl
import pyarrow as pa
import pytest

from cart_core import schema
from cart_core.errors import ConcurrencyError, EventIdConflict, InvalidEvent, SourceError, VersionGap
from cart_core.events import Envelope, ItemAdded
from cart_core.projector import CartState, fold
from cart_core.schema import EVENTS
from cart_core.store import CartStore
from cart_core.store.base import Store
from tests.cart_core.store.builders import LIFE, MORE_MUGS, MUG, NO_MUG, POT, START, envelope, life, named, versions

CART = named("cart")


def test_p2_an_append_at_the_expected_version_moves_the_cart_by_its_events(store: Store):
    """Appending two events to a new cart leaves it at version 2."""
    assert store.append(CART, [MUG, POT], user_id="ann", expected_version=0) == 2
    assert versions(store.read(CART)) == [1, 2]


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_p2_an_append_at_another_version_is_refused_with_both_versions(store: Store, expected: int):
    """A stale or a premature expected version writes nothing and says where the cart is."""
    store.append(CART, [MUG], "ann", 0)
    with pytest.raises(ConcurrencyError) as caught:
        store.append(CART, [POT], "ann", expected)
    assert (caught.value.expected, caught.value.actual) == (expected, 1)
    assert store.position() == 1


@pytest.mark.parametrize("expected", [-1, 1.0, True, None, "0"])
def test_p2_an_expected_version_is_a_whole_number(store: Store, expected: object):
    """What is no version is refused by name."""
    with pytest.raises(InvalidEvent, match="expectedVersion"):
        store.append(CART, [MUG], "ann", expected)  # type: ignore[arg-type]


def test_p2_the_version_holds_across_sealing(store: Store):
    """A sealed cart is at the version that it was at."""
    store.append(CART, [MUG, POT], "ann", 0)
    store.seal()
    with pytest.raises(ConcurrencyError):
        store.append(CART, [NO_MUG], "ann", 0)
    assert store.append(CART, [NO_MUG], "ann", 2) == 3
    assert versions(store.read(CART)) == [1, 2, 3]


def test_p2_a_bulk_batch_that_carries_a_live_cart_on_moves_its_head(tmp_path, ticking):
    """A cart with rows in the journal may go on in a segment: no version is given twice, and none is a gap."""
    with CartStore.open(tmp_path / "store", clock=ticking, journal_rows=0) as store:
        store.append(CART, [MUG, POT], "ann", 0)
        store.append_many([envelope("cart", 3, MORE_MUGS)])
        with pytest.raises(ConcurrencyError):
            store.append(CART, [NO_MUG], "ann", 2)
        assert store.heads(schema.to_table([envelope("cart")])["cart_id"].combine_chunks())["version"].to_pylist() == [
            3
        ]
        assert store.append_many([envelope("cart", 4, NO_MUG)]).appended == 1
        assert store.append(CART, [MUG], "ann", 4) == 5
        assert store.cart(CART).version == 5
        assert versions(store.read(CART)) == [1, 2, 3, 4, 5]
        assert store.verify().problems == []


def test_p3_an_append_is_written_whole_or_not_at_all(store: Store):
    """One bad event among good ones keeps all of them out."""
    bad = {
        "type": "ItemAdded",
        "productId": "x",
        "productName": "X",
        "quantity": 0,
        "pricePerUnitCents": 1,
        "currency": "USD",
    }
    with pytest.raises(InvalidEvent, match="quantity is 0"):
        store.append(CART, [MUG, bad], "ann", 0)
    assert (store.position(), store.read(CART)) == (0, [])


def test_p3_a_batch_that_collides_with_itself_leaves_nothing(store: Store):
    """Two events for one version of a cart: none of the batch is written."""
    batch = [*life("a"), envelope("b", 1), envelope("b", 1, POT, event_id=named("other"))]
    with pytest.raises(ConcurrencyError):
        store.append_many(batch)
    assert store.position() == 0


def test_p5_a_retry_gets_the_first_answer_and_writes_nothing(store: Store):
    """The same ids and content again, even after others have written, give the version of then."""
    ids = [named("one"), named("two")]
    assert store.append(CART, [MUG, POT], "ann", 0, event_ids=ids) == 2
    store.append(CART, [NO_MUG], "ann", 2)
    assert store.append(CART, [MUG, POT], "ann", 0, event_ids=ids) == 2
    assert store.position() == 3


def test_p5_a_retry_after_sealing_gets_the_first_answer(store: Store):
    """Sealed events are known by their ids, too."""
    ids = [named("one")]
    store.append(CART, [MUG], "ann", 0, event_ids=ids)
    store.seal()
    assert store.append(CART, [MUG], "ann", 0, event_ids=ids) == 1
    assert store.position() == 1


@pytest.mark.parametrize("sealed", [False, True])
def test_p5_an_id_with_other_content_is_an_error(store: Store, *, sealed: bool):
    """A known id with another event, another cart or another user is refused."""
    store.append(CART, [MUG], "ann", 0, event_ids=[named("one")])
    if sealed:
        store.seal()
    for cart, event, user, version in ((CART, POT, "ann", 1), (named("else"), MUG, "ann", 0), (CART, MUG, "bob", 1)):
        with pytest.raises(EventIdConflict, match=named("one")):
            store.append(cart, [event], user, version, event_ids=[named("one")])
    assert store.position() == 1


def test_p5_importing_again_adds_nothing(store: Store):
    """The second time every row is known, sealed or not."""
    batch = life("a") + life("b")
    assert store.append_many(batch).appended == 10
    store.seal()
    again = store.append_many(batch)
    assert (again.appended, int(again.already_known.sum()), again.position) == (0, 10, 10)


def test_p6_positions_are_gapless_in_the_order_of_commits(store: Store):
    """Every event has the position after the one before it, however it came in."""
    store.append(CART, [MUG, POT], "ann", 0)
    store.append_many(life("b"))
    store.append(CART, [NO_MUG], "ann", 2)
    rows = store.scan().collect().sort("position")
    assert rows["position"].to_list() == list(range(1, 9))
    assert store.position() == 8


def test_p6_versions_given_in_any_order_get_positions_in_their_order(store: Store):
    """A batch with a cart's versions reversed is accepted, and read in order."""
    store.append_many(list(reversed(life("a"))))
    by_position = store.scan(columns=["position", "version"]).collect().sort("position")
    assert by_position["version"].to_list() == [1, 2, 3, 4, 5]


def test_p6_a_reader_that_follows_misses_nothing_and_sees_nothing_twice(store: Store):
    """Reading after the last position seen gives exactly what came since."""
    store.append_many(life("a"))
    seen = store.position()
    store.append(CART, [MUG], "ann", 0)
    store.seal()
    store.append(CART, [POT], "ann", 1)
    assert sorted(store.scan(after=seen).collect()["position"]) == [6, 7]


def test_p7_a_scan_until_a_position_gives_the_same_rows_for_ever(store: Store):
    """Later appends, seals and compactions do not change it."""
    store.append_many(life("a"))
    before = store.scan(until=4).collect().sort("position")
    store.append(CART, [MUG], "ann", 0)
    store.seal()
    store.append_many(life("b"))
    store.seal()
    store.compact()
    assert store.scan(until=4).collect().sort("position").equals(before)


def test_p7_a_cart_can_be_read_as_of_a_version_and_a_moment(store: Store):
    """Bounds are inclusive, and before its first event a cart is empty."""
    store.append_many(life("cart"))
    assert versions(store.read(CART, version=3)) == [1, 2, 3]
    assert versions(store.read(CART, at=START + timedelta(minutes=3))) == [1, 2, 3]
    assert store.cart(CART, version=2) == fold(store.read(CART)[:2])
    assert store.cart(CART, at=START) == CartState.empty(CART)


def test_p7_a_late_event_is_seen_as_of_then_but_not_as_known_then(store: Store):
    """Timestamp says when it happened, recorded_at when the store learnt of it."""
    store.append(CART, [MUG], "ann", 0, timestamp=START)
    known = store.read(CART)[0].recorded_at
    store.append(CART, [MORE_MUGS], "ann", 1, timestamp=START)
    assert versions(store.read(CART, at=START)) == [1, 2]
    assert versions(store.read(CART, known_at=known)) == [1]
    assert versions(store.read(CART, at=START, known_at=known)) == [1]


def test_p7_a_time_without_a_zone_is_refused(store: Store):
    """A moment must say where."""
    with pytest.raises(InvalidEvent, match="RFC 3339"):
        store.read(CART, at=START.replace(tzinfo=None))


def test_p7_recording_never_goes_backwards(store: Store, ticking):
    """A clock that is set back does not put an event before one recorded earlier."""
    store.append(CART, [MUG], "ann", 0)
    ticking.now -= timedelta(hours=5)
    store.append(CART, [POT], "ann", 1)
    recorded = store.scan().collect().sort("position")["recorded_at"].to_list()
    assert recorded == sorted(recorded)


def test_p8_threads_that_race_for_a_version_have_one_winner(store: Store):
    """Sixteen threads, one version: one answer, fifteen conflicts."""
    if type(store).__name__ == "MemoryStore":
        pytest.skip("the store in memory is for one thread")
    answers: list[object] = []
    gate = threading.Barrier(16)

    def race(number: int) -> None:
        gate.wait()
        try:
            answers.append(store.append(CART, [MUG], f"user {number}", 0))
        except ConcurrencyError as error:
            answers.append(error.actual)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 16
    assert store.position() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"userId": ""}, "userId"),
        ({"version": 0}, "version"),
        ({"timestamp": "2026-01-01T00:00:00"}, "timestamp"),
        ({"eventId": "x"}, "eventId"),
        ({"event": {"type": "ItemAdde"}}, "type"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"extra": 1}, "extra"),
    ],
)
def test_p11_a_bad_envelope_is_refused_by_row_and_field(store: Store, change: dict[str, object], field: str):
    """The error names the row, the field and the value; nothing is written."""
    bad = {**envelope("b").to_json(), **change}
    with pytest.raises(InvalidEvent) as caught:
        store.append_many([envelope("a").to_json(), bad])
    assert (caught.value.row, caught.value.field) == (1, field)
    assert store.position() == 0


def test_p11_a_bad_row_of_a_table_is_refused_by_row_and_field(store: Store):
    """The bulk path says the same as the path of single envelopes."""
    rows = schema.to_table(life("a")).to_pylist()
    rows[2]["quantity"] = -1
    table = schema.table_of_rows(
        [{**row, "event_id": row["event_id"].bytes, "cart_id": row["cart_id"].bytes} for row in rows]
    )
    with pytest.raises(InvalidEvent, match="row 2: newQuantity is '-1'"):
        store.append_many(table)
    assert store.position() == 0


def test_p11_a_table_with_other_columns_is_refused(store: Store):
    """An unknown column is named."""
    with pytest.raises(SourceError, match="colour"):
        store.append_many(schema.to_table(life("a")).append_column("colour", pa.array(["red"] * 5)))


def test_p11_a_gap_names_the_missing_version(store: Store):
    """Version 4 without 3 is refused, and 3 named."""
    batch = life("a")
    with pytest.raises(VersionGap) as caught:
        store.append_many([*batch[:2], batch[3]])
    assert (caught.value.missing, caught.value.row, store.position()) == (3, 2, 0)


def test_admit_takes_the_good_rows_and_reports_the_others(store: Store):
    """Each refused row has its reason, and a gap takes all later versions of its cart with it."""
    a, b = life("a"), life("b")
    store.append_many(a[:1])
    taken = envelope("a", 1, POT, event_id=named("again"))
    other = envelope("c", 1, POT, event_id=a[0].event_id)
    admission = store.admit([a[0], a[1], taken, other, b[0], b[2], b[3]])
    assert admission.refused.select(["row", "reason"]).to_pylist() == [
        {"row": 2, "reason": "version_conflict"},
        {"row": 3, "reason": "event_id_conflict"},
        {"row": 5, "reason": "version_gap"},
        {"row": 6, "reason": "version_gap"},
    ]
    assert admission.already_known.tolist() == [True, False, False, False, False, False, False]
    assert (admission.appended, admission.carts, admission.position) == (2, 2, 3)


def test_foreign_histories_are_taken_as_they_are(store: Store):
    """Command rules are for commands: events after checkout and double coupons are accepted."""
    store.append(CART, [*LIFE, *LIFE], "ann", 0)
    assert store.cart(CART) == fold(store.read(CART))


def test_an_unknown_cart_is_the_empty_one(store: Store):
    """Nobody's, active, version 0."""
    assert store.cart(CART) == CartState.empty(CART)
    assert store.read(CART) == []


def test_a_cart_is_the_fold_of_its_events_at_every_step(store: Store):
    """Reading after each append, with a seal in between, gives the fold of what was written."""
    for place, event in enumerate(LIFE):
        store.append(CART, [event], "ann", place)
        assert store.cart(CART) == fold(store.read(CART))
        if place == 2:
            store.seal()


def test_what_is_read_is_what_was_written(store: Store):
    """Ids, times, metadata and events come back exactly, from the journal and from segments."""
    batch = [envelope("a", 1, MUG, metadata={"session": "s", "ß": "ü\n"}), envelope("a", 2, POT, minutes=3)]
    store.append_many(batch)
    journal = store.read(named("a"))
    store.seal()
    assert store.read(named("a")) == journal
    assert [each.to_json() | {"recordedAt": None} for each in journal] == [
        each.to_json() | {"recordedAt": None} for each in batch
    ]


def test_awkward_texts_come_back_as_they_were(store: Store):
    """Tabs, backslashes, line ends, quotes, an escaped null and text that looks like SQL or a placeholder."""
    texts = [
        "\t",
        "\\",
        "\\N",
        "\\.",
        "a\nb\r\n",
        "'; --",
        '"',
        "%s ? $1",
        "\x01\x7f",
        "\u2028\ufeff",
        " ",
        "\U0001f6d2",
    ]
    batch = [
        envelope(f"cart {place}", 1, ItemAdded(text, text, 1, 1, "USD"), user=text, metadata={text: text})
        for place, text in enumerate(texts)
    ]
    store.append_many(batch)
    read = [store.read(each.cart_id)[0] for each in batch]
    assert [(each.user_id, each.event, dict(each.metadata)) for each in read] == [
        (each.user_id, each.event, dict(each.metadata)) for each in batch
    ]
    store.seal()
    assert [store.read(each.cart_id)[0] for each in batch] == read
    assert store.verify().problems == []


def test_the_longest_texts_that_the_rules_allow_are_taken(store: Store):
    """4,096 characters that no compression shortens, as a user's id, a product's id and name, and in metadata."""
    rng = random.Random(1)
    text = "".join(rng.choices("äöü€🛒" + string.ascii_letters + string.digits, k=4_096))
    store.append(CART, [ItemAdded(text, text, 1, 1, "USD")], text, 0, metadata={"text": text[::-1]})
    store.append_many([envelope("other", 1, user=text)])
    assert [each.user_id for each in store.read(CART)] == [text]
    assert sorted(store.carts_of(text)) == sorted([CART, named("other")])
    assert store.forget(text)


def test_metadata_may_be_one_map_for_all_or_one_for_each(store: Store):
    """Both forms reach the events."""
    store.append(CART, [MUG, POT], "ann", 0, metadata={"k": "all"})
    store.append(CART, [NO_MUG, MUG], "ann", 2, metadata=[{"k": "one"}, {}])
    assert [dict(each.metadata) for each in store.read(CART)] == [{"k": "all"}, {"k": "all"}, {"k": "one"}, {}]


def test_batches_hold_every_event_once_with_carts_whole(store: Store):
    """Each cart is in one table, its versions ascending, wherever its events lie, and tables ascend by key."""
    for number in range(20):
        store.append_many(life(f"cart {number}")[:3])
    store.seal()
    for number in range(20):
        store.append_many(life(f"cart {number}"))
    tables = list(store.batches())
    assert all(table.schema.equals(EVENTS) for table in tables)
    seen: dict[str, list[int]] = {}
    for table in tables:
        fresh: dict[str, list[int]] = {}
        for cart, version in zip(table["cart_id"].to_pylist(), table["version"].to_pylist(), strict=True):
            fresh.setdefault(str(cart), []).append(version)
        assert not fresh.keys() & seen.keys()
        seen |= fresh
    assert seen == {named(f"cart {number}"): [1, 2, 3, 4, 5] for number in range(20)}


def test_batches_can_be_cut_to_columns_and_positions(store: Store):
    """Only the columns asked for, only after and until."""
    store.append_many(life("a") + life("b"))
    tables = list(store.batches(["cart_id", "user_id", "version"], after=2, until=7))
    whole = pa.concat_tables(tables)
    assert (whole.column_names, len(whole)) == (["cart_id", "user_id", "version"], 5)


def test_scan_has_the_columns_of_events(store: Store):
    """All of them in order, or the ones asked for."""
    store.append_many(life("a"))
    assert store.scan().collect_schema().names() == EVENTS.names
    assert store.scan(columns=["version", "user_id"]).collect().columns == ["version", "user_id"]
    assert (
        schema.conform(store.scan().drop("position", "recorded_at").collect())
        .drop_columns(["position", "recorded_at"])
        .equals(schema.to_table(life("a")).drop_columns(["position", "recorded_at"]))
    )


def test_heads_and_known_ids_answer_in_the_order_asked(store: Store):
    """0 and False where the store has never seen the id."""
    batch = life("a")
    store.append_many(batch)
    store.seal()
    store.append_many([envelope("b")])
    carts = schema.to_table([envelope("x"), *batch[:1], envelope("b")])["cart_id"].combine_chunks()
    events = schema.to_table([envelope("x"), batch[4], envelope("b")])["event_id"].combine_chunks()
    assert store.heads(carts)["version"].to_pylist() == [0, 5, 1]
    assert store.known_ids(events).tolist() == [False, True, True]
    assert sorted(store.read_many(carts)["version"].to_pylist()) == [1, 1, 2, 3, 4, 5]


def test_carts_of_a_user_come_latest_first(store: Store):
    """Only this user's carts."""
    store.append_many(life("old", "bob") + life("mine") + life("other", "eve"))
    store.seal()
    store.append(named("new"), [MUG], "ann", 0)
    assert store.carts_of("ann") == [named("new"), named("mine")]
    assert store.carts_of("nobody") == []


def test_tables_of_polars_and_arrow_are_taken_alike(store: Store):
    """A Polars frame with binary ids, and one with text ids, are events tables."""
    table = schema.to_table(life("a"))
    assert store.append_many(pl.DataFrame(pl.from_arrow(table))).appended == 5
    text = [str(each) for each in table["cart_id"].to_pylist()]
    ids = [str(each) for each in table["event_id"].to_pylist()]
    again = pl.DataFrame(pl.from_arrow(table)).with_columns(cart_id=pl.Series(text), event_id=pl.Series(ids))
    assert int(store.append_many(again).already_known.sum()) == 5


def test_p12_forgetting_a_user_keeps_totals(store: Store):
    """The id is gone from what is read, everything else stays, and the store verifies."""
    store.append_many(life("a") + life("b", "bob"))
    store.seal()
    store.append(named("a"), [MUG], "ann", 5)
    before = store.cart(named("a"))
    assert store.forget("ann")
    after = store.cart(named("a"))
    assert (after.total_cents, after.version, after.lines) == (before.total_cents, before.version, before.lines)
    assert (after.user_id or "").startswith("forgotten-")
    assert {each.user_id for each in store.read(named("b"))} == {"bob"}
    assert store.verify().ok
    assert not store.forget("ann")


def test_p12_importing_again_does_not_bring_a_forgotten_user_back(store: Store):
    """The events are known by their ids; the user stays forgotten."""
    store.append_many(life("a"))
    store.forget("ann")
    again = store.append_many(life("a"))
    assert again.appended == 0
    assert all(each.user_id.startswith("forgotten-") for each in store.read(named("a")))


def test_p12_a_retry_after_forgetting_gets_the_first_answer(store: Store):
    """The events are known by their ids and their content; the user stays forgotten."""
    store.append(CART, [MUG], "ann", 0, event_ids=[named("one")])
    store.forget("ann")
    assert store.append(CART, [MUG], "ann", 0, event_ids=[named("one")]) == 1
    assert (store.position(), store.read(CART)[0].user_id.startswith("forgotten-")) == (1, True)
    with pytest.raises(EventIdConflict):
        store.append(CART, [POT], "ann", 1, event_ids=[named("one")])


def test_a_group_of_appends_gets_each_its_own_answer(store: Store):
    """A refused append does not harm its neighbours."""
    group = [
        store.prepare(CART, [MUG], "ann", 0),
        store.prepare(CART, [POT], "ann", 0),
        store.prepare(named("b"), [POT], "bob", 0),
        store.prepare(CART, [POT], "ann", 1),
    ]
    first, second, third, fourth = store.append_group(group)
    assert (first, third, fourth) == (1, 1, 2)
    assert isinstance(second, ConcurrencyError)


def test_a_large_group_finds_every_cart_where_it_lies(store: Store):
    """The heads of many carts at once are right, in one segment, over two, in the journal and in both, and for none."""
    heads = dict.fromkeys((named(f"cart {number}") for number in range(60)), 0)
    for first, last in ((0, 30), (20, 40), (10, 50)):
        for cart in list(heads)[first:last]:
            heads[cart] = store.append(cart, [POT], "ann", heads[cart])
        if last < 50:
            store.seal()
    wanted = [head + number % 2 for number, head in enumerate(heads.values())]
    group = [store.prepare(cart, [MUG], "ann", version) for cart, version in zip(heads, wanted, strict=True)]
    answers = store.append_group(group)
    for cart, version, answer in zip(heads, wanted, answers, strict=True):
        if version == heads[cart]:
            assert answer == version + 1
        else:
            assert isinstance(answer, ConcurrencyError)
            assert answer.actual == heads[cart]


def test_events_may_be_given_as_json(store: Store):
    """An event's JSON object is as good as the object."""
    store.append(CART, [MUG.to_json()], "ann", 0)
    assert [each.event for each in store.read(CART)] == [MUG]


def test_an_envelope_needs_a_store_to_be_recorded(store: Store):
    """RecordedAt on input is accepted, and replaced by the store's own clock."""
    given = Envelope.from_json(envelope("a").to_json() | {"recordedAt": "2001-01-01T00:00:00Z"})
    store.append_many([given])
    assert str(store.read(named("a"))[0].recorded_at).startswith("2026")
