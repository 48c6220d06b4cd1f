from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import ledger
from cart_core.audit.check_audit import root

# The test vectors of certificate-transparency, the reference implementation of RFC 6962.
DATA = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
DATA.append(bytes(range(0x60, 0x70)))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (1, 8): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

trees = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


def by_definition(leaves):
    """The root as RFC 6962, section 2.1 words it: split at the largest power of two below the number of leaves."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size):
    """The trees over the first 0 to 8 entries of the reference implementation's test."""
    leaves = [ledger.leaf(data) for data in DATA[:size]]

    assert ledger.merkle_root(leaves).hex() == ROOTS[size]


@pytest.mark.parametrize(("place", "path"), PATHS.items())
def test_paths_are_those_of_certificate_transparency(place, path):
    """The inclusion paths of the reference implementation's test; leaves count from 0 here."""
    index, size = place
    leaves = [ledger.leaf(data) for data in DATA[:size]]

    assert [each.hex() for each in ledger.inclusion_path(leaves, index)] == path


@given(trees)
def test_the_root_is_the_recursive_one(leaves):
    """Building level by level gives the tree that RFC 6962 defines from the top."""
    assert ledger.merkle_root(leaves) == by_definition(leaves)


@pytest.mark.parametrize("count", [100_000, 100_001, 131_073])
def test_a_large_tree_has_the_root_that_a_small_one_would_have(count):
    """The compiled levels of a large tree hash as hashlib does."""
    leaves = np.random.default_rng(count).integers(0, 256, (count, 32), np.uint8)

    assert ledger.merkle_root(leaves) == by_definition([each.tobytes() for each in leaves])


@given(trees, st.data())
def test_the_path_of_every_leaf_leads_to_the_root(leaves, data):
    """And it is no longer than the tree is high."""
    index = data.draw(st.integers(0, len(leaves) - 1))

    path = ledger.inclusion_path(leaves, index)

    assert ledger.root_from_path(leaves[index], index, len(leaves), path) == ledger.merkle_root(leaves)
    assert len(path) <= (len(leaves) - 1).bit_length()


@given(trees, st.data())
def test_another_leaf_or_path_misses_the_root(leaves, data):
    """Whichever of the hashes is another."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = ledger.inclusion_path(leaves, index)
    root = ledger.merkle_root(leaves)
    flipped = data.draw(st.integers(0, len(path)))
    wrong = [leaves[index], *path]
    wrong[flipped] = ledger.leaf(wrong[flipped])

    assert ledger.root_from_path(wrong[0], index, len(leaves), wrong[1:]) != root


@given(trees, st.data())
def test_a_path_of_another_length_is_refused(leaves, data):
    """Nobody can hang a tree below a leaf or cut one off."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = ledger.inclusion_path(leaves, index)

    with pytest.raises(ValueError, match="1 too many"):
        ledger.root_from_path(leaves[index], index, len(leaves), [*path, bytes(32)])
    if path:
        with pytest.raises(ValueError, match="too few"):
            ledger.root_from_path(leaves[index], index, len(leaves), path[:-1])


def test_a_leaf_that_is_not_there_has_no_path():
    """An index outside of the tree is refused when a path is made and when it is followed."""
    with pytest.raises(IndexError, match="leaf 1 of a tree of 1"):
        ledger.inclusion_path([bytes(32)], 1)
    with pytest.raises(ValueError, match="leaf -1 of a tree of 1"):
        ledger.root_from_path(bytes(32), -1, 1, [])


@given(trees, st.data())
def test_some_leaves_and_the_hashes_beside_them_give_the_root(leaves, data):
    """Whichever are chosen, none of the others' leaves is needed, and no hash stands where a chosen leaf does."""
    chosen = data.draw(st.lists(st.booleans(), min_size=len(leaves), max_size=len(leaves)).filter(any))
    beside = ledger.hashes_beside(leaves, np.array(chosen))
    others = {str(depth): {str(place): each.hex() for place, each in row.items()} for depth, row in beside.items()}
    known = {place: leaf for place, leaf in enumerate(leaves) if chosen[place]}
    assert root(len(leaves), known, others) == by_definition(leaves).hex()
    if sum(chosen) == 1:
        path = [each for row in beside.values() for each in row.values()]
        assert path == ledger.inclusion_path(leaves, chosen.index(True))


def test_no_chosen_leaf_needs_no_hash():
    """There is nothing to lead to the root."""
    assert not any(ledger.hashes_beside([bytes(32)] * 5, np.zeros(5, bool)).values())


@given(trees)
def test_a_hash_in_place_of_a_chosen_leaf_is_refused(leaves):
    """Nobody can put a hash where an event stands."""
    with pytest.raises(ValueError, match="where an event does"):
        root(len(leaves), dict(enumerate(leaves)), {"0": {"0": "00" * 32}})
