import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import ledger
from tests.builders import NOON
from tests.cart_core.ledger.builders import chained, small_ledger

GENESIS = ledger.GENESIS
NOON_US = int(NOON.timestamp()) * 1_000_000


def written(document) -> bytes:
    """Canonical JSON of an object of ASCII text and integers, by json alone."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_the_whole_ledger_can_be_rebuilt_with_sha_256_and_json_alone():
    """As the package's description words it: leaf, root, recorded, entry, head."""
    envelopes, _, batches = small_ledger([2, 1])
    leaves = [sha256(b"\x00" + ledger.canonical(each, 7)).digest() for each in envelopes]
    roots = [sha256(b"\x01" + leaves[0] + leaves[1]).digest(), leaves[2]]
    recorded = [sha256(NOON_US.to_bytes(8, "big") + rows.to_bytes(8, "big")).hexdigest() for rows in (2, 1)]
    entries: list[bytes] = []
    for number, (first, rows) in enumerate([(1, 2), (3, 1)], 1):
        document = {
            "batch": number,
            "firstPosition": first,
            "previous": (entries[-1] if entries else bytes(32)).hex(),
            "recorded": recorded[number - 1],
            "root": roots[number - 1].hex(),
            "rows": rows,
            "sealedAt": "2026-01-01T12:00:00Z",
        }
        entries.append(sha256(written(document)).digest())
    tree = sha256(b"\x01" + b"".join(sha256(b"\x00" + each).digest() for each in entries)).hexdigest()

    assert [each.entry for each in batches] == entries
    assert ledger.chain_head(batches).hex() == sha256(written({"batches": 2, "root": tree})).hexdigest()


def test_a_batch_with_new_users_vouches_for_their_names_under_the_same_entry():
    """Its document has a field more; without new users it is what it was before names were held."""
    batch = small_ledger([1])[2][0]
    names = sha256(b"what holds them").digest()
    held = replace(batch, names=names)
    assert held.document() == batch.document() | {"names": urlsafe_b64encode(names).decode().rstrip("=")}
    assert held.entry == sha256(written(held.document())).digest() != batch.entry


def test_the_running_hash_binds_the_row_before_its_place_and_its_moment():
    """SHA-256(previous || leaf || position || recordedAt in microseconds), numbers in 8 bytes."""
    previous, leaf = bytes(range(32)), bytes(range(32, 64))

    actual = ledger.running_hash(previous, leaf, 5, -1)

    assert actual == sha256(previous + leaf + b"\0\0\0\0\0\0\0\5" + b"\xff" * 8).digest()


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(1, 5)), max_size=8))
def test_moments_of_recording_are_hashed_by_their_runs(runs):
    """Neighbouring runs of one moment are one run."""
    moments = [moment for moment, rows in runs for _ in range(rows)]
    merged: list[list[int]] = []
    for moment in moments:
        if merged and merged[-1][0] == moment:
            merged[-1][1] += 1
        else:
            merged.append([moment, 1])

    actual = ledger.recorded_hash(np.array(moments, np.int64))

    assert actual == sha256(b"".join(each.to_bytes(8, "big", signed=True) for run in merged for each in run)).digest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch", 2),
        ("first_position", 2),
        ("rows", 3),
        ("root", bytes(32)),
        ("recorded", bytes(32)),
        ("sealed_us", NOON_US + 1),
        ("previous", b"\1" * 32),
    ],
)
def test_a_batch_cannot_be_altered_without_altering_its_entry(field, value):
    """Every field of a batch is bound."""
    _, _, (batch,) = small_ledger([2])

    assert replace(batch, **{field: value}).entry != batch.entry


def test_a_sound_chain_has_no_problems():
    """Each batch names the one before; an empty chain is sound."""
    _, _, batches = small_ledger([1, 3, 2])

    assert ledger.chain_problems(batches) == []
    assert ledger.chain_problems([]) == []


ONE, TWO, THREE = small_ledger([1, 3, 2])[2]


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        pytest.param([ONE, THREE], "batch 2 is missing from the chain", id="dropped"),
        pytest.param([TWO, THREE], "batch 1 is missing from the chain", id="first dropped"),
        pytest.param([replace(ONE, rows=7), TWO, THREE], "batch 2 does not follow batch 1", id="first altered"),
        pytest.param([ONE, replace(TWO, root=GENESIS), THREE], "batch 3 does not follow batch 2", id="altered"),
        pytest.param(
            [ONE, replace(THREE, batch=2), replace(TWO, batch=3)], "batch 2 does not follow batch 1", id="swapped"
        ),
    ],
)
def test_a_broken_chain_names_the_first_place(broken, problem):
    """A batch that was dropped, altered or swapped."""
    assert ledger.chain_problems(broken)[0] == problem


def test_the_head_tells_how_many_batches_it_is_over():
    """A head over more, fewer or other batches is another."""
    _, _, batches = small_ledger([1, 2, 3])
    heads = {ledger.chain_head(batches[:count]) for count in range(4)}

    assert len(heads) == 4
    assert ledger.chain_head([batches[0], batches[2], batches[1]]) not in heads


def test_the_sealed_position_stops_before_the_first_gap():
    """Batches may have been sealed out of order; every event up to the position is sealed."""
    _, _, (one, two, three) = small_ledger([1, 2, 3])

    assert ledger.sealed_position([]) == 0
    assert ledger.sealed_position([one, two, three]) == 6
    assert ledger.sealed_position(chained(one, three, two)) == 6
    assert ledger.sealed_position([one, three]) == 1
    assert ledger.sealed_position([three]) == 0
