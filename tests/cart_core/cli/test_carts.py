"""The commands that change carts, and those about evidence: what they print, write, and refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import polars as pl
import pytest

from cart_core.cli import main
from cart_core.events import CheckoutCompleted, CouponApplied, ItemAdded
from cart_core.store import CartStore

CART = str(uuid5(UUID(int=0), "cart"))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command on a store with one cart of soap and a coupon; exit code, output and errors."""
    with CartStore.open(tmp_path / "store") as store:
        store.append(CART, [ItemAdded("soap", "Soap", 2, 2900, "USD"), CouponApplied("TEN", "fixed", 5)], "ann", 0)

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cart", "--store", str(tmp_path / "store"), *words])
        with pytest.raises(SystemExit) as end:
            main()
            sys.exit(0)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def document(answer: tuple[int, str, str]) -> object:
    """The JSON document that a command printed when it succeeded."""
    assert answer[0] == 0, answer
    return json.loads(answer[1])


def test_undo_and_redo_tell_what_they_did(run: Run) -> None:
    """Type and version, as the HTTP calls do; nothing left to take back is exit 1 and one clear line."""
    assert document(run("undo", CART, "--json")) == {"undone": "CouponApplied", "version": 3}
    assert document(run("redo", CART, "--json")) == {"redone": "CouponApplied", "version": 4}
    assert run("undo", CART)[1] == "undone: CouponApplied; the cart is at version 5\n"
    run("undo", CART)
    code, out, err = run("undo", CART)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no command of the shopper is left" in err


def test_an_unknown_cart_is_refused(run: Run) -> None:
    """Nothing is begun for it."""
    code, _, err = run("undo", str(uuid5(UUID(int=0), "other")))
    assert (code, "holds no cart" in err) == (1, True)


def test_reprice_reaches_open_carts_once(run: Run, tmp_path: Path) -> None:
    """A second run finds nothing to change; a bad row is named."""
    path = tmp_path / "prices.csv"
    path.write_text("product_id,price_cents,currency,reason\nsoap,3900,USD,supplier\n")
    assert document(run("reprice", str(path), "--json")) == {"carts": 1, "events": 1, "passed": 0}
    assert document(run("reprice", str(path), "--json")) == {"carts": 0, "events": 0, "passed": 0}
    path.write_text("product_id,price_cents,currency\nsoap,-1,USD\n")
    code, _, err = run("reprice", str(path))
    assert (code, "row 0: priceCents is -1" in err) == (1, True)


def test_expired_coupons_leave_open_carts_once(run: Run, tmp_path: Path) -> None:
    """By the shop's own table of coupons, as of the moment given."""
    inputs = tmp_path / "store" / "inputs"
    inputs.mkdir()
    pl.DataFrame({"code": ["TEN"], "ends_at": [datetime(2026, 1, 1, tzinfo=UTC)]}).write_parquet(
        inputs / "coupons.parquet"
    )
    before = run("expire-coupons", "--as-of", "2025-12-31T23:59:59Z", "--json")
    assert document(before) == {"carts": 0, "events": 0, "passed": 0}
    after = run("expire-coupons", "--as-of", "2026-01-01T00:00:00Z", "--json")
    assert document(after) == {"carts": 1, "events": 1, "passed": 0}
    assert run("expire-coupons", "--as-of", "2026-01-01T00:00:00Z")[1] == (
        "coupons taken off: 0 in 0 carts; 0 changed meanwhile\n"
    )


def test_evidence_is_packed_and_checked(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cart and product, or by order; every event is proved, and a changed byte ends with 1 and its place."""
    monkeypatch.setenv("PATH", "")
    with CartStore.open(tmp_path / "store") as store:
        store.append(CART, [CheckoutCompleted("o1", 5795)], "ann", 2)
    pack, other = tmp_path / "pack", tmp_path / "other"
    told = document(run("evidence", CART, "soap", "--out", str(pack), "--json"))
    assert isinstance(told, dict)
    assert (told["cartId"], told["events"]) == (CART, 3)
    assert document(run("evidence", "--order", "o1", "--out", str(other), "--json"))
    assert document(run("check-evidence", str(pack), "--head", told["head"], "--json")) == {"ok": True, "problems": []}
    page = pack / "evidence.html"
    page.write_text(page.read_text().replace("29.00", "39.00"))
    code, out, _ = run("check-evidence", str(pack))
    assert (code, "evidence.html" in out) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ["evidence", "--out", "x"],
        ["evidence", CART, "--out", "x"],
        ["evidence", CART, "soap", "--order", "o", "--out", "x"],
    ],
    ids=["nothing", "no product", "both"],
)
def test_evidence_is_on_a_product_or_an_order(run: Run, words: list[str]) -> None:
    """Anything else is wrong usage."""
    assert run(*words)[0] == 2


@pytest.mark.parametrize(
    "words",
    [["evidence", CART, "tea"], ["evidence", "--order", "o9"]],
    ids=["product", "order"],
)
def test_there_is_no_evidence_on_nothing(run: Run, tmp_path: Path, words: list[str]) -> None:
    """Exit 1, and no folder."""
    assert run(*words, "--out", str(tmp_path / "pack"))[0] == 1
    assert not (tmp_path / "pack").exists()
