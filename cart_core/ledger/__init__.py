"""What makes the store's history provable: canonical JSON, Merkle roots, a chain of sealed batches, inclusion proofs.

Everything can be checked with SHA-256 and JSON alone (``||`` joins bytes, numbers in hashes are 8 bytes big-endian):

- event     canonical JSON (RFC 8785) of {cartId, event: {type, ...}, eventId, metadata (only if not empty),
            timestamp, userKey, version}
- leaf      SHA-256(0x00 || event)
- root      RFC 6962 tree over the leaves of a batch in position order; an inner node is SHA-256(0x01 || left || right)
- recorded  SHA-256 over the runs of equal recordedAt in position order, each run (microseconds since 1970 || rows)
- entry     SHA-256 over the canonical JSON of {batch, firstPosition, previous, recorded, root, rows, sealedAt}, hashes
            in hex, ``previous`` the entry before, 32 zero bytes for the first
- running   of a journal row: SHA-256(running hash before || leaf || position || recordedAt in microseconds)
"""

from cart_core.ledger.canonical import canonical, canonical_json
from cart_core.ledger.chain import GENESIS, SealedBatch, recorded_hash, running_hash
from cart_core.ledger.leaves import leaf_hash, leaf_hashes
from cart_core.ledger.tree import inclusion_path, leaf, merkle_root, root_from_path

__all__ = [
    "GENESIS",
    "SealedBatch",
    "canonical",
    "canonical_json",
    "inclusion_path",
    "leaf",
    "leaf_hash",
    "leaf_hashes",
    "merkle_root",
    "recorded_hash",
    "root_from_path",
    "running_hash",
]
