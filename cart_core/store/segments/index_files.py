"""Indexes of segments on disk: mapped into memory, of which only the pages that are asked for are read."""

from __future__ import annotations

import dataclasses
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from cart_core.store.segments.footers import Footer
from cart_core.store.segments.segment_index import SegmentIndex

Array = np.ndarray[Any, np.dtype[Any]]

CART = np.dtype(
    [("cart_id", "u1", 16), ("cart_start", "<u4"), ("cart_rows", "<u4"), ("cart_head", "<i4"), ("cart_user", "<u4")]
)
"""What is said of a cart stands together, so that one page of the file tells it."""
OF_A_CART = tuple(CART.names or ())
PARTS = (
    ("group_end", "<u4", "groups"),
    ("group_at", "<u8", "groups"),
    ("piece_at", "<u4", "pieces"),
    ("cart_mark", "<u4", "marks"),
    ("text", "u1", "text"),
    ("cart_key", "<u8", "carts"),
    ("cart", CART, "carts"),
    ("event_key", "<u8", "events"),
    ("event_row", "<u4", "events"),
)
"""The parts of a file, in the order of their bytes: what every search asks for stands first."""
COUNTS = ("carts", "events", "marks", "groups", "pieces", "text")
HEADER = np.dtype([("magic", "S8"), ("of_bytes", "<u8"), *((name, "<u8") for name in COUNTS)])
MAGIC = b"cartidx4"
FIRST_BYTES = 64 * 1024
"""What is read of a file as soon as it is opened: its parts up to the beginning of ``text``, but for huge files."""
READ_AHEAD_BYTES = 4 * 2**20
"""How much one call may ask the system to read; of a larger range it would read the beginning only."""
FOOTER = tuple(each.name for each in dataclasses.fields(Footer))
INDEX = tuple(each.name for each in dataclasses.fields(SegmentIndex))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a segment's file: where its carts and events are, and its footer; mapped or just made."""

    index: SegmentIndex
    footer: Footer
    mapped: mmap.mmap | None = None
    starts: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def expect(self, part: str, first: int, end: int) -> None:
        """Have the system read some items of a part; the caller does not wait for it."""
        if self.mapped is not None and end > first:
            start, size = self.starts[part]
            _advise(self.mapped, "MADV_WILLNEED", start + first * size, start + end * size)

    def expect_cart(self, key: int) -> None:
        """Have the system read what is said of the carts around a key."""
        if self.mapped is not None:
            low, high = self.index.around(key)
            self.expect("cart_key", low, high)
            self.expect("cart", low, high)

    def expect_groups(self, start: int, count: int) -> None:
        """Have the system read what is said of the row groups of ``count`` rows from ``start`` on."""
        if self.mapped is not None:
            first, last, _ = self.footer.groups(start, count)
            self.expect("text", *self.footer.text_span(first, last))

    def expect_all(self) -> None:
        """Have the system read everything, for a search of many."""
        if self.mapped is not None:
            for start in range(0, len(self.mapped), READ_AHEAD_BYTES):
                _advise(self.mapped, "MADV_WILLNEED", start, min(start + READ_AHEAD_BYTES, len(self.mapped)))

    def let_go(self) -> None:
        """Count what was read no longer as memory of this process, which would grow with the store."""
        if self.mapped is not None:
            _advise(self.mapped, "MADV_DONTNEED", 0, len(self.mapped))


def opened(path: Path) -> mmap.mmap:
    """A file mapped into memory, its beginning on the way there. Raises OSError, ValueError where it is empty."""
    handle = os.open(path, os.O_RDONLY)
    try:
        mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(handle)
    _advise(mapped, "MADV_RANDOM", 0, len(mapped))
    _advise(mapped, "MADV_WILLNEED", 0, min(FIRST_BYTES, len(mapped)))
    return mapped


def read(mapped: mmap.mmap, rows: int, of_bytes: int) -> Kept:
    """What a file says of a segment of so many rows and bytes. Raises ValueError where it is torn or of another one."""
    whole = np.frombuffer(mapped, np.uint8)
    if len(whole) < HEADER.itemsize:
        raise ValueError("an index is torn")
    head = whole[: HEADER.itemsize].view(HEADER)[0]
    if (head["magic"], head["events"], head["of_bytes"]) != (MAGIC, rows, of_bytes):
        raise ValueError("an index is of another layout, or of another segment")
    counts = {name: int(head[name]) for name in COUNTS}
    parts: dict[str, Array] = {}
    starts: dict[str, tuple[int, int]] = {}
    start = HEADER.itemsize
    for name, kind, of in PARTS:
        size = np.dtype(kind).itemsize
        starts[name] = start, size
        parts[name] = whole[start : start + counts[of] * size].view(kind)
        start += _padded(counts[of] * size)
    if start != len(whole):
        raise ValueError("an index is torn")
    parts |= {name: parts["cart"][name] for name in OF_A_CART}
    index = SegmentIndex(**{name: parts[name] for name in INDEX})
    return Kept(index, Footer(**{name: parts[name] for name in FOOTER}), mapped, starts)


def write(kept: Kept, path: Path, of_bytes: int) -> None:
    """Write the file of a segment of so many bytes whole, or not at all. Raises OSError."""
    parts = {name: getattr(kept.index, name) for name in INDEX} | {name: getattr(kept.footer, name) for name in FOOTER}
    parts["cart"] = _carts(parts)
    counts = {of: len(parts[name]) for name, _, of in PARTS}
    head = np.array([(MAGIC, of_bytes, *(counts[name] for name in COUNTS))], HEADER).tobytes()
    write_whole(path, chain([head], *(_chunks(parts[name], kind) for name, kind, _ in PARTS)))


def _chunks(part: Array, kind: Any) -> Iterator[bytes | memoryview]:
    """A part's bytes, and what fills them up to the next word."""
    whole = np.ascontiguousarray(part, kind)
    yield whole.view(np.uint8).data
    yield b"\0" * (_padded(whole.nbytes) - whole.nbytes)


def write_whole(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file that can be rebuilt: synced and whole, or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def same(one: Kept, other: Kept) -> bool:
    """Whether two say the same."""
    indexes = all(np.array_equal(getattr(one.index, name), getattr(other.index, name)) for name in INDEX)
    return indexes and all(np.array_equal(getattr(one.footer, name), getattr(other.footer, name)) for name in FOOTER)


def _carts(parts: dict[str, Array]) -> Array:
    carts = np.zeros(len(parts["cart_key"]), CART)
    for name in OF_A_CART:
        carts[name] = parts[name]
    return carts


def _padded(size: int) -> int:
    return size + -size % 8


def _advise(mapped: mmap.mmap, advice: str, start: int, end: int) -> None:
    """Tell the system what is to come, where there is a way to."""
    known = getattr(mmap, advice, None)
    if known is not None:
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        with suppress(OSError, ValueError):
            mapped.madvise(known, page, end - page)
