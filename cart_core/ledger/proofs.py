"""Proofs that one event stands in the ledger, which anybody can check offline with ``check_proof.py`` alone."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cart_core.ledger import check_proof as checker
from cart_core.ledger.canonical import canonical_json
from cart_core.ledger.chain import SealedBatch, chain_head
from cart_core.ledger.tree import Hashes, inclusion_path, leaf, root_from_path

FORM = 1
CHECKER = Path(checker.__file__)
"""The standalone checker, to be laid beside the proofs that it checks."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One event's way to the ledger's head: event -> root of its batch -> head over all batches.

    ``event`` is its canonical JSON, ``index`` its place in the batch from 0 (position = first_position + index).
    """

    event: bytes
    index: int
    event_path: tuple[bytes, ...]
    batch: SealedBatch
    batches: int
    batch_path: tuple[bytes, ...]
    head: bytes

    def document(self) -> dict[str, Any]:
        """The proof as a JSON object: hashes in hex, each path as one text of 43 letters of base64url a hash."""
        return {
            "batch": self.batch.document(),
            "batchPath": _joined(self.batch_path),
            "batches": self.batches,
            "event": json.loads(self.event),
            "eventPath": _joined(self.event_path),
            "head": self.head.hex(),
            "index": self.index,
            "proof": FORM,
        }

    def to_json(self) -> str:
        """The proof as canonical JSON: under 2 kB for a usual event among up to 2**26, or 2**24 beside new users."""
        return canonical_json(self.document()).decode()


def prove(event: bytes, index: int, leaves: Hashes, batches: Sequence[SealedBatch], number: int) -> Proof:
    """Prove that the event with this canonical JSON is row ``index`` of batch ``number``.

    ``leaves`` are those of that batch in position order, ``batches`` all of the chain, under whose head the proof is.
    Raises ValueError where the ledger does not hold the event there, so that no wrong proof is ever given away.
    """
    batch = batches[number - 1]
    path = inclusion_path(leaves, index)
    if root_from_path(leaf(event), index, batch.rows, path) != batch.root:
        raise ValueError(f"row {index} of batch {number} is not this event: its path misses the batch's root")
    above = inclusion_path([leaf(each.entry) for each in batches], number - 1)
    return Proof(event, index, tuple(path), batch, len(batches), tuple(above), chain_head(batches))


def check_proof(document: str, head: str | None = None) -> list[str]:
    """What is wrong with a proof's JSON, each naming its place; empty if it holds.

    With ``head`` (hex), as it was published or anchored, it must also lead there. This is what ``check_proof.py`` does.
    """
    return checker.problems(document, head or "-")


def _joined(path: Sequence[bytes]) -> str:
    return "".join(urlsafe_b64encode(each).decode().rstrip("=") for each in path)
