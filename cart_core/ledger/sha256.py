"""SHA-256 for compiled loops: by the processor's own SHA instructions where it has them, else in plain integers.

hashlib pays half a microsecond a call and holds the interpreter lock for short messages; these neither.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types, uint32, uint64
from numba.core import cgutils

from cart_core.ledger.compiled import compiled, intrinsic

BLOCK_BYTES = 64
PADDING_BYTES = 72
"""How much room behind a message its padding may take."""


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _fractions(count: int, root: int) -> list[int]:
    """The first 32 bits behind the point of the square or cube roots of the first primes (FIPS 180-4, 4.2.2, 5.3.3)."""
    with localcontext() as context:
        context.prec = 40
        return [int(Decimal(prime) ** (Decimal(1) / root) % 1 * 2**32) for prime in _primes(count)]


CONSTANTS = np.array(_fractions(64, 3), np.uint32)
START = np.array(_fractions(8, 2), np.uint32)
HAS_SHA_INSTRUCTIONS = bool(llvm.get_host_cpu_features().get("sha", False))

_QUAD = ir.VectorType(ir.IntType(32), 4)
_ROUND_GROUPS = 16


@intrinsic
def _compress_quads(_typing: Any, state: Any, block: Any) -> Any:
    """Mix the block at an address into the state at an address: two quads, FEBA and HGDC from the low lane up."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        def call(name: str, *operands: Any) -> Any:
            declared: Any = cgutils.get_or_insert_function
            kind = ir.FunctionType(_QUAD, [_QUAD] * len(operands))
            return builder.call(declared(builder.module, kind, name), operands)

        def quad(address: Any, index: int) -> Any:
            pointer = builder.inttoptr(address, _QUAD.as_pointer())
            return builder.gep(pointer, [ir.Constant(ir.IntType(32), index)])

        def shuffled(low: Any, high: Any, lanes: list[int]) -> Any:
            return builder.shuffle_vector(low, high, ir.Constant(_QUAD, lanes))

        first = [builder.load(quad(args[0], half), align=4) for half in range(2)]
        words = [call("llvm.bswap.v4i32", builder.load(quad(args[1], index), align=1)) for index in range(4)]
        feba, hgdc = first
        for group in range(_ROUND_GROUPS):
            constants = ir.Constant(_QUAD, CONSTANTS[4 * group : 4 * group + 4].tolist())
            addend = builder.add(words[group], constants)
            hgdc = call("llvm.x86.sha256rnds2", hgdc, feba, addend)
            feba = call("llvm.x86.sha256rnds2", feba, hgdc, shuffled(addend, addend, [2, 3, 0, 0]))
            if group < _ROUND_GROUPS - 4:
                near, next_to, late, latest = words[group : group + 4]
                partial = builder.add(call("llvm.x86.sha256msg1", near, next_to), shuffled(late, latest, [1, 2, 3, 4]))
                words.append(call("llvm.x86.sha256msg2", partial, latest))
        for half, mixed in enumerate((feba, hgdc)):
            builder.store(builder.add(mixed, first[half]), quad(args[0], half), align=4)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), codegen


_START_QUADS = START[[5, 4, 1, 0, 7, 6, 3, 2]]


@compiled
def _digest_quads(message: Any, blocks: int, state: Any) -> None:
    state[:] = _START_QUADS
    for block in range(blocks):
        _compress_quads(state.ctypes.data, message.ctypes.data + block * BLOCK_BYTES)
    f, e, b, a, h, g, d, c = state
    for index, word in enumerate((a, b, c, d, e, f, g, h)):
        state[index] = word


@compiled
def _turned(word: Any, bits: int) -> Any:
    return uint32((word >> uint32(bits)) | (word << uint32(32 - bits)))


@compiled
def _schedule(message: Any, start: int, words: Any) -> None:
    for index in range(16):
        at = start + 4 * index
        words[index] = (
            (uint32(message[at]) << uint32(24))
            | (uint32(message[at + 1]) << uint32(16))
            | (uint32(message[at + 2]) << uint32(8))
            | uint32(message[at + 3])
        )
    for index in range(16, 64):
        early, late = words[index - 15], words[index - 2]
        small = _turned(early, 7) ^ _turned(early, 18) ^ (early >> uint32(3))
        large = _turned(late, 17) ^ _turned(late, 19) ^ (late >> uint32(10))
        words[index] = uint32(words[index - 16] + small + words[index - 7] + large)


@compiled
def _digest_plain(message: Any, blocks: int, state: Any) -> None:
    words = np.empty(64, np.uint32)
    state[:] = START
    for block in range(blocks):
        _schedule(message, block * BLOCK_BYTES, words)
        a, b, c, d, e, f, g, h = state
        for index in range(64):
            choice = (e & f) ^ (~e & g)
            majority = (a & b) ^ (a & c) ^ (b & c)
            turned_e = _turned(e, 6) ^ _turned(e, 11) ^ _turned(e, 25)
            turned_a = _turned(a, 2) ^ _turned(a, 13) ^ _turned(a, 22)
            mixed = uint32(h + turned_e + choice + CONSTANTS[index] + words[index])
            h, g, f, e = g, f, e, uint32(d + mixed)
            d, c, b, a = c, b, a, uint32(mixed + turned_a + majority)
        for index, word in enumerate((a, b, c, d, e, f, g, h)):
            state[index] = uint32(state[index] + word)


_digest = _digest_quads if HAS_SHA_INSTRUCTIONS else _digest_plain


@compiled
def pad(message: Any, size: int) -> int:
    """Put the padding behind a message of ``size`` bytes; its length in blocks."""
    blocks = (size + 9 + BLOCK_BYTES - 1) // BLOCK_BYTES
    message[size] = 0x80
    message[size + 1 : blocks * BLOCK_BYTES - 8] = 0
    bits = uint64(size) * uint64(8)
    for index in range(8):
        message[blocks * BLOCK_BYTES - 1 - index] = (bits >> uint64(8 * index)) & uint64(0xFF)
    return blocks


@compiled
def sha256_into(message: Any, size: int, state: Any, out: Any) -> None:
    """Write the SHA-256 of the first ``size`` bytes of ``message`` into the 32 bytes of ``out``.

    The message needs PADDING_BYTES of room behind it, which are overwritten; ``state`` is scratch of 8 uint32.
    """
    _digest(message, pad(message, size), state)
    for index in range(8):
        word = state[index]
        out[4 * index] = word >> uint32(24)
        out[4 * index + 1] = (word >> uint32(16)) & uint32(0xFF)
        out[4 * index + 2] = (word >> uint32(8)) & uint32(0xFF)
        out[4 * index + 3] = word & uint32(0xFF)


@compiled
def hash_pairs(level: Any, out: Any) -> None:
    """Write the Merkle node of each pair of rows of ``level`` (2n, 32) into ``out`` (n, 32)."""
    message, state = np.empty(1 + 64 + PADDING_BYTES, np.uint8), np.empty(8, np.uint32)
    for row in range(len(out)):
        message[0] = 1
        message[1:33] = level[2 * row]
        message[33:65] = level[2 * row + 1]
        sha256_into(message, 65, state, out[row])
