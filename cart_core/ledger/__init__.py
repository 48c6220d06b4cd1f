"""What makes the store's history provable: canonical JSON, Merkle roots, a chain of sealed batches, proofs, anchors.

Everything can be checked with SHA-256 and JSON alone. ``||`` joins bytes, numbers in hashes are 8 bytes big-endian and
signed, times in them microseconds since 1970, hashes in JSON are hex:

- event     canonical JSON (RFC 8785) of {cartId, event: {type, ...}, eventId, metadata (only if not empty),
            timestamp, userKey, version}: the envelope with ``userKey``, the store's number for a user
- leaf      SHA-256(0x00 || event)
- root      RFC 6962 tree over the leaves of a batch in position order: a node is SHA-256(0x01 || left || right)
- recorded  SHA-256 over the runs of equal recordedAt in position order, each run (time || rows)
- entry     SHA-256 over the canonical JSON of {batch, firstPosition, previous, recorded, root, rows, sealedAt};
            ``batch`` counts from 1, ``previous`` is the entry before, 32 zero bytes before the first; where users are
            new, also ``names`` in base64url: SHA-256(last userKey || a commitment to the name of each user since the
            batch before, in order), each SHA-256(16 random bytes || userKey || name), 32 zero bytes if lost
- head      SHA-256 over the canonical JSON of {batches, root}: how many, and the RFC 6962 root over all entries in
            order, each leaf being SHA-256(0x00 || entry)
- running   of a journal row: SHA-256(the running hash before || leaf || position || recordedAt)

A proof leads from an event to its batch's root and on to the head; an anchor is a head that others keep.
"""

from cart_core.ledger.anchors import anchor, check_anchor, new_private_key, public_key_of, read_public_key
from cart_core.ledger.canonical import canonical, canonical_json, canonical_parts
from cart_core.ledger.chain import (
    GENESIS,
    SealedBatch,
    chain_head,
    chain_problems,
    recorded_hash,
    running_hash,
    sealed_position,
)
from cart_core.ledger.leaves import canonical_rows, leaf_hash, leaf_hashes
from cart_core.ledger.proofs import CHECKER, Proof, check_proof, prove
from cart_core.ledger.tree import hashes_beside, inclusion_path, leaf, merkle_root, root_from_path

__all__ = [
    "CHECKER",
    "GENESIS",
    "Proof",
    "SealedBatch",
    "anchor",
    "canonical",
    "canonical_json",
    "canonical_parts",
    "canonical_rows",
    "chain_head",
    "chain_problems",
    "check_anchor",
    "check_proof",
    "hashes_beside",
    "inclusion_path",
    "leaf",
    "leaf_hash",
    "leaf_hashes",
    "merkle_root",
    "new_private_key",
    "prove",
    "public_key_of",
    "read_public_key",
    "recorded_hash",
    "root_from_path",
    "running_hash",
    "sealed_position",
]
