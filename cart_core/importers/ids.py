"""Ids that follow from what a row says, so that the same row is known again: UUIDs of version 5 (RFC 9562).

Everything hangs on one namespace for each source: a row's id is UUIDv5(source, its content), its second exact copy
UUIDv5(row id, "2"); the first event of a row has the row's id, the next UUIDv5(row id, "event 1"); the n-th cart of
a key is UUIDv5(source, "session:KEY/n").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha1
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import pyarrow as pa

WORKBENCH = uuid5(NAMESPACE_URL, "urn:cart-workbench:importers")
ID_BYTES = 16
SHA1_BYTES = 20
NO_DIGIT = 16
UUID_CHARS = 36
DASHES = [8, 13, 18, 23]
DIGITS = [place for place in range(UUID_CHARS) if place not in DASHES]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Whole = np.ndarray[Any, np.dtype[np.int64]]

_LETTERS = np.frombuffer(b"0123456789abcdef", np.uint8)
_NIBBLES = np.full(256, NO_DIGIT, np.uint8)
_NIBBLES[_LETTERS] = np.arange(NO_DIGIT)
_NIBBLES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, NO_DIGIT)


def namespace(source: str) -> bytes:
    """The namespace of a source, as 16 bytes."""
    return uuid5(WORKBENCH, source).bytes


def named(space: bytes, name: str) -> bytes:
    """UUIDv5(space, name), as 16 bytes."""
    return uuid5(UUID(bytes=space), name).bytes


def named_all(space: bytes, names: Iterable[bytes]) -> Bytes:
    """UUIDv5(space, name) for every name (UTF-8), as (n, 16) bytes."""
    digests = b"".join([sha1(space + name).digest() for name in names])  # noqa: S324 - RFC 9562 names it
    ids = np.frombuffer(digests, np.uint8).reshape(-1, SHA1_BYTES)[:, :ID_BYTES].copy()
    ids[:, 6] = (ids[:, 6] & 0x0F) | 0x50
    ids[:, 8] = (ids[:, 8] & 0x3F) | 0x80
    return ids


def joined(ids: Sequence[bytes]) -> Bytes:
    """Ids of 16 bytes each as (n, 16) bytes."""
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, ID_BYTES)


def column(ids: Bytes) -> pa.Array:
    """(n, 16) bytes as a column of 16-byte binary."""
    raw = pa.py_buffer(np.ascontiguousarray(ids).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(ID_BYTES), len(ids), [None, raw])


def uuids(ids: Bytes) -> pa.Array:
    """(n, 16) bytes as a column of UUIDs."""
    return pa.ExtensionArray.from_storage(pa.uuid(), column(ids))


def from_text(texts: pa.Array) -> tuple[Bytes, Flags]:
    """UUIDs in text as (n, 16) bytes, and which of the texts are UUIDs; the others, and nulls, are zeros."""
    letters, sound = letters_of(texts, UUID_CHARS)
    found = np.empty((len(letters), ID_BYTES), np.uint8)
    spoilt = np.zeros(len(letters), np.uint8)
    for place, (high, low) in enumerate(zip(DIGITS[0::2], DIGITS[1::2], strict=True)):
        first, second = _NIBBLES[letters[:, high]], _NIBBLES[letters[:, low]]
        spoilt |= first | second
        found[:, place] = (first << 4) | second
    well = spoilt < NO_DIGIT
    for place in DASHES:
        well &= letters[:, place] == ord("-")
    sound[sound] = well
    ids = np.zeros((len(texts), ID_BYTES), np.uint8)
    ids[sound] = found[well]
    return ids, sound


def letters_of(texts: pa.Array, length: int) -> tuple[Bytes, Flags]:
    """The bytes of those texts that have exactly ``length`` of them, as an (n, length) array; and which they are."""
    raw, offsets = buffers(texts)
    fits = np.diff(offsets) == length
    if texts.null_count:
        fits &= texts.is_valid().to_numpy(zero_copy_only=False)
    if fits.all():
        return raw[offsets[0] : offsets[-1]].reshape(-1, length), fits
    return raw[offsets[:-1][fits, None] + np.arange(length)], fits


def buffers(texts: pa.Array) -> tuple[Bytes, Whole]:
    """The bytes of all texts one behind the other, and the n + 1 places where each begins and the last ends."""
    texts = texts.cast(pa.large_string()) if pa.types.is_string(texts.type) else texts
    if not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(texts.buffers()[2] or b"", np.uint8), offsets


def to_text(ids: Bytes) -> pa.Array:
    """(n, 16) bytes as UUIDs in text."""
    letters = np.full((len(ids), UUID_CHARS), ord("-"), np.uint8)
    letters[:, DIGITS[0::2]] = _LETTERS[ids >> 4]
    letters[:, DIGITS[1::2]] = _LETTERS[ids & 0x0F]
    offsets = pa.py_buffer(np.arange(0, letters.size + 1, UUID_CHARS, dtype=np.int64))
    return pa.LargeStringArray.from_buffers(len(ids), offsets, pa.py_buffer(letters.tobytes())).cast(pa.string())
