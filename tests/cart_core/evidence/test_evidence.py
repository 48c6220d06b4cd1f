"""The evidence pack: what it tells, that it proves it, and that no byte of it can be changed unseen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cart_core import evidence
from cart_core.commands import AddItem, ApplyCoupon, Command, CompleteCheckout, RemoveItem, StartCheckout, UpdatePrice
from cart_core.errors import Refused, SourceError
from cart_core.events import ItemAdded
from cart_core.evidence.page import page
from cart_core.evidence.printing import BROWSERS
from cart_core.evidence.story import money
from cart_core.service import Ask, CartService, Redo, Undo, Who
from cart_core.store import CartStore

CART = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
ANN = Who("ann")
SOAP = AddItem("soap", "Soap & <Water>", 2900, 3)
PAID: tuple[Command, ...] = (StartCheckout(), CompleteCheckout("o1", 12_000))


@pytest.fixture
def store(tmp_path: Path, clock: Any) -> CartStore:
    """A store with a disputed cart among others: soap at 2900 became 3900, a coupon was used, 300 too much charged."""
    store = CartStore.open(tmp_path / "store", clock=clock)
    service = CartService(store)
    for what in (SOAP, UpdatePrice("soap", 3900, "supplier"), AddItem("tea", "Tea", 500), RemoveItem("tea")):
        service.ask(Ask(CART, what, ANN))
        service.ask(Ask(OTHER, SOAP, Who("ben")))
        clock.advance(minutes=1)
    store.seal()
    for command in (ApplyCoupon("OFF", "fixed", 0 + 1), *PAID):
        service.ask(Ask(CART, command, ANN))
        clock.advance(minutes=1)
    store.seal()
    return store


@pytest.fixture
def pack(store: CartStore, tmp_path: Path, clock: Any) -> Path:
    """A whole pack on the soap, in a folder."""
    folder = tmp_path / "pack"
    evidence.write_pack(evidence.make_pack(store, store.read(CART), "soap", clock()), folder)
    evidence.write_sums(folder)
    return folder


def test_the_pack_tells_the_dispute(store: CartStore, clock: Any) -> None:
    """What was added when at which price, what changed afterwards, what was charged beside what was shown."""
    document = evidence.make_pack(store, store.read(CART), "soap", clock())
    assert document["sentences"] == [
        "2026-01-01T12:00:00Z: Soap & <Water> was put into the cart at 29.00 USD each (event 1).",
        "2026-01-01T12:01:00Z: the price of Soap & <Water> changed from 29.00 USD to 39.00 USD (supplier) (event 2).",
        "When the order was placed the cart held 3 of it at 39.00 USD each; it was added at 29.00 USD.",
        "2026-01-01T12:06:00Z: order o1 was placed and 120.00 USD charged (event 7).",
        "The total of the cart was 116.99 USD: 3.01 USD more was charged than shown.",
    ]
    assert document["order"] == {
        "orderId": "o1",
        "completedAt": "2026-01-01T12:06:00Z",
        "version": 7,
        "currency": "USD",
        "subtotalCents": 11_700,
        "discountCents": 1,
        "coupons": [{"code": "OFF", "discountType": "fixed", "discountValue": 1}],
        "cartTotalCents": 11_699,
        "chargedTotalCents": 12_000,
        "overchargedCents": 301,
    }
    assert [entry["priceCents"] for entry in document["products"][0]["priceHistory"]] == [2900, 3900]


def test_undo_and_redo_are_told_as_such(store: CartStore) -> None:
    """A line that came back was not offered anew at its first price."""
    service = CartService(store)
    for what in (UpdatePrice("soap", 3900, "supplier"), RemoveItem("soap"), Undo(), Redo()):
        service.ask(Ask(OTHER, what, Who("ben")))
    assert [sentence.partition("Z: ")[2] for sentence in evidence.story(store.read(OTHER), "soap")["sentences"]] == [
        "Soap & <Water> was put into the cart at 29.00 USD each (event 1).",
        "the price of Soap & <Water> changed from 29.00 USD to 39.00 USD (supplier) (event 5).",
        "Soap & <Water> was taken out of the cart; it cost 39.00 USD then (event 6).",
        "the shopper's undo brought Soap & <Water> back into the cart, first added at 29.00 USD each (event 7).",
        "with this undo the price of Soap & <Water> was 39.00 USD again (event 8).",
        "Soap & <Water> was taken out of the cart by the shopper's redo; it cost 39.00 USD then (event 9).",
        "",
    ]


def test_the_pack_names_no_user(store: CartStore, clock: Any, pack: Path) -> None:
    """The bank needs no name; the ledger holds a number."""
    assert '"ann"' not in json.dumps(evidence.make_pack(store, store.read(CART), None, clock()))
    for path in pack.rglob("*.json"):
        assert '"ann"' not in path.read_text()


def test_every_event_is_proved(store: CartStore, clock: Any) -> None:
    """Over both sealed batches, to one head, each in less than 2 kB."""
    document = evidence.make_pack(store, store.read(CART), "soap", clock())
    assert [each["version"] for each in document["events"]] == [1, 2, 3, 4, 5, 6, 7]
    assert all(len(each["proof"]) < 2000 for each in document["events"])
    assert {json.loads(each["proof"])["head"] for each in document["events"]} == {document["ledger"]["head"]}
    assert document["ledger"]["head"] == store.verify().head


def test_a_pack_holds(pack: Path, store: CartStore) -> None:
    """By itself, and under the head that the shop published; under another it does not."""
    head = store.verify().head
    assert evidence.check_pack(pack) == []
    assert evidence.check_pack(pack, head) == []
    assert any("not the published" in problem for problem in evidence.check_pack(pack, "00" * 32))


def test_the_checker_needs_python_alone(pack: Path, store: CartStore) -> None:
    """The file in the pack, run without this package, says that each proof holds."""
    proofs = sorted(str(path) for path in (pack / "proofs").iterdir())
    command = [sys.executable, "-I", "-S", str(pack / "check_proof.py"), store.verify().head, *proofs]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=pack)
    assert (done.returncode, done.stdout.count(": holds\n")) == (0, 7)


def test_the_sums_are_those_that_others_check(pack: Path) -> None:
    """``sha256sum -c`` agrees, where it is installed."""
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("sha256sum is not installed")
    done = subprocess.run([program, "-c", "--quiet", "SHA256SUMS"], cwd=pack, check=False, capture_output=True)
    assert done.returncode == 0


def test_one_changed_byte_anywhere_is_found(pack: Path) -> None:
    """In every file of the pack, at its start, middle and end: the check fails and names the file."""
    for path in [path for path in pack.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        for place in (0, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            problems = evidence.check_pack(pack)
            named = path.name if path.name != "SHA256SUMS" else ""
            assert any(named in problem for problem in problems), (path.name, place, problems)
        path.write_bytes(whole)
    assert evidence.check_pack(pack) == []


def forged(pack: Path, change: Callable[[Any], Any]) -> list[str]:
    """The problems of a pack whose document was changed and whose page and sums were made to fit."""
    document = evidence.read_pack(pack)
    change(document)
    (pack / "evidence.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    (pack / "evidence.html").write_text(page(document))
    evidence.write_sums(pack)
    return evidence.check_pack(pack)


FORGERIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another price": (lambda told: told["events"][1]["event"].update(newPriceCents=2900), "event 2"),
    "another moment": (lambda told: told["events"][0].update(timestamp="2026-01-01T11:00:00Z"), "event 1"),
    "an event left out": (lambda told: told["events"].pop(1), "an event is missing"),
    "the order left out": (lambda told: told["events"].pop(), "order is not what the events say"),
    "another sum": (lambda told: told["order"].update(overchargedCents=0), "order is not what the events say"),
    "a sentence left out": (lambda told: told["sentences"].pop(), "sentences is not what the events say"),
    "a limit left out": (lambda told: told["limits"].pop(), "limits is not what the events say"),
    "sealed earlier": (lambda told: told["events"][0].update(sealedAt="2025-01-01T00:00:00Z"), "sealedAt"),
    "the proof of another": (lambda told: told["events"][0].update(proof=told["events"][1]["proof"]), "event 1"),
    "no proof": (lambda told: told["events"][0].update(proof=None), "event 1: has no proof"),
    "another head": (lambda told: told["ledger"].update(head="00" * 32), "another head"),
    "other instructions": (lambda told: told.update(howToCheck="trust us"), "howToCheck"),
    "no checks at all": (lambda told: told["products"][0].update(priceHistory=[]), "products is not"),
    "another form": (lambda told: told.update(evidence="other/1"), "no evidence pack"),
}


@pytest.mark.parametrize(("change", "place"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_document_is_found(pack: Path, change: Callable[[Any], Any], place: str) -> None:
    """Although its page and sums were made to fit: the sentences are held against the events, those against proofs."""
    assert any(place in problem for problem in forged(pack, change))


def test_files_that_came_or_went_are_found(pack: Path) -> None:
    """A pack is all of its files and no others."""
    (pack / "note.txt").write_text("trust me")
    assert "note.txt: is not one of the pack's files" in evidence.check_pack(pack)
    (pack / "note.txt").unlink()
    (pack / "evidence.html").unlink()
    assert any("evidence.html" in problem for problem in evidence.check_pack(pack))
    shutil.rmtree(pack)
    assert evidence.check_pack(pack)


def test_the_page_shows_all_and_runs_nothing(pack: Path) -> None:
    """Names are escaped, nothing is loaded, the essence is there."""
    text = (pack / "evidence.html").read_text()
    assert "Soap &amp; &lt;Water&gt;" in text
    assert "<Water>" not in text
    for word in ("<script", "http:", "https:", "src="):
        assert word not in text
    for word in ("29.00 USD", "39.00 USD", "120.00 USD", "o1", "check_proof.py"):
        assert word in text


def test_an_order_names_its_cart(store: CartStore, clock: Any) -> None:
    """A chargeback names an order; the pack then tells of every product that the cart ever held."""
    assert evidence.cart_of_order(store, "o1") == CART
    document = evidence.make_pack(store, store.read(CART), None, clock())
    assert [each["productId"] for each in document["products"]] == ["soap", "tea"]
    assert document["products"][1]["inOrder"] is None
    with pytest.raises(Refused, match="no cart"):
        evidence.cart_of_order(store, "o2")


def test_an_order_of_two_carts_names_none(store: CartStore) -> None:
    """It is told, not guessed."""
    service = CartService(store)
    for command in (StartCheckout(), CompleteCheckout("o1", 1)):
        service.ask(Ask(OTHER, command, Who("ben")))
    with pytest.raises(Refused, match="2 carts"):
        evidence.cart_of_order(store, "o1")


def test_there_is_no_evidence_on_nothing(store: CartStore, clock: Any) -> None:
    """An unknown cart or product is refused by name."""
    for history, product, code in (([], "soap", "unknown_cart"), (store.read(CART), "oil", "unknown_product")):
        with pytest.raises(Refused) as caught:
            evidence.make_pack(store, history, product, clock())
        assert caught.value.code == code


def test_unsealed_events_have_no_proof_yet(store: CartStore, clock: Any, tmp_path: Path) -> None:
    """The pack says so, and does not pass as evidence."""
    CartService(store).ask(Ask(OTHER, Undo(), Who("ben")))
    document = evidence.make_pack(store, store.read(OTHER), "soap", clock())
    assert [each["proof"] is None for each in document["events"]] == [False] * 4 + [True]
    evidence.write_pack(document, tmp_path / "other")
    evidence.write_sums(tmp_path / "other")
    assert evidence.check_pack(tmp_path / "other") == [
        "event 5: has no proof, since it was not sealed when the pack was made"
    ]


def test_imported_history_says_what_it_cannot_prove(store: CartStore, clock: Any) -> None:
    """A record that was made long after the fact proves the record, not the fact."""
    cart = "00000000-0000-4000-8000-00000000000c"
    happened = clock.now - timedelta(days=30)
    store.append(cart, [ItemAdded("soap", "Soap", 1, 2900, "USD")], "ann", 0, timestamp=happened)
    store.seal()
    limits = evidence.make_pack(store, store.read(cart), "soap", clock())["limits"]
    assert any("1 of 1 events were recorded more than an hour after they happened" in each for each in limits)
    assert not any("recorded more than an hour" in each for each in evidence.story(store.read(CART))["limits"])


def test_a_pack_is_not_written_over_another(pack: Path) -> None:
    """A folder that holds something is refused."""
    with pytest.raises(Refused) as caught:
        evidence.write_pack(evidence.read_pack(pack), pack)
    assert caught.value.code == "folder_not_empty"
    with pytest.raises(SourceError, match="cannot be read"):
        evidence.read_pack(pack / "proofs")


def test_proofs_outlive_compaction(store: CartStore, pack: Path, clock: Any) -> None:
    """The same proofs are read from rewritten files."""
    before = evidence.read_pack(pack)["events"]
    store.compact()
    after = evidence.make_pack(store, store.read(CART), "soap", clock())["events"]
    assert [each["proof"] for each in after] == [each["proof"] for each in before]


@pytest.mark.parametrize(
    ("cents", "currency", "shown"),
    [
        (2900, "USD", "29.00 USD"),
        (5, "usd", "0.05 USD"),
        (-123_456, "EUR", "-1,234.56 EUR"),
        (2900, "JPY", "2,900 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (None, "USD", "no single amount"),
        (1, None, "no single amount"),
    ],
)
def test_amounts_are_told_in_their_currency(cents: int | None, currency: str | None, shown: str) -> None:
    """Yen have no decimals, dinars three."""
    assert money(cents, currency) == shown


@pytest.mark.browser
def test_the_page_is_printed_where_a_chromium_is(pack: Path) -> None:
    """As one PDF beside it."""
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium is installed")
    printed = evidence.print_pdf(pack / "evidence.html")
    assert printed is not None
    assert printed.read_bytes().startswith(b"%PDF-")


def test_without_a_chromium_there_is_no_pdf(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no error: the page itself can be printed anywhere."""
    monkeypatch.setenv("PATH", "")
    assert evidence.print_pdf(pack / "evidence.html") is None
