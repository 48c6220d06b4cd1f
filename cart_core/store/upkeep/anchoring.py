"""Anchors in a file outside of the store: what its ledger was at a moment, a line for each, never rewritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from cart_core import ledger
from cart_core.errors import SourceError, StoreCorrupt
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog


def append_anchor(
    catalog_: Catalog, file: Path, clock: Callable[[], datetime], private_key: bytes | None = None
) -> dict[str, Any]:
    """Add what the ledger is now as a line to a file, durably; it is made where there is none.

    With ``private_key`` (Ed25519, PEM) the line is signed. Raises StoreCorrupt where the lines before it do not fit
    this ledger, so that a store that was rolled back cannot go on under the same anchors; Refused for a bad key.
    """
    store_id, batches = _ledger_of(catalog_)
    found = _problems(file, store_id, batches, None) if file.exists() and file.stat().st_size else []
    if found:
        raise StoreCorrupt(f"nothing was anchored, since what {file} holds does not fit this store: {found[0]}")
    made = ledger.anchor(batches, at=clock(), store=store_id, private_key=private_key)
    with file.open("ab") as out:
        out.write(ledger.canonical_json(made) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    return made


def anchor_problems(catalog_: Catalog, file: Path, public_key: str | None = None) -> list[str]:
    """What is wrong with a store if every anchor of a file is right, each naming its line; empty if nothing is.

    With ``public_key`` (hex) each anchor must be signed by it. Raises SourceError where the file cannot be read.
    """
    return _problems(file, *_ledger_of(catalog_), public_key)


def _ledger_of(catalog_: Catalog) -> tuple[str, list[ledger.SealedBatch]]:
    with catalog_.reading() as db:
        return catalog.meta(db, "store_id") or "", [each.sealed for each in catalog.batches(db)]


def _problems(file: Path, store_id: str, batches: list[ledger.SealedBatch], public_key: str | None) -> list[str]:
    found = []
    lines = _lines(file)
    for number, text in enumerate(lines, 1):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or ledger.canonical_json(document) != text:
            found.append(f"{file} line {number}: is no anchor as it was written")
            continue
        told = ledger.check_anchor(document, batches, store=store_id, public_key=public_key)
        found += [f"{file} line {number}: {problem}" for problem in told]
    return found if lines else [f"{file}: holds no anchor"]


def _lines(file: Path) -> list[bytes]:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise SourceError(f"the anchors in {file} cannot be read: {error.strerror}") from error
    return text.removesuffix(b"\n").split(b"\n") if text else []
