"""The evidence pack: one JSON document, a page to read, a proof for every event, and the checker to check them with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from cart_core import rules
from cart_core.errors import Refused, SourceError
from cart_core.events import Envelope
from cart_core.evidence.page import page
from cart_core.evidence.proofs import proofs_of
from cart_core.evidence.story import Document, story
from cart_core.ledger import CHECKER, Proof
from cart_core.store import CartStore
from cart_core.store.base import Store

FORM = "cart-evidence/1"
EVIDENCE, PAGE, SUMS, PROOFS = "evidence.json", "evidence.html", "SHA256SUMS", "proofs"


def make_pack(store: Store, history: Sequence[Envelope], product_id: str | None, made_at: datetime) -> Document:
    """The evidence on one product of a cart, or on all of them, from the cart's whole history.

    Events that are not sealed yet have no proof; seal the store first where all should have one.
    Raises Refused (unknown_cart, unknown_product) where there is nothing to tell.
    """
    if not history:
        raise Refused("unknown_cart", "there is no such cart")
    told = story(history, product_id)
    if product_id is not None and not told["products"][0]["priceHistory"]:
        raise Refused("unknown_product", f"cart {history[0].cart_id} never held product {product_id!r}")
    proofs = proofs_of(store, history) if isinstance(store, CartStore) else {}
    return {
        "evidence": FORM,
        "madeAt": rules.format_time(made_at),
        "cartId": history[0].cart_id,
        "productId": product_id,
        **told,
        "ledger": _ledger(proofs),
        "events": [_event(each, proofs.get(each.version)) for each in history],
        "howToCheck": HOW_TO_CHECK,
    }


HOW_TO_CHECK = (
    "Keep the whole folder and run: python check_proof.py HEAD proofs/*.json, where HEAD is the ledger's head as the "
    "shop published or anchored it, or - to check the proofs among themselves. It needs Python and nothing else. "
    "sha256sum -c SHA256SUMS tells whether a file of the folder was changed; cart check-evidence does both and holds "
    "every sentence here against the proved events."
)


def write_pack(document: Document, folder: Path) -> list[Path]:
    """Write a pack into a new or empty folder; the files written, the document first.

    Nothing appears that is not whole: the sums, written last, make the folder a pack.
    Raises Refused (folder_not_empty) where the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise Refused("folder_not_empty", f"{folder} is not empty: name a new folder for the pack")
    (folder / PROOFS).mkdir(parents=True, exist_ok=True)
    files = {
        EVIDENCE: json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        PAGE: page(document),
        CHECKER.name: CHECKER.read_text(encoding="utf-8"),
        **{proof_name(each["version"]): each["proof"] for each in document["events"] if each["proof"] is not None},
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def write_sums(folder: Path) -> Path:
    """Write the digest of every file of a pack, in the form that ``sha256sum -c`` reads."""
    place = folder / SUMS
    place.write_text(sums(folder), encoding="utf-8")
    return place


def sums(folder: Path) -> str:
    """The digests of a pack's files as they are."""
    return "".join(f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in pack_files(folder))


def pack_files(folder: Path) -> list[Path]:
    """Every file of a pack but its sums, by name."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return sha256(path.read_bytes()).hexdigest()


def proof_name(version: int) -> str:
    """The file of an event's proof."""
    return f"{PROOFS}/{version:06d}.json"


def cart_of_order(store: Store, order_id: str) -> str:
    """The cart from which an order was placed. Raises Refused (unknown_order) where there is none, or several."""
    wanted = (pl.col("type") == "CheckoutCompleted") & (pl.col("order_id") == order_id)
    found = store.scan(columns=["cart_id", "type", "order_id"]).filter(wanted).select("cart_id").unique().collect()
    if len(found) != 1:
        told = "no cart" if found.is_empty() else f"{len(found)} carts"
        raise Refused("unknown_order", f"{told} in this store was charged as order {order_id!r}")
    return str(UUID(bytes=found["cart_id"][0]))


def read_pack(folder: Path) -> Document:
    """The document of a pack. Raises SourceError where the folder holds none."""
    try:
        document: Any = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{folder / EVIDENCE} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("evidence") != FORM:
        raise SourceError(f"{folder / EVIDENCE} is no evidence pack of the form {FORM}")
    return document


def _ledger(proofs: dict[int, Proof]) -> Document | None:
    if not proofs:
        return None
    last = max(proofs.values(), key=lambda proof: proof.batch.batch)
    return {"head": last.head.hex(), "batches": last.batches}


def _event(envelope: Envelope, proof: Proof | None) -> Document:
    """One event: what is in the ledger of it, and where. The user is a number there, and only that is told."""
    told = envelope.to_json()
    del told["userId"]
    return {
        **told,
        "sealedAt": None if proof is None else proof.batch.document()["sealedAt"],
        "proof": None if proof is None else proof.to_json(),
    }
