"""How this package compiles loops, and what they read and write memory by."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from cart_core.compiling import Function, compile_loop

intrinsic: Any = extending.intrinsic


def compiled(function: Function) -> Function:
    """Compile a function at its first call, or load it from the cache; see ``compile_loop``."""
    return compile_loop(function)


@intrinsic
def peek(_typing: Any, address: Any) -> Any:
    """The byte at an address. An array's index would be tested for being negative, which costs more than the rest."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(_pointer(builder, args[0], 8))

    return types.uint8(types.intp), codegen


@intrinsic
def peek_number(_typing: Any, address: Any) -> Any:
    """The 64-bit integer at an address, aligned or not."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(_pointer(builder, args[0], 64), align=1)

    return types.int64(types.intp), codegen


@intrinsic
def poke(_typing: Any, address: Any, byte: Any) -> Any:
    """Write a byte to an address."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store(args[1], _pointer(builder, args[0], 8))
        return context.get_dummy_value()

    return types.void(types.intp, types.uint8), codegen


@intrinsic
def copy(_typing: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy bytes from one address to another where they do not overlap."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        target, source = (_pointer(builder, each, 8) for each in args[:2])
        write: Any = cgutils.raw_memcpy
        write(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())
