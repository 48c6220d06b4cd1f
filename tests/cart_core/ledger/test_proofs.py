import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_core import ledger
from tests.cart_core.ledger.builders import chained, sealed, small_ledger

SIZES = (3, 13, 5)
ENVELOPES, LEAVES, BATCHES = small_ledger(SIZES)
HEAD = ledger.chain_head(BATCHES).hex()


def proof_of(position: int) -> ledger.Proof:
    """The proof of the event at a position of the small ledger."""
    number = next(each.batch for each in BATCHES if each.first_position <= position < each.first_position + each.rows)
    index = position - BATCHES[number - 1].first_position
    event = ledger.canonical(ENVELOPES[position - 1], 7)
    return ledger.prove(event, index, LEAVES[number - 1], BATCHES, number)


def checked_alone(head: str, *files) -> subprocess.CompletedProcess[str]:
    """The standalone checker, run as anybody would: without this package, from nowhere."""
    command = [sys.executable, "-I", str(ledger.CHECKER), head, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)


@pytest.mark.parametrize("position", range(1, sum(SIZES) + 1))
def test_every_event_can_be_proved(position):
    """From its canonical JSON up to the published head."""
    assert ledger.check_proof(proof_of(position).to_json(), HEAD) == []


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.data())
@settings(max_examples=30)
def test_proofs_hold_in_ledgers_of_any_shape(sizes, data):
    """Whatever the number of batches, and of events in each."""
    rng = np.random.default_rng(sum(sizes))
    events = [[b'{"n":%d}' % rng.integers(2**40) for _ in range(size)] for size in sizes]
    leaves = [np.array([np.frombuffer(ledger.leaf(each), np.uint8) for each in part]) for part in events]
    batches = chained(*(sealed(each, 1) for each in leaves))
    number = data.draw(st.integers(1, len(sizes)))
    index = data.draw(st.integers(0, sizes[number - 1] - 1))

    proof = ledger.prove(events[number - 1][index], index, leaves[number - 1], batches, number)

    assert ledger.check_proof(proof.to_json(), ledger.chain_head(batches).hex()) == []


def test_the_standalone_checker_needs_neither_this_package_nor_any_other(tmp_path):
    """Run by itself it accepts what holds, names what does not, and says so by its exit code."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(proof_of(5).to_json() + "\n", encoding="utf-8")
    bad.write_text(proof_of(6).to_json().replace('"version":6', '"version":7'), encoding="utf-8")

    alone, both, elsewhere = checked_alone(HEAD, good), checked_alone("-", good, bad), checked_alone("0" * 64, good)

    assert (alone.returncode, alone.stdout) == (0, f"{good}: holds\n")
    assert both.returncode == 1
    assert both.stdout.splitlines()[1] == f"{bad}: event, index, eventPath: do not lead to batch.root"
    assert (elsewhere.returncode, elsewhere.stdout) == (
        1,
        f"{good}: head: is {HEAD}, not the published {'0' * 64}\n",
    )


def test_the_standalone_checker_imports_nothing_but_hashlib_json_and_sys():
    """And is short enough to be read in a minute."""
    lines = [line for line in ledger.CHECKER.read_text(encoding="utf-8").splitlines() if line.strip()]

    assert [line for line in lines if "import" in line.split()[:1] + line.split()[2:3]] == [
        "import json",
        "import sys",
        "from hashlib import sha256",
    ]
    assert len(lines) <= 70


@pytest.mark.parametrize("position", [2, 7])
def test_no_byte_of_a_proof_can_be_changed(position):
    """Flip any bit of any byte, drop any byte, double any byte: the checker sees it."""
    text = proof_of(position).to_json()
    raw = text.encode()

    for place in range(len(raw)):
        for changed in (bytes([raw[place] ^ 1]), bytes([raw[place] ^ 0x20]), b"", raw[place : place + 1] * 2):
            altered = (raw[:place] + changed + raw[place + 1 :]).decode("utf-8", "replace")
            assert ledger.check_proof(altered), (place, altered)


EVENT, BATCH, FORM = "event, index, eventPath: ", "batch, batchPath, batches: ", "form: "
ABSENT = object()
PATH = proof_of(5).document()["eventPath"]
ALTERATIONS = {
    "quantity": ("event.event.quantity", 3, EVENT),
    "user": ("event.userKey", 8, EVENT),
    "one field more in the event": ("event.more", 1, EVENT),
    "index": ("index", 2, EVENT),
    "index below 0": ("index", -1, EVENT),
    "index beyond the batch": ("index", 13, EVENT),
    "index of another type": ("index", True, EVENT),
    "path cut by a letter": ("eventPath", PATH[:-1], EVENT),
    "path cut by a hash": ("eventPath", PATH[43:], EVENT),
    "path with a hash more": ("eventPath", PATH + "A" * 43, EVENT),
    "path with spare bits": ("eventPath", PATH[:-1] + chr(ord(PATH[-1]) + 1), EVENT),
    "path with another letter": ("eventPath", "!" + PATH[1:], EVENT),
    "no text as path": ("eventPath", None, EVENT),
    "moment of sealing": ("batch.sealedAt", "2026-01-01T11:00:00Z", BATCH),
    "first position": ("batch.firstPosition", 5, BATCH),
    "moments of recording": ("batch.recorded", "00" * 32, BATCH),
    "previous batch": ("batch.previous", "00" * 32, BATCH),
    "one field more in the batch": ("batch.more", 1, BATCH),
    "number of the batch": ("batch.batch", 3, BATCH),
    "rows": ("batch.rows", 14, BATCH),
    "rows missing": ("batch.rows", ABSENT, EVENT),
    "root": ("batch.root", "00" * 32, BATCH),
    "one batch more": ("batches", 4, BATCH),
    "very many batches": ("batches", 10**400, BATCH),
    "no path to the head": ("batchPath", "", BATCH),
    "head": ("head", "00" * 32, BATCH),
    "head missing": ("head", ABSENT, FORM),
    "one field more": ("more", 1, FORM),
    "another form": ("proof", 2, FORM),
}


def altered(place: str, value: object) -> str:
    """The proof of event 5 with another value at a place, as its author would write it."""
    document = proof_of(5).document()
    *outer, last = place.split(".")
    inner = document
    for name in outer:
        inner = inner[name]
    if value is ABSENT:
        del inner[last]
    else:
        inner[last] = value
    return ledger.canonical_json(document).decode()


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_field_is_named(name):
    """Whatever is altered, the problem begins with the place where the sums no longer meet."""
    place, value, named = ALTERATIONS[name]

    problems = ledger.check_proof(altered(place, value))

    assert any(each.startswith(named) for each in problems), problems


def test_the_standalone_checker_names_the_same_places(tmp_path):
    """Run by itself on every altered proof."""
    files = [tmp_path / f"{name}.json" for name in ALTERATIONS]
    for file, (place, value, _) in zip(files, ALTERATIONS.values(), strict=True):
        file.write_text(altered(place, value), encoding="utf-8")

    ran = checked_alone(HEAD, *files)

    assert ran.returncode == 1
    for line, file, (_, _, named) in zip(ran.stdout.splitlines(), files, ALTERATIONS.values(), strict=True):
        assert line.startswith(f"{file}: ")
        assert named in line


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"x"', "[" * 100_000, "\ud800", '{"batch":"\\ud800"}', "NaN"])
def test_what_is_no_proof_is_told_without_a_traceback(text):
    """Any text has an answer."""
    assert ledger.check_proof(text)


def test_an_index_must_be_an_integer():
    """1.0 is the same number, but another text."""
    text = proof_of(5).to_json().replace('"index":1,', '"index":1.0,')

    assert ledger.check_proof(text)[0].startswith(EVENT)


def test_blanks_and_doubled_fields_are_no_proof():
    """One proof has one form, so that two texts never show different things for one hash."""
    text = proof_of(5).to_json()

    assert ledger.check_proof(text.replace(":", ": "))[0].startswith("form: ")
    assert ledger.check_proof(text.replace('"index":', '"index":0,"index":'))[0].startswith("form: ")


@pytest.mark.parametrize(("levels", "batch_levels", "names"), [(26, 0, None), (26, 6, None), (24, 6, bytes(32))])
def test_an_event_among_67_million_is_proved_in_under_2_kb(levels, batch_levels, names):
    """An event of nearly 400 bytes in a ledger of 2**26, in one batch or 64: 26 hashes of path; 24 with new users."""
    event = proof_of(1).event.replace(b'"timestamp"', b'"metadata":{"command_id":"%s"},"timestamp"' % (b"0" * 36))
    path = [ledger.leaf(b"%d" % level) for level in range(levels)]
    rows, count = 2 ** (levels - batch_levels), 2**batch_levels
    root = ledger.root_from_path(ledger.leaf(event), rows - 1, rows, path[batch_levels:])
    batch = ledger.SealedBatch(count, 1, rows, root, bytes([255] * 32), 1_790_000_000_123_456, bytes([255] * 32))
    batch = replace(batch, names=names)
    tree = ledger.root_from_path(ledger.leaf(batch.entry), count - 1, count, path[:batch_levels])
    head = sha256(ledger.canonical_json({"batches": count, "root": tree.hex()})).digest()

    proof = ledger.Proof(event, rows - 1, tuple(path[batch_levels:]), batch, count, tuple(path[:batch_levels]), head)

    assert ledger.check_proof(proof.to_json(), head.hex()) == []
    assert len(event) >= 390
    assert len(proof.to_json().encode()) < 2_000


def test_nobody_is_given_a_wrong_proof():
    """An event that is not at the place, or a batch whose root is another, is refused when the proof is made."""
    event = ledger.canonical(ENVELOPES[0], 7)
    spoilt = [replace(BATCHES[0], root=bytes(32)), *BATCHES[1:]]

    with pytest.raises(ValueError, match="row 1 of batch 1 is not this event"):
        ledger.prove(event, 1, LEAVES[0], BATCHES, 1)
    with pytest.raises(ValueError, match="row 0 of batch 1 is not this event"):
        ledger.prove(event, 0, LEAVES[0], spoilt, 1)


def test_a_proof_is_one_line_of_json_that_shows_the_event():
    """Anybody can read what is proved."""
    shown = json.loads(proof_of(1).to_json())

    assert shown["event"]["event"]["productName"] == 'Mug "XL"\n'
    assert shown["event"]["cartId"] == ENVELOPES[0].cart_id
    assert "\n" not in proof_of(1).to_json()
