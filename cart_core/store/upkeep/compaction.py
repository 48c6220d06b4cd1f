"""Compaction: neighbouring small segments become one large file; readers see no difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from cart_core import rules
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog, Segment
from cart_core.store.results import Compacted
from cart_core.store.segments import upcasting
from cart_core.store.segments.folder import SegmentFolder
from cart_core.store.segments.index import IndexCache
from cart_core.store.upkeep import delta_log
from cart_core.store.writing.sealing import check_file

ABANDONED = timedelta(hours=1)
"""How long a file may be without a name in the catalog before whoever was writing it must be dead."""
TARGET_BYTES = 128 * 2**20
TARGET_ROWS = 4_000_000
GROWTH = 2


def compact(
    catalog_: Catalog, folder: SegmentFolder, indexes: IndexCache, clock: Callable[[], datetime], grace: timedelta
) -> Compacted:
    """Rewrite runs of small neighbours as one file each, and remove files that were retired longer than ``grace`` ago.

    A segment is rewritten only together with newer ones of at least half its size, so that an event is rewritten a
    number of times that grows with the logarithm of the store. A crash leaves before or after, and stray files
    that a later sweep removes.
    """
    with catalog_.reading() as db:
        live = catalog.segments(db)
    before = after = 0
    for group in groups(live):
        if rewrite(catalog_, folder, group, rules.to_micros(clock())):
            before, after = before + len(group), after + 1
    return Compacted(before, after, sweep(catalog_, folder, indexes, clock, grace))


def groups(live: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Runs of neighbours that are worth rewriting as one, newest first, and files of an earlier version."""
    group: list[Segment] = []
    for segment in sorted(live, key=lambda each: -each.first_position):
        if group and _joins(segment, group):
            group.insert(0, segment)
            continue
        if _worth(group):
            yield group
        group = [segment]
    if _worth(group):
        yield group


def _worth(group: Sequence[Segment]) -> bool:
    """Several files become one, and one with the columns of an earlier version gets those of today."""
    return len(group) > 1 or not all(upcasting.is_current(each.schema_version) for each in group)


def sweep(
    catalog_: Catalog, folder: SegmentFolder, indexes: IndexCache, clock: Callable[[], datetime], grace: timedelta
) -> int:
    """Remove files that were retired longer than ``grace`` ago, and what dead writers left; returns how many."""
    limit = rules.to_micros(clock() - grace)
    with catalog_.reading() as db:
        retired = catalog.segments(db, retired=True)
    published = delta_log.held(folder, limit)
    old = [
        each
        for each in retired
        if each.retired_us is not None and each.retired_us <= limit and each.file not in published
    ]
    for segment in old:
        folder.remove(segment.file)
        indexes.forget(segment.file)
        with catalog_.writing() as db:
            catalog.drop_segment(db, segment.file)
    return len(old) + _remove_strays(catalog_, folder, indexes, time.time() - max(grace, ABANDONED).total_seconds())


def _remove_strays(catalog_: Catalog, folder: SegmentFolder, indexes: IndexCache, older_than_s: float) -> int:
    """Remove what dead writers left. Nobody can name a file meanwhile: see ``sealing.check_file``."""
    old = folder.older(older_than_s)
    with catalog_.writing() as db:
        named = {each.file for each in (*catalog.segments(db), *catalog.segments(db, retired=True))}
        indexes.remove_strays(named, older_than_s)
        strays = [name for name in old if name not in named]
        for name in strays:
            folder.remove(name)
        return len(strays)


def _joins(segment: Segment, group: list[Segment]) -> bool:
    rows = sum(each.rows for each in group)
    size = sum(each.size_bytes for each in group)
    return (
        segment.last_position + 1 == group[0].first_position
        and segment.rows <= GROWTH * rows
        and segment.rows + rows <= TARGET_ROWS
        and segment.size_bytes + size <= TARGET_BYTES
    )


def rewrite(catalog_: Catalog, folder: SegmentFolder, group: list[Segment], now_us: int) -> bool:
    """Write segments anew as one file, and swap it for them; False where another process was quicker."""
    written = folder.write(pa.concat_tables(folder.read(each) for each in group))
    with catalog_.writing() as db:
        live = {each.file for each in catalog.segments(db)}
        current = all(each.file in live for each in group)
        if current:
            check_file(folder, written)
            catalog.add_segment(db, written)
            for each in group:
                catalog.retire_segment(db, each.file, now_us)
            catalog.change_files(db)
    if not current:
        folder.remove(written.file)
    return current
