"""Where a store keeps its segments: settled once, in its catalog, so that every host looks in the same place."""

from __future__ import annotations

from pathlib import Path

from cart_core.errors import Refused, StoreReadOnly
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog
from cart_core.store.segments.folder import SegmentFolder

OBJECTS = "s3://"
SETTLED = "segments"


def folder(catalog_: Catalog, home: Path, segments: str | None = None) -> SegmentFolder:
    """The folder of a store's segments: ``segments`` (a path or an s3:// address) or, without it, what was settled.

    The first opening that names a place settles it, and so does any opening where other hosts share the catalog, as
    their folders are not this one. An address may name another way to the settled place (endpoint,
    region, size of the cache). Raises Refused where it names another place.
    """
    with catalog_.reading() as db:
        settled, store_id = catalog.meta(db, SETTLED), catalog.meta(db, "store_id") or ""
    if segments is None and settled is None and catalog_.shared:
        segments = str(home / "segments")
    wanted = segments or settled
    if wanted is None or (settled is None and not catalog_.shared and _place(wanted) == _place(str(home / "segments"))):
        return _local(home / "segments")
    if segments is not None and (settled is None or _place(segments) != _place(settled)):
        _settle(catalog_, home, segments)
    if not wanted.startswith(OBJECTS):
        return _local(Path(_place(wanted)))
    from cart_core.store.segments import object_folder, objects  # noqa: PLC0415 - only a store that uses it loads it

    return object_folder.ObjectFolder(objects.parse(wanted), home / "cache" / "segments", store_id)


def _local(place: Path) -> SegmentFolder:
    try:
        return SegmentFolder(place)
    except OSError as error:
        raise StoreReadOnly(f"the folder of the segments, {place}, cannot be made: {error}") from error


def _place(segments: str) -> str:
    """A place without the way to it, the same for every spelling."""
    if segments.startswith(OBJECTS):
        return segments.partition("?")[0].rstrip("/")
    if "://" in segments and not segments.startswith("file://"):
        raise Refused("bad_settings", f"segments cannot lie at {segments!r}: give a folder, or s3://bucket/prefix")
    return str(Path(segments.removeprefix("file://")).absolute())


def _settle(catalog_: Catalog, home: Path, segments: str) -> None:
    wanted = segments if segments.startswith(OBJECTS) else _place(segments)
    with catalog_.writing() as db:
        settled = catalog.meta(db, SETTLED)
        if settled is None and not catalog.segments(db) and not catalog.segments(db, retired=True):
            catalog.settle(db, SETTLED, wanted)
            settled = wanted
    if _place(settled or str(home / "segments")) != _place(segments):
        raise Refused(
            "segments_elsewhere",
            f"this store keeps its segments at {settled or home / 'segments'}, not at {segments}: "
            "a store's segments do not move by opening it; copy the store instead",
        )
