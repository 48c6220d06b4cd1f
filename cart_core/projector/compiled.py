"""How this package compiles loops, and the types of what they read and write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from cart_core.compiling import Function, compile_loop, compile_part


def compiled(*arguments: Any) -> Callable[[Function], Function]:
    """Compile a function that takes arrays and numbers and allocates nothing; see ``compile_loop``.

    With the types of its arguments it is compiled, or loaded from the cache, when its module is imported, so that no
    first call is slow; without, it becomes part of the functions that call it.
    """

    def decorate(function: Function) -> Function:
        # Without numba's reference counts (_nrt) an array is a pointer: they made this fold five times slower.
        if arguments:
            return compile_loop(function, arguments, _nrt=False, no_cfunc_wrapper=True)
        return compile_part(function, _nrt=False, forceinline=True)

    return decorate


def read(kind: Any, *, dimensions: int = 1) -> Any:
    """The type of a contiguous array that a compiled function only reads."""
    return types.Array(kind, dimensions, "C", readonly=True)


def written(kind: Any, *, dimensions: int = 1) -> Any:
    """The type of a contiguous array that a compiled function writes to."""
    return types.Array(kind, dimensions, "C")


def named(class_: Any, *members: Any) -> Any:
    """The type of a named tuple of arrays."""
    return types.NamedTuple(members, class_)  # type: ignore[no-untyped-call]
