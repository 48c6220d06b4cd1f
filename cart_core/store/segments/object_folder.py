"""Segments on an object store: uploaded before anybody names them, read by range or through copies on this disk."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType

from cart_core.errors import StoreCorrupt, StoreError
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.segments import objects
from cart_core.store.segments.copies import Copies
from cart_core.store.segments.folder import READ_ONLY, SegmentFolder
from cart_core.store.segments.objects import ObjectPlace

OWNER = "_store.json"
CHUNK_BYTES = 8 * 2**20
RANGE_READS = 8
FETCHES = 4


class ObjectFolder(SegmentFolder):
    """Segment files under a prefix of a bucket, with copies of them in a folder of this host.

    A file is hashed and uploaded before the catalog names it, so a crash leaves an object that no catalog names,
    which the sweep removes. A few reads of single carts go by range; a file that is read as a whole, or again and
    again, is fetched once, checked against its SHA-256, and read from the copy. The prefix belongs to one store.
    """

    def __init__(self, place: ObjectPlace, cache: Path, store_id: str) -> None:
        super().__init__(cache)
        self.place = place.url
        self._place = place
        self._store_id = store_id
        self._owned = False
        self._copies = Copies(cache, place.cache_bytes)
        self._ranges: Counter[str] = Counter()
        self._fetching: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @cached_property
    def _server(self) -> FileSystem:
        return self._place.connect()

    def files(self) -> tuple[FileSystem, str]:
        """Where the files lie for everybody who reads the store: a file system and a path in it."""
        return self._server, self._place.base

    def locations(self, segments: Sequence[Segment]) -> dict[str, str]:
        """Paths of copies by the names of files; they stay until ``close``.

        Raises StoreUnreachable, or StoreCorrupt where a file is missing or not what was written.
        """
        with ThreadPoolExecutor(FETCHES) as pool:
            paths = pool.map(lambda each: self._copies.hold(each.file, lambda: self._fetch(each)), segments)
            return {each.file: str(path) for each, path in zip(segments, paths, strict=True)}

    def close(self) -> None:
        """Let the copies go that were handed out."""
        self._copies.close()

    def remove(self, file: str) -> None:
        """Remove a file that no catalog names any more, and its copy."""
        self._own()
        with objects.translated(self._name(file)), suppress(FileNotFoundError):
            self._server.delete_file(self._key(file))
        super().remove(file)

    def older(self, than_s: float) -> list[str]:
        """Names of the objects and of copies that were written before a moment, in seconds since 1970."""
        objects_ = [name for name, written_s in self._objects() if written_s < than_s]
        return list(dict.fromkeys([*objects_, *super().older(than_s)]))

    def digest(self, file: str) -> str:
        """The SHA-256 of an object's bytes, in hex; the copy is not asked."""
        digest = hashlib.sha256()
        with objects.translated(self._name(file)):
            for chunk in self._chunks(file):
                digest.update(chunk)
        return digest.hexdigest()

    def read_groups(
        self,
        segment: Segment,
        groups: Sequence[int] | range | None,
        columns: Sequence[str] | None,
        encoded: Sequence[str] = (),
    ) -> pa.Table:
        """Some row groups of a segment (all with None) as they lie in its file, without what the catalog says."""
        self._fetch_if_worth(segment, whole=groups is None)
        return super().read_groups(segment, groups, columns, encoded)

    def _read_few(
        self, segment: Segment, columns: list[str], wanted: pa.Schema, options: Mapping[str, Any]
    ) -> pa.Table:
        self._fetch_if_worth(segment, whole=False)
        return super()._read_few(segment, columns, wanted, options)

    def _fetch_if_worth(self, segment: Segment, *, whole: bool) -> None:
        if not self._copies.has(segment.file):
            self._ranges[segment.file] += 1
            if whole or self._ranges[segment.file] > RANGE_READS:
                self._fetch(segment)

    def _put(self, temporary: Path, name: str) -> None:
        try:
            self._own()
            with objects.translated(self._name(name)):
                self._upload(temporary, self._key(name))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._copies.take_in(temporary, name)

    def _upload(self, temporary: Path, key: str) -> None:
        with temporary.open("rb") as written, self._server.open_output_stream(key) as out:
            while chunk := written.read(CHUNK_BYTES):
                out.write(chunk)
        wanted, stored = temporary.stat().st_size, self._server.get_file_info(key).size
        if stored != wanted:
            raise OSError(f"{stored} bytes arrived of {wanted}")

    def _parquet(self, segment: Segment, **options: Any) -> pq.ParquetFile:
        if self._copies.has(segment.file):
            with suppress(FileNotFoundError):  # the copy may go before it is opened
                return super()._parquet(segment, **options)
        return self._by_range(segment, **options)

    def _by_range(self, segment: Segment, **options: Any) -> pq.ParquetFile:
        source = self._server.open_input_file(self._key(segment.file))
        return pq.ParquetFile(source, pre_buffer=True, **{"page_checksum_verification": True, **options})

    def _fetch(self, segment: Segment) -> None:
        """Bring a file onto this disk, checked against its SHA-256; other threads that want it wait."""
        with self._fetching[segment.file]:
            if self._copies.has(segment.file):
                return
            temporary = self.folder / f"{segment.file}.{uuid4().hex[:8]}.tmp"
            digest = hashlib.sha256()
            try:
                with objects.translated(self._name(segment.file)), temporary.open("wb") as copy:
                    for chunk in self._chunks(segment.file):
                        digest.update(chunk)
                        copy.write(chunk)
                if digest.hexdigest() != segment.sha256:
                    raise StoreCorrupt(f"{self._name(segment.file)}: its bytes are not those that were written")
                temporary.chmod(READ_ONLY)
                self._copies.take_in(temporary, segment.file)
            finally:
                temporary.unlink(missing_ok=True)

    def _chunks(self, file: str) -> Iterator[bytes]:
        with self._server.open_input_file(self._key(file)) as stored:
            while chunk := stored.read(CHUNK_BYTES):
                yield chunk

    def _objects(self) -> Iterator[tuple[str, float]]:
        """Names of segment objects, and when they were written, in seconds since 1970."""
        with objects.translated(self.place):
            found = self._server.get_file_info(FileSelector(self._place.base, allow_not_found=True))
        for each in found:
            if each.type == FileType.File and each.base_name.endswith(".parquet"):
                yield each.base_name, each.mtime.timestamp()

    def _own(self) -> None:
        """Make sure that no other store keeps its files here: its sweep would remove ours, and ours its."""
        if self._owned:
            return
        key = self._key(OWNER)
        with objects.translated(f"{self.place}/{OWNER}"):
            if self._server.get_file_info(key).type == FileType.NotFound:
                with self._server.open_output_stream(key) as out:
                    out.write(json.dumps({"store_id": self._store_id}).encode())
            with self._server.open_input_file(key) as marker:
                owner = json.loads(marker.read())["store_id"]
        if owner != self._store_id:
            raise StoreCorrupt(f"{self.place} belongs to another store ({owner}): give each store a prefix of its own")
        self._owned = True

    def _unreadable(self, file: str, error: Exception) -> StoreError:
        return error if isinstance(error, StoreError) else objects.meaning(self._name(file), error)

    def _key(self, file: str) -> str:
        return f"{self._place.base}/{file}"

    def _name(self, file: str) -> str:
        return f"segment {self.place}/{file}"
