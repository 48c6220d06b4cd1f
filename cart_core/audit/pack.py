"""The audit pack: events, ledger, verify report, a page that says how to check it, and the program that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from cart_core import ledger, rules
from cart_core.audit import check_audit as checker
from cart_core.audit.page import page
from cart_core.audit.period import Period, micros_of
from cart_core.audit.trail import Snapshot, journal_document, parts
from cart_core.errors import Refused
from cart_core.store import CartStore
from cart_core.store.at_rest import AT_REST

FORM = "cart-audit/1"
CHECKER = Path(checker.__file__)
EVENTS, TABLE, LEDGER, MANIFEST, SUMS = checker.EVENTS, "events.parquet", checker.LEDGER, checker.MANIFEST, checker.SUMS
ANCHORS = checker.ANCHORS
VERIFIED, PAGE = "verify.json", "README.html"
IDS = ("event_id", "cart_id")
COLUMNS = pa.schema(
    [pa.field(each.name, pa.string()) if each.name in IDS else each for each in AT_REST if each.name != "bucket"]
)
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Audited:
    """A pack that was written: its manifest, the problems that ``verify`` found, and the digest of all its sums.

    Whoever is told ``sums_sha256`` apart from the pack knows every byte of it.
    """

    manifest: Document
    problems: list[str]
    sums_sha256: str


def write_audit(
    store: CartStore, period: Period, folder: Path, made_at: datetime, anchors: Path | None = None
) -> Audited:
    """Write the full trail of a period into a new or empty folder: see docs/auditing.md for its files.

    Users are the numbers that the ledger knows them by. Events that are not sealed are covered by the journal's
    running hash alone; seal the store first where all should lead to the head. ``anchors``, a file of them, goes into
    the pack, and the store is held against it. One segment is held in memory at a time. The sums, written last, make
    the folder a pack.

    Raises Refused (folder_not_empty) where the folder holds something, StoreCorrupt where an event of the period is
    not what was sealed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise Refused("folder_not_empty", f"{folder} is not empty: name a new folder for the pack")
    folder.mkdir(parents=True, exist_ok=True)
    verified = asdict(store.verify(anchors))
    seen = Snapshot.of(store)
    paths, events, unsealed = _write_events(store, seen, period, folder)
    batches = [each.sealed for each in seen.batches]
    manifest = {
        "audit": FORM,
        "store": seen.store_id,
        "madeAt": rules.format_time(made_at),
        **period.document(),
        "head": ledger.chain_head(batches).hex(),
        "position": seen.position,
        "events": events,
        "unsealed": unsealed,
    }
    trail = {"batches": [each.document() for each in batches], "paths": paths, "journal": journal_document(seen)}
    if anchors is not None:
        (folder / ANCHORS).write_bytes(anchors.read_bytes())
    (folder / LEDGER).write_bytes(ledger.canonical_json(trail) + b"\n")
    (folder / VERIFIED).write_text(shown(verified), encoding="utf-8")
    (folder / CHECKER.name).write_bytes(CHECKER.read_bytes())
    (folder / PAGE).write_text(page(manifest, verified), encoding="utf-8")
    sums = {each.name: digest(each) for each in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(shown({**manifest, "files": sums}), encoding="utf-8")
    sums[MANIFEST] = digest(folder / MANIFEST)
    text = "".join(f"{each}  {name}\n" for name, each in sorted(sums.items())).encode()
    (folder / SUMS).write_bytes(text)
    return Audited(manifest, verified["problems"], sha256(text).hexdigest())


def shown(document: Document) -> str:
    """A document as it stands in a file that people read."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def lines(rows: pa.Table) -> Iterator[bytes]:
    """Rows of AT_REST as the lines of events.jsonl: canonical JSON of {event, position, recordedAt}."""
    recorded = micros_of(rows["recorded_at"]).tolist()
    places = rows["position"].to_pylist()
    for event, position, micros in zip(ledger.canonical_rows(rows), places, recorded, strict=True):
        known = rules.format_time(rules.EPOCH + timedelta(microseconds=micros))
        yield b'{"event":' + (event or b"null") + f',"position":{position},"recordedAt":"{known}"}}\n'.encode()


def table(rows: pa.Table) -> pa.Table:
    """Rows of AT_REST as those of events.parquet: ids as text, users as numbers."""
    columns = [
        pa.array([str(UUID(bytes=each)) for each in _raw_ids(rows[name])], pa.string()) if name in IDS else rows[name]
        for name in COLUMNS.names
    ]
    return pa.table(columns, schema=COLUMNS)


def _write_events(store: CartStore, seen: Snapshot, period: Period, folder: Path) -> tuple[Document, int, int]:
    """Write both forms of the events; what leads each batch to its root, how many there are, how many unsealed."""
    paths: Document = {}
    events = unsealed = 0
    with (folder / EVENTS).open("wb") as out, pq.ParquetWriter(folder / TABLE, COLUMNS, compression="zstd") as writer:
        for part in parts(store, seen, period):
            out.writelines(lines(part.rows))
            if len(part.rows):
                writer.write_table(table(part.rows))
            events += len(part.rows)
            if part.batch is None:
                unsealed = len(part.rows)
            else:
                paths[str(part.batch)] = part.path
    return paths, events, unsealed


def _raw_ids(column: pa.ChunkedArray) -> Iterator[bytes]:
    for chunk in column.chunks:
        yield from (chunk.storage if isinstance(chunk.type, pa.UuidType) else chunk).to_pylist()
