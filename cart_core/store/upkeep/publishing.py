"""Publishing: the segments as a Delta table, nothing copied, for engines that know nothing of this store."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from cart_core import rules
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog, Segment
from cart_core.store.results import Published
from cart_core.store.segments import upcasting
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.upkeep import compaction, delta_log
from cart_core.store.upkeep.delta_log import Action, DeltaLog, Table


def publish(catalog_: Catalog, folder: SegmentFolder, clock: Callable[[], datetime]) -> Published:
    """Make the Delta table beside the segments name exactly the live ones, as one new version where they changed.

    Files whose positions or moment of recording stand in the catalog alone are written anew first, so that every file
    holds what reading shows. Rows of the journal are not published. A crash leaves the version before, or the new one.

    Raises StoreBusy where somebody else publishes, StoreReadOnly, StoreUnreachable.
    """
    rewritten = _settle(catalog_, folder, clock)
    with catalog_.reading() as db:
        live = catalog.segments(db)
        unsealed = catalog.journal_count(db, 0, 2**62)
        store_id = catalog.meta(db, "store_id") or ""
    log = DeltaLog(*folder.files())
    table = log.read()
    adds = [each for each in live if each.file not in table.files]
    names = {each.file for each in live}
    removes = [path for path in table.files if path not in names]
    now_ms = rules.to_micros(clock()) // delta_log.MICROS_PER_MS
    version = table.version
    if adds or removes or version < 0:
        moved = all(_rows_there(table, each) == each.rows for each in adds)
        version = log.commit(
            table,
            delta_log.about(store_id, now_ms),
            [_add(each, now_ms, data_change=_rows_there(table, each) < each.rows) for each in adds],
            [{"path": path, "deletionTimestamp": now_ms, "dataChange": not moved} for path in removes],
        )
    rows = sum(each.rows for each in live)
    return Published(folder.place, version, len(live), rows, len(adds), len(removes), rewritten, unsealed)


def _settle(catalog_: Catalog, folder: SegmentFolder, clock: Callable[[], datetime]) -> int:
    """Write segments anew whose files do not say all that the catalog knows; returns how many."""
    with catalog_.reading() as db:
        live = catalog.segments(db)
    unsettled = [
        each
        for each in live
        if each.position_shift or each.recorded_us is not None or not upcasting.is_current(each.schema_version)
    ]
    return sum(compaction.rewrite(catalog_, folder, [each], rules.to_micros(clock())) for each in unsettled)


def _rows_there(table: Table, segment: Segment) -> int:
    """How many rows of a segment the table has already, in files that stood where it stands."""
    return sum(_overlap(each, segment) for each in table.files.values())


def _overlap(add: Action, segment: Segment) -> int:
    stats = json.loads(add["stats"])
    first = max(stats["minValues"]["position"], segment.first_position)
    last = min(stats["maxValues"]["position"], segment.last_position)
    return max(0, int(last - first + 1))


def _add(segment: Segment, now_ms: int, *, data_change: bool) -> Action:
    stats = {
        "numRecords": segment.rows,
        "minValues": {"position": segment.first_position},
        "maxValues": {"position": segment.last_position},
        "nullCount": {"position": 0},
    }
    return {
        "path": segment.file,
        "partitionValues": {},
        "size": segment.size_bytes,
        "modificationTime": now_ms,
        "dataChange": data_change,
        "stats": json.dumps(stats),
    }
