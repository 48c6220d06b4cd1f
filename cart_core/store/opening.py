"""Finding a store: its folder, the catalog it has there or elsewhere, and what its settings file says."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cart_core import settings
from cart_core.errors import Refused, StoreError, StoreNotFound, StoreReadOnly
from cart_core.store.catalogs import catalog
from cart_core.store.catalogs.catalog import Catalog
from cart_core.store.catalogs.sqlite import SqliteCatalog
from cart_core.store.segments import places as segment_places
from cart_core.store.segments.folder import SegmentFolder

SETTINGS = settings.FILE
SQLITE = "catalog.sqlite"
POSTGRES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the parts of a store are; without ``catalog`` it is a SQLite file in the folder."""

    path: Path | None
    catalog: str | None = None
    segments: str | None = None


def opened(
    path: str | os.PathLike[str] | None, catalog_url: str | None, segments: str | None, *, create: bool
) -> tuple[Path, Catalog, SegmentFolder]:
    """The folder, the catalog and the segments of a store, made where there are none and ``create`` allows.

    What the arguments leave open, the folder's settings file says (``store.toml``: catalog, segments). Raises
    StoreNotFound, StoreReadOnly, Refused (bad_settings) where a setting is wrong or contradicts an argument.
    """
    place = settled(Path(path) if path is not None else None, catalog_url, segments)
    found = _beside(place.path, create=create) if place.catalog is None else _postgres(place.catalog, create=create)
    try:
        home = place.path or _home_of(found, place.segments)
        _make(home)
        return home, found, segment_places.folder(found, home, place.segments)
    except BaseException:
        found.close()
        raise


def settled(path: Path | None, catalog_url: str | None = None, segments: str | None = None) -> Place:
    """Where a store's parts are, from arguments and the settings file of its folder. Raises Refused (bad_settings)."""
    said = settings.read_file(path) if path is not None else {}
    if path is not None:
        settings.check_agrees(path, said, "catalog", catalog_url)
        settings.check_agrees(path, said, "segments", segments)
    place = Place(path, catalog_url or said.get("catalog"), segments or said.get("segments"))
    if place.catalog is not None and path is not None and (path / SQLITE).exists():
        raise Refused(
            "bad_settings",
            f"{path} holds {SQLITE}, so its catalog is not {settings.without_password(place.catalog)}: "
            "move the events with cart copy-store into a folder of their own",
        )
    return place


def write_settings(folder: Path, said: dict[str, str]) -> None:
    """Write the settings file of a store's folder, readable by its owner alone, as a URL may hold a password."""
    lines = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in said.items())
    place = folder / SETTINGS
    place.touch(mode=0o600)
    place.write_text(lines, "utf-8")


def _beside(path: Path | None, *, create: bool) -> Catalog:
    if path is None:
        raise StoreNotFound("name the store's folder, or its catalog: postgresql://user@host/database")
    if not create and not (path / SQLITE).exists():
        raise StoreNotFound(f"there is no store at {path}: import something into it first, or see --store")
    _make(path)
    return SqliteCatalog(path / SQLITE)


def _postgres(url: str, *, create: bool) -> Catalog:
    if not url.startswith(POSTGRES):
        raise Refused(
            "bad_settings", f"the catalog is {url.partition('://')[0]!r}, but must be postgresql://user@host/database"
        )
    try:
        from cart_core.store.catalogs.postgres import PostgresCatalog  # noqa: PLC0415 - only a store that uses it loads it
    except ImportError as error:
        raise StoreError("a catalog in PostgreSQL needs: pip install 'cart-workbench[postgres]'") from error
    return PostgresCatalog(url, create=create)


def _home_of(found: Catalog, segments: str | None) -> Path:
    """The folder for what lies beside a shared catalog where none was named."""
    with found.reading() as db:
        place = segments or catalog.meta(db, segment_places.SETTLED)
    if place is None:
        raise StoreNotFound(
            f"{found.place}: say where the segments of this store lie, as a folder or s3://bucket/prefix"
        )
    if not place.startswith(segment_places.OBJECTS):
        return Path(place.removeprefix("file://")).absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cart-workbench" / re.sub(r"[^A-Za-z0-9._-]+", "_", found.place.partition("://")[2])


def _make(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreReadOnly(f"the store's folder {home} cannot be made: {error}") from error
