"""What a store holds, how it lies on disk, and when it was last verified."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from cart_core import rules
from cart_core.ledger import chain_head
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Connection
from cart_core.store.reading.reader import Reader
from cart_core.store.results import Verified

VERIFIED = "verified.json"


def status(db: Connection, reader: Reader, place: str, cache: Path) -> dict[str, Any]:
    """Counts, bytes, the last seal and the last verification, in one transaction.

    ``bytes_per_event`` is of the segments in use; retired ones wait for compaction to remove them. What was verified
    is told by this machine's cache: None where it never was.
    """
    live, state, batches = reader.segments(db), catalog.state(db), catalog.batches(db)
    retired = catalog.segments(db, retired=True)
    last = batches[-1] if batches else None
    sealed, size = sum(each.rows for each in live), sum(each.size_bytes for each in live)
    return {
        "store": place,
        "segments_at": reader.folder.place,
        "position": state.position,
        "journal_rows": catalog.journal_count(db, 0, 2**62),
        "segments": len(live),
        "sealed_events": sealed,
        "segment_bytes": size,
        "bytes_per_event": round(size / sealed, 1) if sealed else None,
        "retired_segments": len(retired),
        "retired_bytes": sum(each.size_bytes for each in retired),
        "batches": last.batch if last else 0,
        "chain_head": chain_head([each.sealed for each in batches]).hex() if last else None,
        "last_sealed_at": _moment(last.sealed_us) if last else None,
        "last_recorded_at": _moment(state.recorded_us) if state.position else None,
        **_last_verified(cache),
        "users": catalog.user_count(db),
        "schema_version": int(catalog.meta(db, "schema_version") or 0),
    }


def note_verified(cache: Path, found: Verified, at: datetime) -> None:
    """Keep what a verification found, for ``status``; where the cache cannot be written nothing is kept."""
    noted = {
        "last_verified_at": rules.format_time(at),
        "last_verified_position": found.events,
        "last_verified_problems": len(found.problems),
    }
    temporary = cache / f".{VERIFIED}.{uuid4().hex[:8]}.tmp"
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(noted), encoding="utf-8")
        os.replace(temporary, cache / VERIFIED)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _last_verified(cache: Path) -> dict[str, Any]:
    names = ("last_verified_at", "last_verified_position", "last_verified_problems")
    try:
        noted = json.loads((cache / VERIFIED).read_text(encoding="utf-8"))
        return {name: noted[name] for name in names}
    except (OSError, ValueError, LookupError, TypeError):
        return dict.fromkeys(names)


def _moment(micros: int) -> str:
    return rules.format_time(rules.EPOCH + timedelta(microseconds=micros))
