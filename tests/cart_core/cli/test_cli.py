"""The ``cart`` command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cart_core.cli import main
from cart_core.projector import fold
from cart_core.store import CartStore
from tests.cart_core.store.builders import life, named

CART = named("cart")


@pytest.fixture
def cart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A function that runs the command on a store with one cart, and gives exit code, output and errors."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("cart"))

    def run(*words: str, store: str = "store") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cart", "--store", str(tmp_path / store), *words])
        code = ended(main)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def ended(command: Callable[[], None]) -> int:
    """The exit code of a command."""
    try:
        command()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_show_prints_the_fold_as_one_json_document(cart, tmp_path: Path):
    """Exactly what the library says, and nothing else on standard output."""
    code, out, err = cart("show", CART, "--json")
    with CartStore.open(tmp_path / "store") as store:
        expected = fold(store.read(CART)).to_json()
    assert (code, json.loads(out), err) == (0, expected, "")


def test_show_can_go_back_to_a_version_and_a_moment(cart):
    """Bounds are inclusive."""
    assert json.loads(cart("show", CART, "--version", "2", "--json")[1])["version"] == 2
    assert json.loads(cart("show", CART, "--at", "2026-01-01T00:03:00Z", "--json")[1])["version"] == 3
    assert json.loads(cart("show", CART, "--known-at", "2001-01-01T00:00:00Z", "--json")[1])["version"] == 0


def test_history_lists_envelopes(cart, tmp_path: Path):
    """Each with its recorded moment."""
    with CartStore.open(tmp_path / "store") as store:
        expected = [each.to_json() for each in store.read(CART)]
    assert json.loads(cart("history", CART, "--json")[1]) == expected


def test_price_history_names_each_price(cart):
    """From adding to removing."""
    shown = json.loads(cart("price-history", CART, "mug", "--json")[1])
    assert shown["productId"] == "mug"
    assert shown["priceHistory"][0]["priceCents"] == 2900


@pytest.mark.parametrize("words", [("show", CART), ("history", CART), ("price-history", CART, "mug"), ("status",)])
def test_people_get_text(cart, words: tuple[str, ...]):
    """Readable without --json."""
    code, out, _ = cart(*words)
    assert code == 0
    assert len(out.splitlines()) >= 3


def test_an_unknown_cart_is_one_clear_line_and_exit_1(cart):
    """Nothing on standard output."""
    code, out, err = cart("show", named("nobody"))
    assert (code, out) == (1, "")
    assert err.startswith("cart: the store at")
    assert named("nobody") in err
    assert err.count("\n") == 1


def test_a_missing_store_is_exit_1_and_is_not_made(cart, tmp_path: Path):
    """Reading makes no folder."""
    code, _, err = cart("status", store="nowhere")
    assert code == 1
    assert "there is no store at" in err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "words", [("show",), ("show", CART, "--at", "yesterday"), ("export", "things", "x.csv"), ("nonsense",)]
)
def test_wrong_usage_is_exit_2(cart, words: tuple[str, ...]):
    """The command says how it is used."""
    code, out, err = cart(*words)
    assert (code, out) == (2, "")
    assert "cart" in err


def test_import_counts_add_up_and_a_second_import_adds_nothing(cart, tmp_path: Path):
    """The document has the fields that scripts rely on."""
    lines = [json.dumps(each.to_json()) for each in life("imported")]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, "{broken", ""]))
    first = json.loads(cart("import", "jsonl", str(tmp_path / "in.jsonl"), "--json")[1])
    second = json.loads(cart("import", "jsonl", str(tmp_path / "in.jsonl"), "--json")[1])
    assert (first["rows"], first["event_rows"], first["events"], first["carts"]) == (6, 5, 5, 1)
    assert (second["rows"], second["events"], second["already_known"]) == (6, 0, 5)
    for report in (first, second):
        counted = report["event_rows"] + report["already_known"] + report["views"] + sum(report["set_aside"].values())
        assert report["rows"] == counted


def test_seal_compact_and_verify_tell_what_they_did(cart):
    """And verify ends with 0 on a sound store."""
    assert json.loads(cart("seal", "--json")[1]) == {"rows": 5, "files": 1}
    assert json.loads(cart("compact", "--json")[1]) == {"before": 0, "after": 0, "swept": 0}
    code, out, _ = cart("verify", "--json")
    assert (code, json.loads(out)["ok"], json.loads(out)["events"]) == (0, True, 5)


def test_verify_ends_with_1_and_names_the_file(cart, tmp_path: Path):
    """One changed byte in a segment is found."""
    cart("seal")
    segment = next((tmp_path / "store" / "segments").iterdir())
    segment.chmod(0o644)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    code, out, _ = cart("verify")
    assert code == 1
    assert segment.name in out


def test_compact_keeps_replaced_files_for_as_long_as_it_is_told(cart, tmp_path: Path):
    """An hour where nothing is said; with 0 they go at once."""
    cart("seal")
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("other"))
    cart("seal")
    assert json.loads(cart("compact", "--json")[1]) == {"before": 2, "after": 1, "swept": 0}
    assert json.loads(cart("status", "--json")[1])["retired_segments"] == 2
    assert json.loads(cart("compact", "--keep", "0", "--json")[1]) == {"before": 0, "after": 0, "swept": 2}
    assert cart("compact", "--keep", "-1")[0] == 2


def test_seal_anchors_and_verify_holds_the_ledger_to_the_anchors(cart, tmp_path: Path):
    """With a key or without; an anchor that does not fit ends verify with 1."""
    plain, signed, key = (str(tmp_path / name) for name in ("plain", "signed", "key"))
    made = json.loads(cart("new-key", key, "--json")[1])
    assert [Path(made[name]).stat().st_mode & 0o777 for name in ("privateKey", "publicKeyFile")] == [0o600, 0o644]
    assert json.loads(cart("seal", "--anchor", plain, "--json")[1])["anchor"]["position"] == 5
    assert cart("seal", "--anchor", signed, "--key", key)[0] == 0
    assert cart("verify", "--anchor", plain)[0] == 0
    assert cart("verify", "--anchor", signed, "--public-key", f"{key}.pub")[0] == 0
    code, out, _ = cart("verify", "--anchor", plain, "--public-key", f"{key}.pub")
    assert (code, out) == (1, f"wrong: {plain} line 1: anchor.signature: is missing\n")


def test_a_key_is_never_overwritten(cart, tmp_path: Path):
    """Making one in a file that is there is refused."""
    (tmp_path / "key").write_text("mine")
    code, _, err = cart("new-key", str(tmp_path / "key"))
    assert (code, (tmp_path / "key").read_text()) == (1, "mine")
    assert "never overwritten" in err


@pytest.mark.parametrize("words", [("seal", "--key", "k"), ("verify", "--public-key", "k")])
def test_a_key_without_anchors_is_wrong_usage(cart, words: tuple[str, ...]):
    """A key is for anchors alone."""
    assert cart(*words)[0] == 2


def test_audit_seals_first_and_its_pack_is_checked_offline(cart, tmp_path: Path):
    """The document says what the pack holds; a changed byte ends check-audit with 1 and the file's name."""
    folder = tmp_path / "pack"
    period = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--out", str(folder))
    code, out, _ = cart("audit", *period, "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["events"], told["unsealed"], told["by"]) == (0, True, 5, 0, "either")
    assert cart("check-audit", str(folder), "--head", told["head"])[0] == 0
    assert cart("check-audit", str(folder), "--head", "00" * 32)[0] == 1
    (folder / "events.jsonl").write_bytes((folder / "events.jsonl").read_bytes().replace(b"2900", b"2901"))
    code, out, _ = cart("check-audit", str(folder))
    assert (code, out.splitlines()[0]) == (1, "events.jsonl: is not what SHA256SUMS says it was")


def test_audit_can_leave_the_journal_as_it_is(cart, tmp_path: Path):
    """Its events are in the pack, and said to be covered by the running hash alone."""
    period = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--out", str(tmp_path / "pack"))
    told = json.loads(cart("audit", *period, "--no-seal", "--json")[1])
    assert (told["events"], told["unsealed"]) == (5, 5)
    assert cart("check-audit", str(tmp_path / "pack"))[0] == 0


def test_an_audit_of_a_period_that_ends_before_it_begins_is_wrong_usage(cart, tmp_path: Path):
    """And makes no folder."""
    period = ("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z", "--out", str(tmp_path / "pack"))
    assert cart("audit", *period)[0] == 2
    assert not (tmp_path / "pack").exists()


def test_export_and_sql_agree(cart, tmp_path: Path):
    """The same cart in a file and in a query."""
    assert cart("export", "carts", str(tmp_path / "carts.jsonl"))[0] == 0
    exported = json.loads((tmp_path / "carts.jsonl").read_text())
    asked = json.loads(cart("sql", "SELECT cart_id, total_cents FROM carts", "--json")[1])
    assert asked == [{"cart_id": exported["cartId"], "total_cents": exported["totalCents"]}]


def test_forget_leaves_the_user_nowhere(cart, tmp_path: Path):
    """No file under the store holds the id afterwards."""
    assert cart("forget", "ann")[0] == 0
    holding = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and b"ann" in path.read_bytes()]
    assert holding == []


def test_reading_a_cart_loads_no_heavy_library(tmp_path: Path):
    """So that a command that reads starts quickly: counted in modules, not in seconds."""
    with CartStore.open(tmp_path / "store") as store:
        store.append_many(life("cart"))
    code = (
        "import sys; from cart_core.cli import main\n"
        f"sys.argv = ['cart', '--store', {str(tmp_path / 'store')!r}, 'show', {CART!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'polars', 'duckdb', 'numba', 'dagster', 'fastapi', 'scipy', 'altair'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
