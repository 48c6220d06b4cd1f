"""The chain of sealed batches, the head over all of them, and the running hash of the journal."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import numpy as np

from cart_core import rules
from cart_core.ledger.canonical import canonical_json
from cart_core.ledger.tree import leaf, merkle_root

GENESIS = bytes(32)
"""What the first batch and the first journal row name as the one before."""


def running_hash(previous: bytes, leaf: bytes, position: int, recorded_us: int) -> bytes:
    """The hash up to one journal row: SHA-256(previous || leaf || position || recorded_us), 8 bytes big-endian each."""
    place = position.to_bytes(8, "big", signed=True) + recorded_us.to_bytes(8, "big", signed=True)
    return sha256(previous + leaf + place).digest()


def recorded_hash(recorded_us: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
    """SHA-256 over the runs of equal moments of recording, in position order: moment and rows, 8 bytes big-endian each.

    A batch that was recorded at one moment has one run.
    """
    moments = np.asarray(recorded_us, np.int64)
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(moments), 1), bool), moments[1:] != moments[:-1]]))
    rows = np.diff(starts, append=len(moments))
    return sha256(np.stack([moments[starts], rows], axis=1).astype(">i8").tobytes()).digest()


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """A run of positions that was sealed at once: the root over its leaves, and the entry of the batch before it.

    ``recorded`` is the ``recorded_hash`` of its rows; the first batch is number 1 and names GENESIS as previous.
    Where users are new since the batch before, ``names`` is the hash over what holds their names to them; where none
    are, it is None and no part of the document.
    """

    batch: int
    first_position: int
    rows: int
    root: bytes
    recorded: bytes
    sealed_us: int
    previous: bytes = GENESIS
    names: bytes | None = None

    @property
    def entry(self) -> bytes:
        """The link that the next batch names: SHA-256 over the canonical JSON of the document."""
        return sha256(canonical_json(self.document())).digest()

    def document(self) -> dict[str, Any]:
        """The batch as a JSON object; hashes are in hex, ``names`` in base64url, as proofs have little room."""
        names = {} if self.names is None else {"names": urlsafe_b64encode(self.names).decode().rstrip("=")}
        return names | {
            "batch": self.batch,
            "firstPosition": self.first_position,
            "previous": self.previous.hex(),
            "recorded": self.recorded.hex(),
            "root": self.root.hex(),
            "rows": self.rows,
            "sealedAt": rules.format_time(rules.EPOCH + timedelta(microseconds=self.sealed_us)),
        }


def chain_head(batches: Sequence[SealedBatch]) -> bytes:
    """The one hash that vouches for every batch: SHA-256 over the canonical JSON of {batches, root}.

    ``batches`` are all of them in order; ``root`` is the RFC 6962 root, in hex, over their entries as leaves' data.
    """
    root = merkle_root([leaf(batch.entry) for batch in batches])
    return sha256(canonical_json({"batches": len(batches), "root": root.hex()})).digest()


def chain_problems(batches: Sequence[SealedBatch]) -> list[str]:
    """Which batches are missing from the chain, or do not follow the one before them; empty if it holds."""
    found: list[str] = []
    previous = GENESIS
    for number, batch in enumerate(batches, 1):
        if batch.batch != number:
            return [*found, f"batch {number} is missing from the chain"]
        if batch.previous != previous:
            found.append(f"batch {number} does not follow batch {number - 1}")
        previous = batch.entry
    return found


def sealed_position(batches: Sequence[SealedBatch]) -> int:
    """The position up to which every event is sealed; batches may have been sealed in another order."""
    position = 0
    for batch in sorted(batches, key=lambda batch: batch.first_position):
        if batch.first_position > position + 1:
            break
        position = max(position, batch.first_position + batch.rows - 1)
    return position
