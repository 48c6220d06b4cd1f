from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core.errors import SourceError
from cart_core.importers import lines
from cart_core.importers.lines import LINE_BYTES, read_lines
from cart_core.importers.sources import Options

pieces = st.binary(max_size=12).map(lambda piece: piece.replace(b"\n", b"")) | st.sampled_from(
    [b"", b" ", b"\t ", b"abc", b"\xff", "é".encode(), b"abc\r", b"\r"]
)


def read(path, block_bytes=lines.BLOCK_BYTES):
    """(number, text) of every line, and (number, reason) of what is set aside."""
    runs = list(read_lines([str(path)], Options(), block_bytes))
    texts = [pair for run in runs for pair in zip(run.rows, run.texts, strict=True)]
    return texts, [(each.row, each.reason) for run in runs for each in run.set_aside]


@given(st.lists(pieces, max_size=8), st.booleans(), st.integers(1, 9), st.booleans())
def test_lines_are_the_same_however_the_file_is_cut_into_blocks(tmp_path_factory, written, ended, block_bytes, zipped):
    """Texts, numbers and refusals follow from the bytes alone: neither blocks nor compression change them."""
    path = tmp_path_factory.mktemp("lines") / "file"
    raw = b"\n".join(written) + (b"\n" if ended else b"")
    path.write_bytes(gzip.compress(raw) if zipped and raw else raw)
    wanted = [
        (row, text.removesuffix(b"\r")) for row, text in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    ]
    texts, refused = read(path, block_bytes)
    assert texts == [(row, text) for row, text in wanted if text.strip() and _is_utf8(text)]
    assert refused == [(row, "not_utf8") for row, text in wanted if text.strip() and not _is_utf8(text)]


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_lines(tmp_path):
    """Files from Windows read like any other."""
    path = tmp_path / "windows.csv"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n\r\n")
    assert read(path) == ([(1, b"one"), (2, b"two")], [])


@pytest.mark.parametrize("block_bytes", [64 * 1024, 4 * 2**20, 64 * 2**20])
def test_a_line_of_10_mb_is_set_aside_and_its_neighbours_are_not(tmp_path, block_bytes):
    """An endless line is never held whole; only its beginning is shown."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"before\n" + b"x" * 10_000_000 + b"\nafter\n")
    runs = list(read_lines([str(path)], Options(), block_bytes))
    assert [text for run in runs for text in run.texts] == [b"before", b"after"]
    (refused,) = [each for run in runs for each in run.set_aside]
    assert (refused.row, refused.reason) == (2, "line_too_long")
    assert len(refused.raw) < 10_000
    assert [row for run in runs for row in run.rows] == [1, 3]


def test_a_long_last_line_without_an_end_is_set_aside_too(tmp_path):
    """The limit holds at the very end of a file."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"before\n" + b"x" * (LINE_BYTES + 1))
    assert read(path, 1024) == ([(1, b"before")], [(2, "line_too_long")])


def test_a_line_of_exactly_one_mebibyte_is_taken(tmp_path):
    """The limit is inclusive."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"x" * LINE_BYTES + b"\n")
    assert read(path, 4096) == ([(1, b"x" * LINE_BYTES)], [])


def test_only_the_last_line_of_a_file_can_be_cut(tmp_path):
    """Whether a line has an end is told, as a cut one has none."""
    path = tmp_path / "cut.csv"
    path.write_bytes(b"one\ntwo\nthr")
    assert [run.cut for run in read_lines([str(path)], Options(), 4)][-1] is True
    path.write_bytes(b"one\ntwo\n")
    assert not any(run.cut for run in read_lines([str(path)], Options(), 4))


def test_a_gzip_file_that_is_cut_is_refused_by_name(tmp_path):
    """Half a download is told from a whole one."""
    path = tmp_path / "half.csv.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 1000)[:-20])
    with pytest.raises(SourceError, match=r"half\.csv\.gz ends in the middle of its gzip stream"):
        read(path)


def test_a_zip_archive_is_refused_with_a_hint(tmp_path):
    """What a download page packs as zip is named as such."""
    path = tmp_path / "month.csv.zip"
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(SourceError, match="unpack it first"):
        read(path)


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path):
    """One wrong name among many is found at once."""
    there = tmp_path / "there.jsonl"
    there.write_bytes(b"x\n")
    with pytest.raises(SourceError, match=r"gone\.jsonl cannot be read: No such file"):
        next(read_lines([str(there), str(tmp_path / "gone.jsonl")], Options()))


def test_progress_reaches_the_size_of_all_files(tmp_path):
    """The last report says that everything is read."""
    told = []
    files = []
    for name in ("a", "b"):
        Path(tmp_path / name).write_bytes(b"line\n" * 10)
        files.append(str(tmp_path / name))
    list(read_lines(files, Options(progress=lambda done, total: told.append((done, total)))))
    assert told[-1] == (100, 100)


def _is_utf8(text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
