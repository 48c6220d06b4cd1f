"""A text file as numbered lines, plain or gzipped, whatever its size: no line and no file is ever loaded whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cart_core.errors import Problem, SourceError
from cart_core.importers.set_aside import RAW_CHARS, SetAside
from cart_core.importers.sources import Options, Progress

BLOCK_BYTES = 4 * 2**20
LINE_BYTES = 2**20
TOO_LONG = f"at most {LINE_BYTES} bytes long"
BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
BLANKS = (b"\n\n", b"\n\r", b"\n ", b"\n\t", b"\n\v", b"\n\f")
ZIP_MAGIC = b"PK\x03\x04"
Readable = BinaryIO | gzip.GzipFile


@dataclass(frozen=True, slots=True)
class Lines:
    """A run of lines without their ends: UTF-8 texts, their numbers from 1, and the lines that are none.

    They are from the ``number``-th file (from 0); ``begins`` says that its first line is among them. Lines without
    any letter are skipped, though they count. ``cut`` says that the last of them has no end, as the last line of a
    file may.
    """

    number: int
    file: str
    begins: bool
    texts: list[bytes]
    rows: list[int]
    set_aside: list[SetAside]
    cut: bool


class Bytes:
    """Files opened one after another, and how far all of them are read."""

    def __init__(self, files: Sequence[str], progress: Progress | None) -> None:
        self._progress = progress
        self._before = 0
        self._sizes = {file: _size_bytes(file) for file in files}
        self.total_bytes = sum(self._sizes.values())

    @contextmanager
    def open(self, file: str) -> Iterator[tuple[Readable, BinaryIO]]:
        """A file as (its text, the bytes on disk below it). Raises SourceError where it cannot be read."""
        try:
            with Path(file).open("rb") as raw:
                magic = raw.read(4)
                raw.seek(0)
                if magic == ZIP_MAGIC:
                    raise SourceError(f"{file} is a zip archive: unpack it first, or use gzip")
                yield (gzip.GzipFile(fileobj=raw) if magic.startswith(GZIP_MAGIC) else raw), raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(f"{file} ends in the middle of its gzip stream, or is damaged: {error}") from error
        except OSError as error:
            raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error
        self._before += self._sizes[file]

    def tell(self, raw: BinaryIO) -> None:
        """Report how far the open file is read."""
        if self._progress is not None:
            self._progress(self._before + raw.tell(), self.total_bytes)


def read_lines(files: Sequence[str], options: Options, block_bytes: int = BLOCK_BYTES) -> Iterator[Lines]:
    """The lines of files one after another, in runs of about ``block_bytes``.

    A byte order mark and carriage returns are no part of lines. Lines longer than 1 MiB and lines that are not UTF-8
    are set aside. Raises SourceError where a file cannot be read.
    """
    source = Bytes(files, options.progress)
    for number, file in enumerate(files):
        with source.open(file) as (stream, raw):
            for lines in _Cutter(number, file).runs(stream, block_bytes):
                source.tell(raw)
                yield lines


class _Cutter:
    """Cuts a stream of bytes at line ends; remembers the number of the next line and the piece before it."""

    def __init__(self, number: int, file: str) -> None:
        self._number = number
        self._file = file
        self._row = 0
        self._piece = b""
        self._overlong: bytes | None = None

    def runs(self, stream: Readable, block_bytes: int) -> Iterator[Lines]:
        block = stream.read(block_bytes)
        block = block.removeprefix(BOM)
        while block:
            following = stream.read(block_bytes)
            yield from self._run(block, last=not following)
            block = following

    def _run(self, block: bytes, *, last: bool) -> Iterator[Lines]:
        set_aside: list[SetAside] = []
        if self._overlong is not None:
            _, end, block = block.partition(b"\n")
            if not end and not last:
                return
            set_aside.append(self._too_long(self._overlong))
            self._overlong = None
        whole, self._piece = _complete(self._piece + block, last=last)
        if len(self._piece) > LINE_BYTES:
            self._overlong, self._piece = self._piece[: RAW_CHARS * 4], b""
        yield self._sorted_out(whole, set_aside, cut=last and not whole.endswith(b"\n"))

    def _sorted_out(self, whole: bytes, set_aside: list[SetAside], *, cut: bool) -> Lines:
        """Complete lines, numbered; those that are no text are set aside, and those without a letter left out."""
        sound = _is_utf8(whole)
        texts = whole.removesuffix(b"\n").split(b"\n") if whole else []
        if b"\r" in whole:
            texts = [text.removesuffix(b"\r") for text in texts]
        first = self._row + 1
        self._row += len(texts)
        rows = list(range(first, self._row + 1))
        if any(blank in b"\n" + whole for blank in BLANKS):
            rows = [row for row, text in enumerate(texts, first) if text and not text.isspace()]
        if not sound or max(map(len, texts), default=0) > LINE_BYTES:
            refused = {row: refusal for row in rows if (refusal := self._refusal(row, texts[row - first]))}
            set_aside.extend(refused.values())
            rows = [row for row in rows if row not in refused]
        kept = texts if len(rows) == len(texts) else [texts[row - first] for row in rows]
        return Lines(self._number, self._file, first == 1, kept, rows, set_aside, cut)

    def _refusal(self, row: int, text: bytes) -> SetAside | None:
        if len(text) > LINE_BYTES:
            return _refused(self._file, row, "line_too_long", text, TOO_LONG)
        return None if _is_utf8(text) else _refused(self._file, row, "not_utf8", text, "UTF-8 text")

    def _too_long(self, start: bytes) -> SetAside:
        self._row += 1
        return _refused(self._file, self._row, "line_too_long", start, TOO_LONG)


def _complete(text: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """Text up to its last line end, and the piece of a line behind it; the last piece of a file is complete."""
    end = len(text) if last else text.rfind(b"\n") + 1
    return text[:end], text[end:]


def _refused(file: str, row: int, reason: str, raw: bytes, rule: str) -> SetAside:
    return SetAside(file, row, reason, [Problem("line", raw[:60], rule)], raw[: RAW_CHARS * 4])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _size_bytes(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error
