"""P2, P3, P5, P7, P11 and P12 at the edges of what a call may say, on each kind of store."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cart_core import rules
from cart_core.errors import CartError, ConcurrencyError, EventIdConflict, InvalidEvent, VersionGap
from cart_core.events import Envelope
from cart_core.store import CartStore, MemoryStore
from cart_core.store.base import Store
from tests.cart_core.store.builders import MUG, POT, START, envelope, life, named, versions

CART = named("cart")
ONE, TWO, THREE = (named(f"id {number}") for number in (1, 2, 3))
MANY = 10_000


@pytest.mark.parametrize("expected", [2**31 - 1, 2**31, 2**63, 10**30])
def test_p2_an_expected_version_that_no_cart_can_be_at_is_refused(store: Store, expected: int):
    """By name and value, whatever a database's numbers reach to; nothing is written."""
    with pytest.raises(InvalidEvent, match=f"expectedVersion is {expected}, but must be a whole number"):
        store.append(CART, [MUG], "ann", expected)
    assert store.position() == 0


def test_p2_the_last_expected_version_there_is_is_a_conflict_like_others(store: Store):
    """The cart's own version is told."""
    store.append(CART, [MUG], "ann", 0)
    with pytest.raises(ConcurrencyError) as caught:
        store.append(CART, [MUG], "ann", 2**31 - 2)
    assert (caught.value.expected, caught.value.actual, store.position()) == (2**31 - 2, 1, 1)


@pytest.mark.parametrize("version", [2**31, 2**63])
def test_p11_a_version_that_no_cart_can_reach_is_refused(store: Store, version: int):
    """By field and value, before anything is looked up."""
    with pytest.raises(InvalidEvent, match="version"):
        store.append_many([envelope(version=1).to_json() | {"version": version}])
    assert store.position() == 0


def test_p2_the_highest_version_is_a_gap_where_the_ones_below_are_missing(store: Store):
    """It is a number like another."""
    with pytest.raises(VersionGap):
        store.append_many([envelope(version=2**31 - 1)])


def test_p7_bounds_beyond_the_store_are_as_good_as_none(store: Store):
    """A version, a position or a moment far ahead cuts nothing off; one far behind leaves nothing."""
    store.append_many(life("cart"))
    far = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert versions(store.read(CART, version=10**30, at=far, known_at=far)) == [1, 2, 3, 4, 5]
    assert store.read(CART, at=first) == store.read(CART, known_at=first) == store.read(CART, version=0) == []
    assert store.read(CART, after=10**9) == []
    assert store.scan(after=0, until=2**62, at=far, known_at=far).collect().height == 5
    assert store.scan(after=2**62).collect().height == 0


def test_p3_ten_thousand_events_in_one_append_are_written_whole_or_not_at_all(store: Store):
    """The last one is wrong: nothing; then all of them, in one version step each, and a repeat writes nothing."""
    ids = [named(f"event {number}") for number in range(MANY)]
    with pytest.raises(InvalidEvent):
        store.append(CART, [MUG] * (MANY - 1) + [{"type": "ItemAdded"}], "ann", 0, ids)
    assert (store.position(), store.read(CART)) == (0, [])
    assert store.append(CART, [MUG] * MANY, "ann", 0, ids) == MANY
    assert store.append(CART, [MUG] * MANY, "ann", 0, ids) == MANY
    assert (store.position(), versions(store.read(CART))) == (MANY, list(range(1, MANY + 1)))
    store.seal()
    assert store.append(CART, [MUG] * MANY, "ann", 0, ids) == MANY
    assert (store.append(CART, [POT], "ann", MANY), store.verify().problems) == (MANY + 1, [])


def test_p5_an_append_that_shares_some_ids_with_an_earlier_one_is_refused(store: Store):
    """A retry has the same ids, no more and no fewer than it had, in their order."""
    store.append(CART, [MUG, POT], "ann", 0, [ONE, TWO])
    for events, ids in (([POT, MUG], [TWO, THREE]), ([MUG, POT, MUG], [ONE, TWO, THREE]), ([POT, MUG], [TWO, ONE])):
        with pytest.raises(EventIdConflict):
            store.append(CART, events, "ann", 0, ids)
    assert store.position() == 2


def test_p5_one_append_cannot_give_two_events_one_id(store: Store):
    """Whether they are equal or not; nothing is written."""
    for events in ([MUG, MUG], [MUG, POT]):
        with pytest.raises(CartError):
            store.append(CART, events, "ann", 0, [ONE, ONE])
    assert store.position() == 0


def test_p5_a_group_that_repeats_itself_is_answered_as_if_one_came_after_the_other(store: Store):
    """The second of two equal appends gets the first one's answer; the third has other content and is refused."""
    group = [
        store.prepare(CART, [MUG], "ann", 0, [ONE], START),
        store.prepare(CART, [MUG], "ann", 0, [ONE], START),
        store.prepare(CART, [POT], "ann", 1, [ONE], START),
    ]
    first, second, third = store.append_group(group)
    assert (first, second, type(third), store.position()) == (1, 1, EventIdConflict, 1)


def test_ids_in_upper_case_are_the_same_ids(store: Store):
    """A cart, an event and a retry are found whatever the case of their ids; what is read is in lower case."""
    assert store.append(CART.upper(), [MUG], "ann", 0, [ONE.upper()], START) == 1
    assert store.append(CART, [MUG], "ann", 0, [ONE], START) == 1
    assert store.append(UUID(CART), [POT], "ann", 1) == 2
    (first, second) = store.read(CART.upper())
    assert (first.event_id, first.cart_id, second.cart_id) == (ONE, CART, CART)
    assert (store.carts_of("ann"), store.cart(CART.upper()).cart_id, store.position()) == ([CART], CART, 2)
    raised = [Envelope.from_json(each.to_json() | {"eventId": each.event_id.upper()}) for each in store.read(CART)]
    assert store.append_many(raised).already_known.tolist() == [True, True]


@pytest.mark.parametrize("cart", ["{%s}", "urn:uuid:%s", " %s", "%s\n", "%s0"])
def test_p11_an_id_that_is_written_otherwise_is_refused(store: Store, cart: str):
    """One spelling for one cart: what other programs take for the same is named, and nothing is written."""
    with pytest.raises(InvalidEvent, match="cartId"):
        store.append(cart % CART, [MUG], "ann", 0)
    with pytest.raises(InvalidEvent, match="cartId"):
        store.read(cart % CART)
    with pytest.raises(InvalidEvent, match="eventId"):
        store.append(CART, [MUG], "ann", 0, [cart % ONE])
    assert store.position() == 0


def test_p11_metadata_is_taken_to_its_limits_and_no_further(store: Store):
    """Keys and values of the longest kind, and a thousand of them, come back; one letter more is refused by name."""
    longest = "ü" * rules.TEXT_CHARS
    noted = {longest: longest, "empty": "", "null": "\\u0000"} | {f"k{each}": "v" for each in range(1000)}
    store.append(CART, [MUG], "ann", 0, metadata=noted)
    store.seal()
    assert store.read(CART)[0].metadata == noted
    for metadata in ({longest + "x": "v"}, {"k": longest + "x"}, {"k": 1}, {1: "v"}, {"k": None}, {"k": "\0"}):
        with pytest.raises(InvalidEvent, match="metadata"):
            store.append(CART, [POT], "ann", 1, metadata=metadata)  # type: ignore[arg-type]
    assert (store.position(), store.verify().problems) == (1, [])


@pytest.mark.parametrize(
    "when", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
)
def test_p11_the_first_and_the_last_moment_there_are_come_back(store: Store, when: datetime):
    """Sealed or not, and in another zone's words, too."""
    store.append(CART, [MUG], "ann", 0, timestamp=when)
    assert store.read(CART)[0].timestamp == when
    store.seal()
    assert (store.read(CART, at=when)[0].timestamp, store.verify().problems) == (when, [])


def test_an_append_of_nothing_is_refused_or_changes_nothing(store: Store):
    """Neither a position nor a version comes of no event."""
    store.append(CART, [MUG], "ann", 0)
    with pytest.raises(InvalidEvent):
        store.append(CART, [], "ann", 1)
    assert (store.append_many([]).appended, store.position()) == (0, 1)


def test_users_whose_names_look_alike_are_two(store: Store):
    """Case, accents in one letter or two, and blanks are part of a name, and forgetting one leaves the other."""
    names = ["zoé", "zoe\u0301", "Zoé", "zoé "]
    for number, name in enumerate(names):
        store.append(named(f"cart {number}"), [MUG], name, 0)
    store.seal()
    assert [store.carts_of(name) for name in names] == [[named(f"cart {number}")] for number in range(4)]
    store.forget("zoé")
    told = [store.read(named(f"cart {number}"))[0].user_id for number in range(4)]
    assert (told[0].startswith("forgotten-"), told[1:]) == (True, names[1:])


def test_p12_forgetting_beside_a_running_append_of_the_same_user_loses_nothing(store: Store):
    """Every append is acknowledged or not at all; what came before is forgotten, and all that is read adds up."""
    if isinstance(store, MemoryStore):
        pytest.skip("the store in memory is for one thread")
    errors: list[BaseException] = []

    def shop(cart: str) -> None:
        try:
            for version in range(20):
                store.append(cart, [MUG], "ann", version)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=shop, args=(named(f"cart {number}"),)) for number in range(4)]
    for each in threads:
        each.start()
    for _ in range(5):
        store.forget("ann")
    for each in threads:
        each.join()
    store.forget("ann")
    assert errors == []
    read = [each for number in range(4) for each in store.read(named(f"cart {number}"))]
    assert len(read) == store.position() == 80
    assert all(each.user_id.startswith("forgotten-") for each in read)
    assert (store.carts_of("ann"), store.verify().problems) == ([], [])
    if isinstance(store, CartStore) and (store.path / "catalog.sqlite").exists():
        assert not any(b"\x03ann" in path.read_bytes() for path in store.path.glob("catalog.sqlite*"))


def test_p12_who_was_forgotten_and_comes_back_is_somebody_new(store: Store):
    """Old carts stay nobody's; the new ones are theirs, and forgetting them again works."""
    store.append(named("old"), [MUG], "ann", 0)
    store.forget("ann")
    store.append(named("new"), [MUG], "ann", 0)
    store.append(named("old"), [POT], "ann", 1)
    assert sorted(store.carts_of("ann")) == sorted([named("new"), named("old")])
    (first, second) = store.read(named("old"))
    assert (first.user_id.startswith("forgotten-"), second.user_id) == (True, "ann")
    assert store.forget("ann")
    assert (store.carts_of("ann"), store.forgotten(), store.verify().problems) == ([], 2, [])
    gone = {each.user_id for name in ("old", "new") for each in store.read(named(name))}
    assert len(gone) == 2


def test_p7_known_at_the_very_microsecond_is_known(store: Store):
    """Bounds are inclusive to the last digit, and a microsecond earlier is earlier."""
    store.append(CART, [MUG], "ann", 0)
    recorded = store.read(CART)[0].recorded_at
    assert recorded is not None
    assert len(store.read(CART, known_at=recorded)) == 1
    assert store.read(CART, known_at=recorded - timedelta(microseconds=1)) == []
    assert store.scan(known_at=recorded).collect().height == 1
    assert store.scan(known_at=recorded - timedelta(microseconds=1)).collect().height == 0
