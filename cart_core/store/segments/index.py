"""The indexes of all segments: files under the store's cache folder that can be rebuilt at any time."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from cart_core.errors import StoreError
from cart_core.store.catalogs.catalog import Segment
from cart_core.store.segments import footers, index_files
from cart_core.store.segments.folder import SegmentFolder, is_older
from cart_core.store.segments.index_files import Kept
from cart_core.store.segments.segment_index import SegmentIndex, build

COLUMNS = ["cart_id", "version", "event_id", "user_key"]
"""What an index is made of."""
FEW_OF_MANY = 1_000
"""One of so many events is looked for by a few pages each; for more, the whole index is read with less waiting."""


class IndexCache:
    """The indexes of all segments, kept under the store's cache folder and mapped into memory."""

    def __init__(self, folder: Path, segments: SegmentFolder) -> None:
        self._folder = folder
        self._segments = segments
        self._loaded: dict[str, Kept] = {}
        self._lock = threading.Lock()

    def get(self, segment: Segment) -> SegmentIndex:
        """The index of a segment, rebuilt from its file where it is missing or torn."""
        return self.kept(segment).index

    def kept(self, segment: Segment) -> Kept:
        """The index and the footer of a segment, rebuilt from its file where they are missing or torn."""
        known = self._loaded.get(segment.file)
        if known is not None:
            return known
        with self._lock:
            if segment.file not in self._loaded:
                self._loaded[segment.file] = self._load(segment, self._opened(segment))
            return self._loaded[segment.file]

    def expect_cart(self, segments: Sequence[Segment], key: int) -> None:
        """Have the system read, for all segments at once, the pages that tell whether they hold the carts of a key."""
        unknown = [each for each in segments if each.file not in self._loaded]
        if unknown:
            with self._lock:
                opened = [(each, self._opened(each)) for each in unknown if each.file not in self._loaded]
                self._loaded.update({each.file: self._load(each, mapped) for each, mapped in opened})
        for each in segments:
            self.kept(each).expect_cart(key)

    @contextmanager
    def searched(self, segment: Segment, wanted: int) -> Iterator[SegmentIndex]:
        """The index of a segment for a search of ``wanted`` carts or events: for many read as a whole and let go."""
        kept = self.kept(segment)
        is_many = wanted > segment.rows // FEW_OF_MANY
        if is_many:
            kept.expect_all()
        try:
            yield kept.index
        finally:
            if is_many:
                kept.let_go()

    def keep(self, segment: Segment, laid_out: pa.Table) -> None:
        """Write the index of a segment whose rows are at hand in the order of its file, if that is still there."""
        with suppress(StoreError):
            self._keep(self._made(segment, laid_out), segment)

    def forget(self, file: str) -> None:
        """Drop the index of a file that is gone."""
        self._loaded.pop(file, None)
        self._path(file).unlink(missing_ok=True)

    def remove_strays(self, named: set[str], older_than_s: float) -> None:
        """Remove indexes of files that no catalog names, and half-written ones, older than a moment."""
        for path in self._folder.glob("*"):
            if path.stem not in named and is_older(path, older_than_s):
                path.unlink(missing_ok=True)

    def differs(self, segment: Segment, stored: pa.Table) -> Path | None:
        """The index of a segment whose rows are ``stored``, if it is there and does not fit them."""
        mapped = self._opened(segment)
        try:
            kept = None if mapped is None else index_files.read(mapped, segment.rows, segment.size_bytes)
        except ValueError:
            return None
        fits = kept is None or index_files.same(kept, self._made(segment, stored))
        return None if fits else self._path(segment.file)

    def _path(self, file: str) -> Path:
        return self._folder / f"{file}.index"

    def _opened(self, segment: Segment) -> mmap.mmap | None:
        """The file of a segment's index, if there is one; its beginning is on its way into memory."""
        try:
            return index_files.opened(self._path(segment.file))
        except (OSError, ValueError):
            return None

    def _load(self, segment: Segment, mapped: mmap.mmap | None) -> Kept:
        if mapped is not None:
            with suppress(ValueError):
                return index_files.read(mapped, segment.rows, segment.size_bytes)
        made = self._made(segment, self._segments.read(segment, COLUMNS))
        self._keep(made, segment)
        return made

    def _made(self, segment: Segment, stored: pa.Table) -> Kept:
        return Kept(build(stored), footers.taken_apart(self._segments.metadata(segment)))

    def _keep(self, made: Kept, segment: Segment) -> None:
        """Write an index where that is allowed and there is room; it can be made again at any time."""
        with suppress(OSError):
            index_files.write(made, self._path(segment.file), segment.size_bytes)
